//! Reads the cidata disk without mounting it.
//!
//! The kernels of the images have ISO 9660 as a module only. Reading the few files directly is faster than loading it, and
//! leaves nothing mounted. Sources: ECMA-119 (ISO 9660), the Joliet specification, SUSP/RRIP (Rock Ridge).
//!
//! The disk is untrusted: depth, number of files and sizes are bounded. A loop of folders ends at the depth limit.

use std::io::{Read, Seek, SeekFrom};

/// The size of a logical block in all images that tools write.
const BLOCK: u64 = 2048;
/// The block of the first volume descriptor, after sixteen blocks of system area (ECMA-119 6.2.1).
const FIRST_DESCRIPTOR: u64 = 16;
/// The descriptors that are read at most while looking for the terminator.
const DESCRIPTORS_LIMIT: u64 = 16;
/// Levels of folders. cidata has two.
const DEPTH_LIMIT: usize = 8;
/// Files in all. A disk has a few hundred provision scripts at most.
const FILES_LIMIT: usize = 4096;
/// The longest listing of one folder, in bytes.
const FOLDER_LIMIT: u32 = 1 << 20;
/// The largest file that is read into memory, in bytes.
pub const FILE_LIMIT: u32 = 16 << 20;

/// The disk cannot be read as a cidata disk.
#[derive(Debug, thiserror::Error)]
pub enum IsoError {
    /// The device cannot be read.
    #[error("reading the cidata disk: {0}")]
    Io(#[from] std::io::Error),
    /// The disk is not an ISO 9660 volume.
    #[error("not an ISO 9660 volume")]
    NotIso,
    /// A size or a count is beyond its limit.
    #[error("the cidata disk has {what} beyond the limit of {limit}")]
    TooLarge {
        /// The thing that is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A structure contradicts the standard.
    #[error("the cidata disk is damaged: {0}")]
    Damaged(&'static str),
}

/// A file on the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsoFile {
    /// The path from the root, without a leading `/`.
    pub path: String,
    block: u32,
    /// The length in bytes.
    pub size: u32,
}

/// An opened volume.
#[derive(Debug)]
pub struct Volume<R> {
    reader: R,
    /// The volume identifier, without the padding.
    pub label: String,
    root: Extent,
    joliet: bool,
}

#[derive(Debug, Clone, Copy)]
struct Extent {
    block: u32,
    size: u32,
}

impl<R: Read + Seek> Volume<R> {
    /// Reads the volume descriptors.
    ///
    /// # Errors
    /// [`IsoError::NotIso`] for another kind of disk, or the device cannot be read.
    pub fn open(mut reader: R) -> Result<Self, IsoError> {
        let mut primary = None;
        let mut joliet = None;
        for index in 0..DESCRIPTORS_LIMIT {
            let mut block = [0_u8; BLOCK as usize];
            reader.seek(SeekFrom::Start((FIRST_DESCRIPTOR + index) * BLOCK))?;
            match reader.read_exact(&mut block) {
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                other => other?,
            }
            if &block[1..6] != b"CD001" {
                break;
            }
            match block[0] {
                1 if primary.is_none() => primary = Some(block),
                // The escape sequences of UCS-2 levels 1 to 3 mark a Joliet descriptor.
                2 if matches!(&block[88..91], b"%/@" | b"%/C" | b"%/E") => joliet = Some(block),
                255 => break,
                _ => {}
            }
        }
        let primary = primary.ok_or(IsoError::NotIso)?;
        let label = String::from_utf8_lossy(&primary[40..72])
            .trim_end_matches([' ', '\0'])
            .to_owned();
        let chosen = joliet.as_ref().unwrap_or(&primary);
        let root = record_extent(&chosen[156..190]).ok_or(IsoError::Damaged("no root folder"))?;
        Ok(Self {
            reader,
            label,
            root,
            joliet: joliet.is_some(),
        })
    }

    /// Returns all files, sorted by path.
    ///
    /// # Errors
    /// The disk cannot be read, is damaged, or exceeds a limit.
    pub fn files(&mut self) -> Result<Vec<IsoFile>, IsoError> {
        let mut files = Vec::new();
        let mut folders = vec![(String::new(), self.root, 0_usize)];
        while let Some((prefix, extent, depth)) = folders.pop() {
            if depth > DEPTH_LIMIT {
                return Err(IsoError::TooLarge {
                    what: "folders in folders",
                    limit: DEPTH_LIMIT as u64,
                });
            }
            if extent.size > FOLDER_LIMIT {
                return Err(IsoError::TooLarge {
                    what: "a folder",
                    limit: u64::from(FOLDER_LIMIT),
                });
            }
            let listing = self.read_extent(extent)?;
            for block in listing.chunks(BLOCK as usize) {
                let mut rest = block;
                // Records do not cross blocks; a zero length ends a block.
                while let Some(&length) = rest.first()
                    && length > 0
                {
                    let record = rest
                        .get(..usize::from(length))
                        .ok_or(IsoError::Damaged("a cut-off record"))?;
                    rest = &rest[usize::from(length)..];
                    let Some((name, is_folder, extent)) = self.parse_record(record)? else {
                        continue;
                    };
                    let path = if prefix.is_empty() {
                        name
                    } else {
                        format!("{prefix}/{name}")
                    };
                    if files.len() + folders.len() >= FILES_LIMIT {
                        return Err(IsoError::TooLarge {
                            what: "files",
                            limit: FILES_LIMIT as u64,
                        });
                    }
                    if is_folder {
                        folders.push((path, extent, depth + 1));
                    } else {
                        files.push(IsoFile {
                            path,
                            block: extent.block,
                            size: extent.size,
                        });
                    }
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Returns the bytes of one file.
    ///
    /// # Errors
    /// The file is larger than [`FILE_LIMIT`], or cannot be read.
    pub fn read(&mut self, file: &IsoFile) -> Result<Vec<u8>, IsoError> {
        if file.size > FILE_LIMIT {
            return Err(IsoError::TooLarge {
                what: "a file",
                limit: u64::from(FILE_LIMIT),
            });
        }
        self.read_extent(Extent {
            block: file.block,
            size: file.size,
        })
    }

    fn read_extent(&mut self, extent: Extent) -> Result<Vec<u8>, IsoError> {
        let mut bytes = Vec::new();
        self.reader
            .seek(SeekFrom::Start(u64::from(extent.block) * BLOCK))?;
        (&mut self.reader)
            .take(u64::from(extent.size))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 == u64::from(extent.size) {
            Ok(bytes)
        } else {
            Err(IsoError::Damaged("a file ends beyond the disk"))
        }
    }

    /// Name, whether it is a folder, and where it is; `None` for `.` and `..`.
    fn parse_record(&self, record: &[u8]) -> Result<Option<(String, bool, Extent)>, IsoError> {
        let extent = record_extent(record).ok_or(IsoError::Damaged("a short record"))?;
        let is_folder = record[25] & 2 != 0;
        let name_length = usize::from(record[32]);
        let raw = record
            .get(33..33 + name_length)
            .ok_or(IsoError::Damaged("a cut-off name"))?;
        if matches!(raw, [0] | [1]) {
            return Ok(None);
        }
        let name = if self.joliet {
            let units: Vec<u16> = raw
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            strip_version(&String::from_utf16_lossy(&units)).to_owned()
        } else {
            // The name is padded to an even offset; the system use area follows.
            let system_use = record
                .get(33 + name_length + (name_length + 1) % 2..)
                .unwrap_or_default();
            rock_ridge_name(system_use).unwrap_or_else(|| {
                strip_version(&String::from_utf8_lossy(raw)).to_ascii_lowercase()
            })
        };
        // A name becomes a path in the guest's file system, written by root.
        if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
            return Err(IsoError::Damaged("a name that is no file name"));
        }
        Ok(Some((name, is_folder, extent)))
    }
}

/// `FILE.;1` is `FILE`, `A.TXT;1` is `A.TXT`.
fn strip_version(name: &str) -> &str {
    let name = name.rsplit_once(';').map_or(name, |(front, _)| front);
    name.strip_suffix('.').unwrap_or(name)
}

/// Both byte orders are stored; the little-endian half is read.
fn record_extent(record: &[u8]) -> Option<Extent> {
    if record.len() < 34 {
        return None;
    }
    let number = |at: usize| {
        u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
    };
    Some(Extent {
        block: number(2),
        size: number(10),
    })
}

/// The `NM` entries of the system use area (RRIP 4.1.4), joined.
fn rock_ridge_name(mut area: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    while area.len() >= 4 {
        let length = usize::from(area[2]);
        if length < 4 || length > area.len() {
            break;
        }
        if &area[..2] == b"NM" && length >= 5 {
            name.extend_from_slice(&area[5..length]);
        }
        area = &area[length..];
    }
    (!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A folder record with the fields that are read.
    fn record(name: &[u8], block: u32, size: u32, folder: bool, system_use: &[u8]) -> Vec<u8> {
        let mut r = vec![0_u8; 33];
        r[2..6].copy_from_slice(&block.to_le_bytes());
        r[10..14].copy_from_slice(&size.to_le_bytes());
        r[25] = if folder { 2 } else { 0 };
        r[32] = name.len() as u8;
        r.extend_from_slice(name);
        if name.len().is_multiple_of(2) {
            r.push(0);
        }
        r.extend_from_slice(system_use);
        r[0] = r.len() as u8;
        r
    }

    fn descriptor(kind: u8, label: &str, root: &[u8]) -> Vec<u8> {
        let mut d = vec![0_u8; BLOCK as usize];
        d[0] = kind;
        d[1..6].copy_from_slice(b"CD001");
        d[40..72].fill(b' ');
        d[40..40 + label.len()].copy_from_slice(label.as_bytes());
        if kind == 2 {
            d[88..91].copy_from_slice(b"%/E");
        }
        d[156..156 + root.len()].copy_from_slice(root);
        d
    }

    fn image(descriptors: &[Vec<u8>], blocks: &[Vec<u8>]) -> Cursor<Vec<u8>> {
        let mut bytes = vec![0_u8; (FIRST_DESCRIPTOR * BLOCK) as usize];
        for part in descriptors {
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&descriptor(255, "", &[]));
        for block in blocks {
            bytes.extend_from_slice(block);
            bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
        }
        Cursor::new(bytes)
    }

    fn ucs2(name: &str) -> Vec<u8> {
        name.encode_utf16().flat_map(u16::to_be_bytes).collect()
    }

    #[test]
    fn joliet_names_in_folders_are_read() {
        // Blocks: 16 primary, 17 Joliet, 18 terminator, 19 root, 20 folder, 21 and 22 files.
        let root = record(&[0], 19, 2048, true, &[]);
        let mut listing = record(&[0], 19, 2048, true, &[]);
        listing.extend(record(&ucs2("lima.env"), 21, 5, false, &[]));
        listing.extend(record(&ucs2("provision.system"), 20, 2048, true, &[]));
        let folder = record(&ucs2("00000000"), 22, 3, false, &[]);
        let mut volume = Volume::open(image(
            &[descriptor(1, "cidata", &root), descriptor(2, "x", &root)],
            &[listing, folder, b"A=b\n\n".to_vec(), b"two".to_vec()],
        ))
        .unwrap();
        assert_eq!(volume.label, "cidata");
        let files = volume.files().unwrap();
        let paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["lima.env", "provision.system/00000000"]);
        assert_eq!(volume.read(&files[0]).unwrap(), b"A=b\n\n");
        assert_eq!(volume.read(&files[1]).unwrap(), b"two");
    }

    #[test]
    fn rock_ridge_and_plain_names_are_read_where_joliet_is_absent() {
        let mut nm = b"NM\x0d\x01\0lima.env".to_vec();
        nm[2] = nm.len() as u8;
        let root = record(&[0], 18, 2048, true, &[]);
        let mut listing = record(b"LIMA.ENV;1", 19, 1, false, &nm);
        listing.extend(record(b"META_DAT.;1", 19, 1, false, &[]));
        let mut volume = Volume::open(image(
            &[descriptor(1, "CIDATA", &root)],
            &[listing, b"x".to_vec()],
        ))
        .unwrap();
        let paths: Vec<String> = volume
            .files()
            .unwrap()
            .into_iter()
            .map(|f| f.path)
            .collect();
        assert_eq!(paths, ["lima.env", "meta_dat"]);
    }

    #[test]
    fn hostile_volumes_end_in_an_error() {
        let root = record(&[0], 18, 2048, true, &[]);
        let cases: [(&str, Vec<u8>); 4] = [
            (
                "a folder that contains itself",
                record(b"LOOP", 18, 2048, true, &[]),
            ),
            ("a path out of the folder", {
                let mut nm = b"NM\0\x01\0../../etc/passwd".to_vec();
                nm[2] = nm.len() as u8;
                record(b"A", 19, 1, false, &nm)
            }),
            ("a cut-off record", vec![200; 2048]),
            ("a folder of 4 GiB", record(b"BIG", 18, u32::MAX, true, &[])),
        ];
        for (what, listing) in cases {
            let mut volume =
                Volume::open(image(&[descriptor(1, "cidata", &root)], &[listing])).unwrap();
            assert!(volume.files().is_err(), "{what}");
        }
        let mut beyond = Volume::open(image(
            &[descriptor(1, "cidata", &root)],
            &[record(b"A", 4000, 10, false, &[])],
        ))
        .unwrap();
        let files = beyond.files().unwrap();
        assert!(beyond.read(&files[0]).is_err());
        assert!(matches!(
            Volume::open(Cursor::new(vec![0; 100_000])),
            Err(IsoError::NotIso)
        ));
        assert!(matches!(
            Volume::open(Cursor::new(vec![0; 10])),
            Err(IsoError::NotIso)
        ));
    }
}
