//! Puts a file of the cache or of the user where a VM needs it: as a link, as a copy, or unpacked.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::error::ImageError;
use super::unpack::{Compression, check_space, free_space, unpack};
use crate::progress::{Cancel, Phase, Progress, Throttle};

/// The bytes that are read and written at once.
const CHUNK: usize = 1 << 20;

/// How the target is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct How {
    /// The source is never changed in place, so a link is as good as a copy.
    pub(crate) link: bool,
    /// A compressed source is unpacked, to at most this many bytes. `None` keeps it compressed.
    pub(crate) unpack: Option<u64>,
}

/// Makes the new file `to` from `from`.
pub(crate) fn place(
    from: &Path,
    to: &Path,
    how: How,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), ImageError> {
    let mut source = File::open(from).map_err(ImageError::io("open", from))?;
    if let Some(limit) = how.unpack
        && let Some(compression) =
            Compression::of(&mut source).map_err(ImageError::io("read", from))?
    {
        return unpack(from, to, compression, limit, progress, cancel);
    }
    // A link fails between file systems, and on file systems without links. A copy always works.
    if how.link && std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    copy(&mut source, from, to, progress, cancel)
}

pub(super) fn create(path: &Path) -> Result<File, ImageError> {
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
    let metadata = source.metadata().map_err(ImageError::io("look at", from))?;
    check_space(to, super::publish::taken(&metadata), 0, &free_space)?;
    let total = metadata.len();
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
        // Disk images are mostly holes. A copy without holes would take many times the space.
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

/// Makes a copy that shares its blocks with the source, if the file system supports that.
#[cfg(target_os = "linux")]
fn clone_file(source: &File, target: &File) -> bool {
    rustix::fs::ioctl_ficlone(target, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn clone_file(_: &File, _: &File) -> bool {
    false
}
