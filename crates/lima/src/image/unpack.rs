//! Unpacks a compressed image with the program that packed it: with holes, and within limits of size and free space.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use process::held::Exit;
use process::spawn::{Attributes, Spawn, SpawnError};

use super::error::ImageError;
use super::place::create;
use crate::progress::{Cancel, Phase, Progress, Throttle};

/// The bytes that are read and written at once. A block of zeros becomes a hole.
const BLOCK: usize = 64 << 10;

/// Blocks that are read ahead.
const AHEAD: usize = 16;

/// How long a program may run. Unpacking a large image on a slow disk takes minutes.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// How often a cancel is checked while a program writes nothing.
const LOOK: Duration = Duration::from_millis(200);

/// The free space that stays for running guests on the same disk and for the daemon's database. A twentieth of the file
/// system if that is less.
const RESERVE: u64 = 256 << 20;

/// How many bytes are written between two looks at the free space.
const SPACE_LOOK: u64 = 32 << 20;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compression {
    tool: &'static str,
    package: &'static str,
}

impl Compression {
    /// Detects the compression by the first bytes, because a file of the cache has no suffix, and a URL may end in anything.
    pub(super) fn of(file: &mut File) -> io::Result<Option<Self>> {
        const fn by(tool: &'static str, package: &'static str) -> Compression {
            Compression { tool, package }
        }
        const KNOWN: [(&[u8], Compression); 4] = [
            (&[0x1f, 0x8b], by("gzip", "gzip")),
            (b"BZh", by("bzip2", "bzip2")),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], by("xz", "xz-utils")),
            (&[0x28, 0xb5, 0x2f, 0xfd], by("zstd", "zstd")),
        ];
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        Read::by_ref(file).take(8).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(KNOWN
            .iter()
            .find(|(magic, _)| head.starts_with(magic))
            .map(|(_, compression)| *compression))
    }
}

/// Returns the bytes that this user can still write to the file system of a path, without the reserve.
pub(super) fn free_space(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(path).ok()?;
        let reserve = RESERVE.min(stat.f_blocks.saturating_mul(stat.f_frsize) / 20);
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        Some(free.saturating_sub(reserve))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Checks that `needed` more bytes fit.
pub(super) fn check_space(
    path: &Path,
    needed: u64,
    written: u64,
    free: &dyn Fn(&Path) -> Option<u64>,
) -> Result<(), ImageError> {
    let folder = path.parent().unwrap_or(path);
    match free(folder) {
        Some(free) if free < needed => Err(ImageError::TooLittleSpace {
            path: path.to_owned(),
            free,
            needed,
            written,
        }),
        _ => Ok(()),
    }
}

/// Unpacks `from` into the new file `to`, which gets at most `limit` bytes.
pub(super) fn unpack(
    from: &Path,
    to: &Path,
    compression: Compression,
    limit: u64,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    // What is packed well is mostly holes, so the packed size is a lower bound of the need.
    let packed = std::fs::metadata(from).map_err(ImageError::io("look at", from))?;
    check_space(to, packed.len(), 0, &free_space)?;
    let tool = compression.tool;
    let fail = |reason: String| ImageError::Unpack {
        path: from.to_owned(),
        tool,
        reason,
    };
    let target = create(to)?;
    let mut error_path = to.as_os_str().to_owned();
    error_path.push(".stderr.tmp");
    let error_path = PathBuf::from(error_path);
    let errors = create(&error_path)?;
    let (reader, writer) = io::pipe().map_err(ImageError::io("open a pipe for", from))?;
    let spawned = Spawn::new(tool)
        .args(["-dc".as_ref(), "--".as_ref(), from.as_os_str()])
        .stdout(into_file(writer))
        .stderr(errors)
        .attributes(Attributes {
            dies_with_us: true,
            ..Attributes::default()
        })
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            let _ = std::fs::remove_file(&error_path);
            return Err(match error {
                SpawnError::NotFound { .. } => ImageError::NoTool {
                    path: from.to_owned(),
                    tool,
                    package: compression.package,
                },
                other => fail(other.to_string()),
            });
        }
    };
    let (blocks, queue) = sync_channel(AHEAD);
    // Ends with the program, at the end of its output.
    std::thread::spawn(move || read_blocks(reader, &blocks));
    let mut sink = Sparse {
        file: target,
        path: to,
        length: 0,
        written: 0,
        looked_at: 0,
        limit,
        subject: from,
        free: &free_space,
    };
    let end = Instant::now() + TIME_LIMIT;
    let mut ended = copy(&queue, &mut sink, end, progress, cancel).and_then(|in_time| {
        if in_time {
            Ok(())
        } else {
            Err(fail(format!(
                "it was not done after {} s",
                TIME_LIMIT.as_secs()
            )))
        }
    });
    if ended.is_ok() {
        ended = match child.wait(end) {
            Exit::Exited(Some(status)) if status.success() => Ok(()),
            Exit::Exited(_) => Err(fail(output_of(&error_path))),
            Exit::TimedOut => Err(fail("it does not exit".to_owned())),
            Exit::Failed(error) => Err(fail(error.to_string())),
        };
    }
    if ended.is_err()
        && let Err(error) = process::tree::kill_tree(&child.tree(), Duration::ZERO)
    {
        tracing::warn!(%error, tool, "cannot stop the unpacking of {}", from.display());
    }
    let _ = std::fs::remove_file(&error_path);
    ended?;
    sink.finish()
}

