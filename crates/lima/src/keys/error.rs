//! Why there is no key pair.

use std::io;
use std::path::PathBuf;

/// There is no usable key pair, and the files are as they were found. Names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A passphrase would have to be typed at each use.
    #[error("the ssh key {path} is protected by a passphrase, which nobody can type for a daemon; remove the passphrase with: ssh-keygen -p -f {path}   or move the file away to get a new key", path = path.display())]
    Encrypted {
        /// The private key.
        path: PathBuf,
    },
    /// A key in a format that is not read here.
    #[error("the ssh key {path} is in the format {format:?}; convert it with: ssh-keygen -p -N '' -f {path}   or move the file away to get a new key", path = path.display())]
    Format {
        /// The private key.
        path: PathBuf,
        /// What its first line says.
        format: String,
    },
    /// Not ours to read, and not ours to make readable.
    #[error("cannot read the ssh key {path}: {source}; make it readable for you (chown, chmod 600), or move it away to get a new key", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A step failed.
    #[error("cannot {action} {path}: {source}; {remedy}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// A file could not be written in one piece.
    #[error("{0}; free some space or make the folder writable, and try again")]
    File(#[from] process::file::FileError),
    /// Somebody else is at it and does not end.
    #[error("cannot get at the ssh keys: {0}")]
    Lock(Box<process::lock::LockError>),
    /// So many files were moved aside before.
    #[error("{path} and all of its numbered siblings exist; look at them and remove what is not needed", path = path.display())]
    TooManyAside {
        /// The first of them.
        path: PathBuf,
    },
    /// The system gives no randomness, or the key cannot be written as text.
    #[error("cannot make an ssh key: {0}")]
    Make(String),
}

impl From<process::lock::LockError> for KeyError {
    fn from(error: process::lock::LockError) -> Self {
        Self::Lock(Box::new(error))
    }
}
