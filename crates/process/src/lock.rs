//! Locks of the operating system on files, held for the life of a value. The kernel releases a lock however its holder
//! ends.
//!
//! The holder writes its identity into the file, for messages only: whether the holder is alive is decided by the lock,
//! never by the text. The file is never removed, because a second process could then lock a new file of the same name.
//!
//! - Linux: open-file-description locks (`F_OFD_SETLK`), because `F_OFD_GETLK` queries without locking, so a query never
//!   makes another process's `try_acquire` fail. They are not released when another descriptor of the file is closed.
//! - macOS and other Unix: `flock`. A query takes a shared lock for an instant, so `try_acquire` retries a few times.
//! - Windows: `LockFileEx` is mandatory, that is, other processes cannot read what is locked. So one byte far beyond the
//!   text is locked, and the text stays readable.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::tree::Mark;
use crate::{pause, sys};

/// The text of a lock file is one line; more than this is not read.
const TEXT_LIMIT: u64 = 4096;

/// How often a lock file may be replaced (its folder deleted and made again) while it is being locked, before that fails.
const REPLACED_LIMIT: u32 = 10;

/// An exclusive lock, held until dropped. Close-on-exec: children do not hold it.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
    /// The descriptor was taken out ([`FileLock::into_fd`]).
    handed_over: bool,
}

/// Why a lock could not be taken or queried.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A step on the lock file failed.
    #[error("cannot {action} the lock file {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The lock file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The deadline of an [`FileLock::acquire`] passed.
    #[error("{path} is still locked by {holder}; wait until it has ended, or stop it")]
    TimedOut {
        /// The lock file.
        path: PathBuf,
        /// The holder, as far as it is known.
        holder: Holder,
    },
}

/// The identity that the holder wrote into the lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderInfo {
    /// The process that took the lock. Open it as a [`crate::Process`] to act on it: for an instant the text may be that of
    /// an earlier holder, which then opens as gone.
    #[serde(flatten)]
    pub identity: Identity,
    /// The holder's label, such as `hostagent of VM web`.
    pub label: String,
    /// The mark of the tree whose root the process is, if it was started by [`crate::spawn`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// The state of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// No process holds the lock.
    Free,
    /// A live process holds the lock; its identity, if the text could be read.
    Held(Option<HolderInfo>),
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Holder::Free => write!(f, "no process"),
            Holder::Held(None) => write!(f, "a process that is not named in the file"),
            Holder::Held(Some(info)) => write!(f, "{} (PID {})", info.label, info.identity.pid()),
        }
    }
}

impl FileLock {
    /// Takes the lock if it is free; `None` if another process holds it (see [`holder`]). Makes the file with mode 0600 if
    /// it is missing; its folder must exist. `label` describes this process in messages.
    pub fn try_acquire(path: &Path, label: &str) -> Result<Option<Self>, LockError> {
        let io = |action| {
            move |source| LockError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        for _ in 0..REPLACED_LIMIT {
            let file = sys::lock::open_or_create(path).map_err(io("open"))?;
            if !sys::lock::try_lock(&file).map_err(io("lock"))? {
                return Ok(None);
            }
            // The folder may have been deleted and made again between the open and the lock; then the locked file has no
            // name any more, and no other process can find it.
            if !sys::lock::is_still_at(&file, path).map_err(io("look at"))? {
                continue;
            }
            let mut lock = FileLock {
                file,
                path: path.to_owned(),
                handed_over: false,
            };
            lock.write_holder(label).map_err(io("write"))?;
            return Ok(Some(lock));
        }
        Err(io("lock")(io::Error::other(
            "it is being replaced again and again",
        )))
    }

    /// Takes the lock; waits until `deadline` while another process holds it. Blocks the thread.
    pub fn acquire(path: &Path, label: &str, deadline: Instant) -> Result<Self, LockError> {
        loop {
            if let Some(lock) = Self::try_acquire(path, label)? {
                return Ok(lock);
            }
            if !pause::until_next_look(deadline) {
                return Err(LockError::TimedOut {
                    path: path.to_owned(),
                    holder: holder(path)?,
                });
            }
        }
    }

    /// [`FileLock::acquire`] for tokio. Safe to cancel.
    pub async fn acquire_async(
        path: &Path,
        label: &str,
        deadline: Instant,
    ) -> Result<Self, LockError> {
        loop {
            if let Some(lock) = Self::try_acquire(path, label)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(LockError::TimedOut {
                    path: path.to_owned(),
                    holder: holder(path)?,
                });
            }
            tokio::time::sleep(pause::POLL_INTERVAL).await;
        }
    }

    /// Returns the lock as a descriptor for a child ([`crate::spawn::Spawn::pass_fd`]). The lock is held from the fork until
    /// the last process that has the descriptor is gone. If the descriptor is dropped without being passed, the lock is
    /// released.
    ///
    /// # Errors
    /// The system has no free descriptor; the lock is released.
    #[cfg(unix)]
    pub fn into_fd(mut self) -> io::Result<std::os::fd::OwnedFd> {
        let copy = self.file.try_clone()?;
        self.handed_over = true;
        Ok(copy.into())
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write_holder(&mut self, label: &str) -> io::Result<()> {
        // PID 1 of a container has no identity, but holds the lock all the same.
        let text = match Identity::of_current() {
            Ok(identity) => serde_json::to_string(&HolderInfo {
                identity,
                label: label.to_owned(),
                mark: Mark::of_current(),
            })
            .map_err(io::Error::other)?,
            Err(_) => String::new(),
        };
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        // Unlocked explicitly, because a child between fork and exec may still have a copy of the descriptor. Failures do
        // not matter: closing the file releases the lock, and the text proves nothing.
        let _ = self.file.set_len(0);
        let _ = sys::lock::unlock(&self.file);
    }
}

/// Returns the holder of the lock at `path`. A missing file counts as free. On Linux this takes no lock.
pub fn holder(path: &Path) -> Result<Holder, LockError> {
    let io = |action| {
        move |source| LockError::Io {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let mut file = match sys::lock::open_existing(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Free),
        Err(error) => return Err(io("open")(error)),
    };
    if !sys::lock::is_locked(&file).map_err(io("look at"))? {
        return Ok(Holder::Free);
    }
    let mut text = Vec::new();
    let read = Read::by_ref(&mut file)
        .take(TEXT_LIMIT)
        .read_to_end(&mut text);
    Ok(Holder::Held(
        read.ok().and_then(|_| serde_json::from_slice(&text).ok()),
    ))
}
