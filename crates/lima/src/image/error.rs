//! The errors of images.

use std::io;
use std::path::{Path, PathBuf};

use super::{Digest, DigestError, SourceError};
use crate::template::types::Arch;

/// An image cannot be provided.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The location is not valid.
    #[error("image location {0}")]
    Source(#[from] SourceError),
    /// The digest is not valid.
    #[error("image digest {0}")]
    Digest(#[from] DigestError),
    /// No image of the name in `image://NAME` was built.
    #[error(
        "image {name:?} is not on this machine; \"rdd image list\" shows which are, and \"rdd image build {name}\" \
         makes it if rdd has a recipe of that name"
    )]
    NotBuilt {
        /// The name of the image.
        name: String,
    },
    /// A built image is incomplete.
    #[error("image {name:?} in {path} is broken: {reason}; run \"rdd image build {name}\" to make it again", path = path.display())]
    BrokenBuild {
        /// The name of the image.
        name: String,
        /// The folder of the image.
        path: PathBuf,
        /// The missing or wrong part.
        reason: String,
    },
    /// A built image is for another architecture.
    #[error(
        "image {name:?} is for {found}, and the template wants {wanted}; change the template's \"arch\", or its image"
    )]
    WrongArch {
        /// The name of the image.
        name: String,
        /// The architecture of the image.
        found: Arch,
        /// The architecture of the template.
        wanted: Arch,
    },
    /// A download without digest over http, which other machines on the way could replace.
    #[error(
        "the template has no digest for {url}, and plain http does not protect the file against changes on the way; \
         add \"digest: sha256:…\" beside the location (the publisher's SHA256SUMS has it), or use https"
    )]
    MissingDigest {
        /// The URL.
        url: String,
    },
    /// The server refused the request.
    #[error("cannot download {url}: the server answered {status}; check the image's location")]
    Status {
        /// The URL.
        url: String,
        /// The status line of the reply.
        status: String,
    },
    /// The network failed repeatedly.
    #[error(
        "cannot download {url} ({attempts} attempts, {have} bytes so far): {reason}; the partial file is kept, and the next attempt continues from there"
    )]
    Network {
        /// The URL.
        url: String,
        /// The number of consecutive attempts without progress.
        attempts: u32,
        /// The bytes that are kept for the next attempt.
        have: u64,
        /// The last error.
        reason: String,
    },
    /// The file is larger than any image.
    #[error("{subject} has more than {limit} bytes, which is more than an image may have")]
    TooLarge {
        /// The URL or file.
        subject: String,
        /// The limit.
        limit: u64,
    },
    /// The file has another digest than the template says.
    #[error(
        "{subject} has the digest {found}, and the template says {expected}; {removed}correct the template's digest or location"
    )]
    WrongDigest {
        /// The URL or file.
        subject: String,
        /// The digest in the template.
        expected: Digest,
        /// The digest of the file.
        found: Digest,
        /// Says that the download was removed; empty for a file of the user.
        removed: &'static str,
    },
    /// A packed image is larger than the VM's disk may be.
    #[error(
        "{subject} unpacks to more than {} GiB; if that is its right size, confirm it with a larger \"disk\" in the template",
        limit >> 30
    )]
    LargerThanDisk {
        /// The file.
        subject: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The disk has not enough free space.
    #[error(
        "no space left on the disk for {path}: {} MiB are needed, and {} MiB are free beside a reserve for running guests; free some \
         space and try again",
        needed >> 20, free >> 20, path = path.display()
    )]
    TooLittleSpace {
        /// The file.
        path: PathBuf,
        /// The free bytes, without the reserve.
        free: u64,
        /// The bytes that are to be written next.
        needed: u64,
        /// The bytes that were written before.
        written: u64,
    },
    /// The disk is full.
    #[error("no space left on the disk while writing {path} ({written} bytes written); free some space and try again{resume}", path = path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// The bytes that were written.
        written: u64,
        /// Says that the next attempt continues; empty if it cannot.
        resume: &'static str,
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
    /// The lock of an image cannot be taken.
    #[error("cannot lock {subject}: {source}")]
    Lock {
        /// The URL or name.
        subject: String,
        /// The error, with the lock's holder.
        source: Box<process::lock::LockError>,
    },
    /// Another process holds the lock for longer than the limit.
    #[error(
        "waited {hours} hours for another process's download of {subject}; end that process, or try again"
    )]
    WaitedTooLong {
        /// The URL or name.
        subject: String,
        /// The limit.
        hours: u64,
    },
    /// The caller cancelled the work.
    #[error("{subject}: cancelled")]
    Cancelled {
        /// The URL or file.
        subject: String,
    },
    /// A program is not installed.
    #[error("cannot unpack {path}: the program {tool} is not installed; install the package {package}", path = path.display())]
    NoTool {
        /// The file.
        path: PathBuf,
        /// The program.
        tool: &'static str,
        /// The package of the program.
        package: &'static str,
    },
    /// The program that unpacks failed.
    #[error("cannot unpack {path} with {tool}: {reason}", path = path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// The program.
        tool: &'static str,
        /// The program's error output.
        reason: String,
    },
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] process::file::FileError),
}

impl ImageError {
    /// Returns a function for `map_err` after a step on a file. A full disk becomes [`ImageError::NoSpace`].
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace {
                path,
                written: 0,
                resume: "",
            },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// Returns whether trying another image of the template is of no use.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Cancelled { .. } | Self::NoSpace { .. } | Self::TooLittleSpace { .. }
        )
    }
}
