//! Getting a file of the cache, or of the user, to where a VM needs it: as a link, as a copy, or unpacked.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::held::Exit;
use process::spawn::{Attributes, Spawn, SpawnError};

use super::error::ImageError;
use crate::progress::{Cancel, Phase, Progress, Throttle};

/// Read and written at once.
const CHUNK: usize = 1 << 20;

/// A large image on a slow disk; a tool that takes longer hangs.
const UNPACK_LIMIT: Duration = Duration::from_secs(3600);

/// How often a running tool's output is measured.
const LOOK: Duration = Duration::from_millis(200);

/// No unpacked image is larger; a file made to fill the disk is.
const MAX_UNPACKED: u64 = 4 << 40;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compression {
    tool: &'static str,
    package: &'static str,
}

impl Compression {
    /// Told by the first bytes and not by the name: a file of the cache has none, and a URL may end in anything.
    pub(crate) fn of(file: &mut File) -> io::Result<Option<Self>> {
        const KNOWN: [(&[u8], Compression); 4] = [
            (
                &[0x1f, 0x8b],
                Compression {
                    tool: "gzip",
                    package: "gzip",
                },
            ),
            (
                b"BZh",
                Compression {
                    tool: "bzip2",
                    package: "bzip2",
                },
            ),
            (
                &[0xfd, b'7', b'z', b'X', b'Z', 0],
                Compression {
                    tool: "xz",
                    package: "xz-utils",
                },
            ),
            (
                &[0x28, 0xb5, 0x2f, 0xfd],
                Compression {
                    tool: "zstd",
                    package: "zstd",
                },
            ),
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

/// How the target may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct How {
    /// The source is never changed in place, so that a link is as good as a copy.
    pub(crate) link: bool,
    /// A compressed source is unpacked.
    pub(crate) unpack: bool,
}

/// Makes `to`, which does not exist, out of `from`.
pub(crate) fn place(
    from: &Path,
    to: &Path,
    how: How,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    let mut source = File::open(from).map_err(ImageError::io("open", from))?;
    if how.unpack
        && let Some(compression) =
            Compression::of(&mut source).map_err(ImageError::io("read", from))?
    {
        return unpack(from, to, compression, progress, cancel);
    }
    // A link fails across file systems and where there are none; a copy always works.
    if how.link && std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    copy(&mut source, from, to, progress, cancel)
}

fn create(path: &Path) -> Result<File, ImageError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(ImageError::io("create", path))
}

fn copy(
    source: &mut File,
    from: &Path,
    to: &Path,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    let mut target = create(to)?;
    if clone_file(source, &target) {
        return Ok(());
    }
    let subject = from.display().to_string();
    let total = source
        .metadata()
        .map_err(ImageError::io("look at", from))?
        .len();
    let mut buffer = vec![0; CHUNK];
    let mut throttle = Throttle::new();
    let mut at = 0_u64;
    loop {
        if cancel.is_cancelled() {
            return Err(ImageError::Cancelled { subject });
        }
        if throttle.ready() {
            progress.report(Phase::Copying, &subject, at, Some(total));
        }
        let count = source
            .read(&mut buffer)
            .map_err(ImageError::io("read", from))?;
        if count == 0 {
            break;
        }
        let chunk = &buffer[..count];
        // Disk images are mostly holes; a copy that fills them takes many times the space.
        if chunk.iter().all(|byte| *byte == 0) {
            target
                .seek(SeekFrom::Current(i64::try_from(count).unwrap_or(i64::MAX)))
                .map_err(ImageError::io("write", to))?;
        } else {
            target
                .write_all(chunk)
                .map_err(ImageError::io("write", to))?;
        }
        at += count as u64;
    }
    target.set_len(at).map_err(ImageError::io("write", to))?;
    target.sync_all().map_err(ImageError::io("write", to))?;
    progress.report(Phase::Copying, &subject, at, Some(at));
    Ok(())
}

/// A copy that shares its blocks with the source, on file systems that can.
#[cfg(target_os = "linux")]
fn clone_file(source: &File, target: &File) -> bool {
    rustix::fs::ioctl_ficlone(target, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn clone_file(_: &File, _: &File) -> bool {
    false
}

fn unpack(
    from: &Path,
    to: &Path,
    compression: Compression,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    let Compression { tool, package } = compression;
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
    let clone = target.try_clone().map_err(ImageError::io("open", to))?;
    let spawned = Spawn::new(tool)
        .args(["-dc".as_ref(), "--".as_ref(), from.as_os_str()])
        .stdout(clone)
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
                    package,
                },
                other => fail(other.to_string()),
            });
        }
    };
    let subject = from.display().to_string();
    let end = Instant::now() + UNPACK_LIMIT;
    let ended = loop {
        let written = target.metadata().map_or(0, |meta| meta.len());
        progress.report(Phase::Decompressing, &subject, written, None);
        if cancel.is_cancelled() {
            break Err(ImageError::Cancelled { subject });
        }
        if written > MAX_UNPACKED {
            break Err(ImageError::TooLarge {
                subject,
                limit: MAX_UNPACKED,
            });
        }
        if Instant::now() >= end {
            break Err(fail(format!(
                "it was not done after {} s",
                UNPACK_LIMIT.as_secs()
            )));
        }
        match child.wait(Instant::now() + LOOK) {
            Exit::TimedOut => {}
            Exit::Exited(Some(status)) if status.success() => break Ok(()),
            Exit::Exited(_) => break Err(fail(said(&error_path))),
            Exit::Failed(error) => break Err(fail(error.to_string())),
        }
    };
    if ended.is_err()
        && let Err(error) = process::tree::kill_tree(&child.tree(), Duration::ZERO)
    {
        tracing::warn!(%error, tool, "cannot end the unpacking of {}", from.display());
    }
    let _ = std::fs::remove_file(&error_path);
    ended?;
    target.sync_all().map_err(ImageError::io("write", to))
}

/// What the tool wrote to its standard error; its end, which tells the cause.
fn said(path: &Path) -> String {
    /// One message, and not a log.
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
