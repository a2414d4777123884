//! What can go wrong with an instance folder.

use std::io;
use std::path::{Path, PathBuf};

use crate::image::ImageError;
use crate::layout::{NameError, SocketPathTooLong};
use crate::template::{ParseError, ValidateError, WriteError};

/// How qemu-img is installed here. The names are those of Debian's package, of Homebrew's formula and of winget's package.
const INSTALL_QEMU_IMG: &str = if cfg!(windows) {
    "install QEMU (winget install SoftwareFreedomConservancy.QEMU) and add its folder to PATH"
} else if cfg!(target_os = "macos") {
    "install QEMU (brew install qemu)"
} else {
    "install the package qemu-utils"
};

/// A step on an instance folder failed. Each message says what was tried, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A socket would get a path that the OS refuses.
    #[error(transparent)]
    Socket(#[from] SocketPathTooLong),
    /// There is one already.
    #[error("instance {name:?} exists already in {path}; delete it first, or choose another name", path = path.display())]
    Exists {
        /// Its name.
        name: String,
        /// Its folder.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no instance in {path}: it has no lima.yaml", path = path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Its `lima.yaml` is damaged.
    #[error("{path}: {source}", path = path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ParseError,
    },
    /// The template cannot be used.
    #[error(transparent)]
    Invalid(#[from] ValidateError),
    /// The template cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The template has no image for this machine.
    #[error("images: none is for the architecture {arch}; the template has {offered}")]
    NoImage {
        /// What was asked for.
        arch: String,
        /// What there is.
        offered: String,
    },
    /// No image of the template can be had.
    #[error("{}", join(.0))]
    Images(Vec<(String, ImageError)>),
    /// An image that cannot be a disk.
    #[error("image {location} cannot be used: {reason}")]
    BadImage {
        /// Where it is from.
        location: String,
        /// Why.
        reason: String,
    },
    /// A part of an image cannot be had.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A program is missing.
    #[error("cannot make the disk: the program qemu-img is not installed; {INSTALL_QEMU_IMG}")]
    NoQemuImg,
    /// qemu-img failed.
    #[error("cannot {action}: {source}")]
    QemuImg {
        /// What was tried.
        action: String,
        /// What it said.
        source: Box<process::command::CommandError>,
    },
    /// Somebody else prepares the same instance.
    #[error("instance {name:?} is being prepared by somebody else: {source}")]
    Busy {
        /// Its name.
        name: String,
        /// Who.
        source: Box<process::lock::LockError>,
    },
    /// The lock shown is not that of the instance.
    #[error("refused to delete {path}: the lock that is held is {held}, not the instance's ha.lock", path = path.display(), held = held.display())]
    NotLocked {
        /// The instance's folder.
        path: PathBuf,
        /// The lock that the caller holds.
        held: PathBuf,
    },
    /// The user protected it.
    #[error("instance {name:?} is protected; remove {path} first", path = path.display())]
    Protected {
        /// Its name.
        name: String,
        /// The file that protects it.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space left on the disk while making {path}; free some space and try again", path = path.display())]
    NoSpace {
        /// What was written.
        path: PathBuf,
    },
    /// A step on a file failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written in one piece.
    #[error(transparent)]
    File(#[from] process::file::FileError),
}

fn join(errors: &[(String, ImageError)]) -> String {
    let told: Vec<String> = errors
        .iter()
        .map(|(field, error)| format!("{field}: {error}"))
        .collect();
    told.join("; ")
}

impl InstanceError {
    /// For `map_err`: a step on a file. A full disk gets its own message.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}
