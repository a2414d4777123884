//! Inspects a write-ahead log before SQLite recovers from it.
//!
//! SQLite applies the frames of a WAL up to the first one whose checksum is wrong, and drops the rest without an
//! error. That is right for a write that a crash interrupted, and hides that acknowledged writes were lost when a
//! byte in the middle was damaged. Format: <https://sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::value::Revision;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Bit 0 of the magic number is the byte order of the checksums.
const MAGIC: u32 = 0x377f_0682;
/// The page type of a leaf of a table.
const TABLE_LEAF: u8 = 13;

/// The part of a WAL that SQLite will not apply.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Loss {
    /// Frames (pages) behind the damage.
    pub(super) frames: usize,
    /// Transactions that end in those frames.
    pub(super) transactions: usize,
    /// The revisions and keys of the rows in those frames. Rows of earlier transactions are among them, because a
    /// frame is a whole page.
    pub(super) rows: BTreeMap<Revision, String>,
}

/// Finds what follows the first damaged frame of a WAL; `None` when nothing does.
pub(super) fn inspect(path: &Path) -> io::Result<Option<Loss>> {
    let wal = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        wal => wal?,
    };
    Ok(lost(&wal))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|word| word.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// SQLite's running checksum.
#[derive(Clone, Copy)]
struct Checksum {
    big_endian: bool,
    sums: (u32, u32),
}

impl Checksum {
    fn update(&mut self, bytes: &[u8]) {
        let (mut a, mut b) = self.sums;
        for pair in bytes.chunks_exact(8) {
            let read = |at: usize| {
                let word = word(pair, at);
                if self.big_endian {
                    word
                } else {
                    word.swap_bytes()
                }
            };
            a = a.wrapping_add(read(0)).wrapping_add(b);
            b = b.wrapping_add(read(4)).wrapping_add(a);
        }
        self.sums = (a, b);
    }
}

fn lost(wal: &[u8]) -> Option<Loss> {
    let magic = word(wal, 0);
    let page_size = match word(wal, 8) {
        size @ 512..=65536 if size.is_power_of_two() => size as usize,
        // With a damaged header nothing else is known of the frames; rdd has used no other page size.
        _ => 4096,
    };
    let frames: Vec<&[u8]> = wal
        .get(HEADER..)?
        .chunks_exact(FRAME_HEADER + page_size)
        .collect();
    let first = frames.first()?;
    let mut sum = Checksum {
        big_endian: magic & 1 == 1,
        sums: (0, 0),
    };
    sum.update(&wal[..24]);
    let header_is_right = magic & !1 == MAGIC && sum.sums == (word(wal, 24), word(wal, 28));
    // With a damaged header the first frame has the salts of this WAL.
    let salts = if header_is_right {
        &wal[16..24]
    } else {
        &first[8..16]
    };
    let mut right = header_is_right;
    let mut loss = Loss::default();
    for frame in frames {
        let same_wal = &frame[8..16] == salts;
        if right && same_wal {
            sum.update(&frame[..8]);
            sum.update(&frame[FRAME_HEADER..]);
            right = sum.sums == (word(frame, 16), word(frame, 20));
        } else if right {
            // Frames from before the WAL was restarted.
            break;
        }
        if !right && same_wal {
            loss.frames += 1;
            if word(frame, 4) != 0 {
                loss.transactions += 1;
            }
            rows(&frame[FRAME_HEADER..], &mut loss.rows);
        }
    }
    // A transaction whose last frame was not written was not acknowledged.
    (loss.transactions > 0).then_some(loss)
}

/// A SQLite varint: its value and its length.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(9).enumerate() {
        if n == 8 {
            return Some((value << 8 | u64::from(*byte), 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, n + 1));
        }
    }
    None
}

/// Collects the rows of a leaf page of `current` or `log`: their row id is the revision, and their second column is
/// the key.
fn rows(page: &[u8], found: &mut BTreeMap<Revision, String>) {
    // The first page of a database, which begins with the file header, has no rows of these tables.
    if page.first() != Some(&TABLE_LEAF) {
        return;
    }
    let count = usize::from(page[3]) << 8 | usize::from(page[4]);
    for cell in page[8..].chunks_exact(2).take(count) {
        let at = usize::from(cell[0]) << 8 | usize::from(cell[1]);
        if let Some((revision, key)) = page.get(at..).and_then(row) {
            found.insert(revision, key);
        }
    }
}

/// The revision and the key of one cell.
fn row(cell: &[u8]) -> Option<(Revision, String)> {
    let (_, n) = varint(cell)?;
    let cell = &cell[n..];
    let (revision, n) = varint(cell)?;
    let record = &cell[n..];
    let (header, mut at) = varint(record)?;
    let header_size = usize::try_from(header).ok()?;
    let mut types = Vec::new();
    while at < header_size {
        let (kind, n) = varint(record.get(at..)?)?;
        types.push(kind);
        at += n;
    }
    // Both tables have six columns: the row id, which is stored as NULL, a text, and others.
    let [0, text, _, _, _, _] = types[..] else {
        return None;
    };
    let length = usize::try_from(text.checked_sub(13)?).ok()?;
    if length % 2 != 0 {
        return None;
    }
    let key = record.get(header_size..header_size + length / 2)?;
    Some((revision, std::str::from_utf8(key).ok()?.to_owned()))
}