/// The end of a pipe as the file that a child gets.
fn into_file(writer: io::PipeWriter) -> File {
    #[cfg(unix)]
    {
        File::from(std::os::fd::OwnedFd::from(writer))
    }
    #[cfg(windows)]
    {
        File::from(std::os::windows::io::OwnedHandle::from(writer))
    }
}

fn read_blocks(mut reader: io::PipeReader, blocks: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        match Read::by_ref(&mut reader)
            .take(BLOCK as u64)
            .read_to_end(&mut block)
        {
            Ok(0) => return,
            Ok(_) if blocks.send(Ok(block)).is_ok() => {}
            Ok(_) => return,
            Err(error) => {
                let _ = blocks.send(Err(error));
                return;
            }
        }
    }
}

/// Copies until the program has closed its output. Returns false at the deadline.
fn copy(
    queue: &Receiver<io::Result<Vec<u8>>>,
    sink: &mut Sparse<'_>,
    end: Instant,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<bool, ImageError> {
    let subject = sink.subject.display().to_string();
    let mut throttle = Throttle::new();
    loop {
        if cancel.is_cancelled() {
            return Err(ImageError::Cancelled { subject });
        }
        if throttle.ready() {
            progress.report(Phase::Decompressing, &subject, sink.length, None);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        match queue.recv_timeout(LOOK) {
            Ok(Ok(block)) => sink.write(&block)?,
            Ok(Err(error)) => return Err(ImageError::io("read", sink.subject)(error)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                progress.report(Phase::Decompressing, &subject, sink.length, None);
                return Ok(true);
            }
        }
    }
}

/// A file that gets holes in the place of zeros.
struct Sparse<'s> {
    file: File,
    path: &'s Path,
    /// The length of the file.
    length: u64,
    /// The bytes that are no holes.
    written: u64,
    /// `written` at the last look at the free space.
    looked_at: u64,
    /// The largest length.
    limit: u64,
    subject: &'s Path,
    free: &'s dyn Fn(&Path) -> Option<u64>,
}

impl Sparse<'_> {
    fn write(&mut self, block: &[u8]) -> Result<(), ImageError> {
        let length = self.length + block.len() as u64;
        if length > self.limit {
            return Err(ImageError::LargerThanDisk {
                subject: self.subject.display().to_string(),
                limit: self.limit,
            });
        }
        if block.iter().any(|byte| *byte != 0) {
            if self.written >= self.looked_at + SPACE_LOOK {
                check_space(self.path, SPACE_LOOK, self.written, self.free)?;
                self.looked_at = self.written;
            }
            self.file
                .seek(SeekFrom::Start(self.length))
                .and_then(|_| self.file.write_all(block))
                .map_err(ImageError::io("write", self.path))?;
            self.written += block.len() as u64;
        }
        self.length = length;
        Ok(())
    }

    fn finish(self) -> Result<(), ImageError> {
        self.file
            .set_len(self.length)
            .and_then(|()| self.file.sync_all())
            .map_err(ImageError::io("write", self.path))
    }
}

/// Returns the error output of the program.
fn output_of(path: &Path) -> String {
    /// The bytes that fit into a message.
    const LIMIT: u64 = 2000;
    let mut text = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(LIMIT).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text).trim().replace('\n', "; ");
    if text.is_empty() {
        "it failed without a message".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_stops_before_the_disk_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let free = std::cell::Cell::new(1 << 40);
        let mut sink = Sparse {
            file: create(&path).unwrap(),
            path: &path,
            length: 0,
            written: 0,
            looked_at: 0,
            limit: u64::MAX,
            subject: Path::new("/packed"),
            free: &|_| Some(free.get()),
        };
        let block = vec![1; BLOCK];
        for _ in 0..(SPACE_LOOK / BLOCK as u64) {
            sink.write(&block).unwrap();
        }
        free.set(SPACE_LOOK - 1);
        // Holes need no space.
        sink.write(&vec![0; BLOCK]).unwrap();
        let error = sink.write(&block).unwrap_err();
        assert!(error.is_final(), "another image would not fit either");
        let message = error.to_string();
        assert!(
            message.contains("and 31 MiB are free") && message.contains("free some space"),
            "{message}"
        );
    }
}
