//! The errors of instance folders.

use std::io;
use std::path::{Path, PathBuf};

use crate::image::ImageError;
use crate::layout::{NameError, SocketPathTooLong};
use crate::template::{ByteSize, ParseError, ValidateError, WriteError};

/// How to install qemu-img: the names of Debian's package, Homebrew's formula and winget's package.
const INSTALL_QEMU_IMG: &str = if cfg!(windows) {
    "install QEMU (winget install SoftwareFreedomConservancy.QEMU) and add its folder to PATH"
} else if cfg!(target_os = "macos") {
    "install QEMU (brew install qemu)"
} else {
    "install the package qemu-utils"
};

/// A step on an instance folder failed.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The path of a socket is too long for the OS.
    #[error(transparent)]
    Socket(#[from] SocketPathTooLong),
    /// The instance exists.
    #[error("instance {name:?} exists already in {path}; delete it first, or choose another name", path = path.display())]
    Exists {
        /// The instance's name.
        name: String,
        /// The instance's folder.
        path: PathBuf,
    },
    /// The instance does not exist.
    #[error("there is no instance in {path}: it has no lima.yaml", path = path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// `lima.yaml` is damaged.
    #[error("{path}: {source}", path = path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        source: ParseError,
    },
    /// The template is not valid.
    #[error(transparent)]
    Invalid(#[from] ValidateError),
    /// The template cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The template has no image for the architecture.
    #[error("images: none is for the architecture {arch}; the template has {offered}")]
    NoImage {
        /// The architecture.
        arch: String,
        /// The architectures of the template's images.
        offered: String,
    },
    /// No image of the template can be provided.
    #[error("{}", join(.0))]
    Images(Vec<(String, ImageError)>),
    /// An image cannot be used as a disk.
    #[error("image {location} cannot be used: {reason}")]
    BadImage {
        /// The location of the image.
        location: String,
        /// The reason.
        reason: String,
    },
    /// A part of an image cannot be provided.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// qemu-img is not installed.
    #[error("cannot make the disk: the program qemu-img is not installed; {INSTALL_QEMU_IMG}")]
    NoQemuImg,
    /// qemu-img failed.
    #[error("cannot {action}: {source}")]
    QemuImg {
        /// The step, as a verb.
        action: String,
        /// The program's error.
        source: Box<process::command::CommandError>,
    },
    /// Another process prepares the same instance.
    #[error("instance {name:?} is being prepared by another process: {source}")]
    Busy {
        /// The instance's name.
        name: String,
        /// The error, with the lock's holder.
        source: Box<process::lock::LockError>,
    },
    /// The held lock is not the instance's.
    #[error("refused to delete {path}: the lock that is held is {held}, not the instance's ha.lock", path = path.display(), held = held.display())]
    NotLocked {
        /// The instance's folder.
        path: PathBuf,
        /// The held lock.
        held: PathBuf,
    },
    /// The user has protected the instance.
    #[error("instance {name:?} is protected; remove {path} first", path = path.display())]
    Protected {
        /// The instance's name.
        name: String,
        /// The file that protects the instance.
        path: PathBuf,
    },
    /// The new template has a smaller disk.
    #[error(
        "disk: cannot make the disk smaller, from {actual} to {wanted}: the guest's files at its end would be lost; keep {actual}, or create another VM"
    )]
    DiskShrinks {
        /// The size in the new template.
        wanted: ByteSize,
        /// The size of the disk.
        actual: ByteSize,
    },
    /// The disk is full.
    #[error("no space left on the disk while making {path}; free some space and try again", path = path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// A step on a file failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// The step, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] process::file::FileError),
}

fn join(errors: &[(String, ImageError)]) -> String {
    let listed: Vec<String> = errors
        .iter()
        .map(|(field, error)| format!("{field}: {error}"))
        .collect();
    listed.join("; ")
}

impl InstanceError {
    /// Returns a function for `map_err` after a step on a file. A full disk becomes [`InstanceError::NoSpace`].
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
