//! Advisory locks on whole files.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Opens the file for reading and writing; makes it with mode 0600 if it is missing. A symbolic link is not followed,
/// because a lock is a file of the folder that it protects.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Opens an existing file for reading.
pub(crate) fn open_existing(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Returns whether `path` still names the open file.
pub(crate) fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok(named.dev() == open.dev() && named.ino() == open.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(target_os = "linux")]
pub(crate) use super::linux::{is_locked, try_lock, unlock};

#[cfg(not(target_os = "linux"))]
pub(crate) use flock::{is_locked, try_lock, unlock};

#[cfg(not(target_os = "linux"))]
mod flock {
    use std::fs::{File, TryLockError};
    use std::io;
    use std::time::{Duration, Instant};

    use crate::pause;

    /// How long another process's query may block the lock.
    const LOOKS_LAST: Duration = Duration::from_millis(50);

    pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
        let deadline = Instant::now() + LOOKS_LAST;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(true),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) => {
                    if !pause::until_next_look(deadline) {
                        return Ok(false);
                    }
                }
            }
        }
    }

    pub(crate) fn is_locked(file: &File) -> io::Result<bool> {
        match file.try_lock_shared() {
            Ok(()) => file.unlock().map(|()| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub(crate) fn unlock(file: &File) -> io::Result<()> {
        file.unlock()
    }
}
