//! The errors of the key pair.

use std::io;
use std::path::PathBuf;

/// There is no usable key pair. The files are unchanged, or moved aside.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key has a passphrase.
    #[error("the ssh key {path} is protected by a passphrase, and a daemon has no user who types it; remove the passphrase with: ssh-keygen -p -f {path}   or move the file away to get a new key", path = path.display())]
    Encrypted {
        /// The private key.
        path: PathBuf,
    },
    /// The key is in a format that cannot be read here.
    #[error("the ssh key {path} is in the format {format:?}; convert it with: ssh-keygen -p -N '' -f {path}   or move the file away to get a new key", path = path.display())]
    Format {
        /// The private key.
        path: PathBuf,
        /// The format that the first line names.
        format: String,
    },
    /// The file cannot be read, and not be made readable.
    #[error("cannot read the ssh key {path}: {source}; make it readable for this user (chown, chmod 600), or move it away to get a new key", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A step on a file failed.
    #[error("cannot {action} {path}: {source}; {remedy}", path = path.display())]
    Io {
        /// The step, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
        /// What the user can do.
        remedy: &'static str,
    },
    /// A file could not be written.
    #[error("{0}; free some space or make the folder writable, and try again")]
    File(#[from] process::file::FileError),
    /// Another process holds the lock for too long.
    #[error("cannot lock the ssh keys: {0}")]
    Lock(Box<process::lock::LockError>),
    /// Too many files have been moved aside.
    #[error("{path} and all of its numbered siblings exist; look at them and remove what is not needed", path = path.display())]
    TooManyAside {
        /// The file that cannot be moved aside.
        path: PathBuf,
    },
    /// The system has no random numbers, or the key has no text form.
    #[error("cannot make an ssh key: {0}")]
    Make(String),
}

impl From<process::lock::LockError> for KeyError {
    fn from(error: process::lock::LockError) -> Self {
        Self::Lock(Box::new(error))
    }
}
