//! What can go wrong with an image.

use std::io;
use std::path::{Path, PathBuf};

use super::{Digest, DigestError, SourceError};
use crate::template::Arch;

/// An image cannot be had. Each message says what was tried, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The location cannot be used.
    #[error("image location {0}")]
    Source(#[from] SourceError),
    /// The digest cannot be read.
    #[error("image digest {0}")]
    Digest(#[from] DigestError),
    /// `image://NAME`, and no such image was built.
    #[error(
        "image {name:?} is not on this machine; \"rdd image list\" shows which are, and \"rdd image build {name}\" \
         makes it if rdd has a recipe of that name"
    )]
    NotBuilt {
        /// Its name.
        name: String,
    },
    /// A built image that is not whole.
    #[error("image {name:?} in {path} is broken: {reason}; run \"rdd image build {name}\" to make it again", path = path.display())]
    BrokenBuild {
        /// Its name.
        name: String,
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A built image for other machines.
    #[error(
        "image {name:?} is for {found}, and the template wants {wanted}; change the template's \"arch\", or its image"
    )]
    WrongArch {
        /// Its name.
        name: String,
        /// What it is for.
        found: Arch,
        /// What the template says.
        wanted: Arch,
    },
    /// A download that anybody on the way could replace.
    #[error(
        "the template gives no digest for {url}, and over plain http nobody could tell whether the right file arrives; \
         add \"digest: sha256:…\" beside the location (the publisher's SHA256SUMS has it), or use https"
    )]
    MissingDigest {
        /// What was to be downloaded.
        url: String,
    },
    /// The server said no.
    #[error("cannot download {url}: the server answered {status}; check the image's location")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer's first line.
        status: String,
    },
    /// The network failed, again and again.
    #[error(
        "cannot download {url} ({attempts} attempts, {have} bytes so far): {reason}; what has arrived is kept, the next attempt goes on from there"
    )]
    Network {
        /// What was asked for.
        url: String,
        /// How often in a row nothing more arrived.
        attempts: u32,
        /// What is there for the next time.
        have: u64,
        /// What happened last.
        reason: String,
    },
    /// More bytes than any image has.
    #[error("{subject} has more than {limit} bytes, which is more than an image may have")]
    TooLarge {
        /// The URL or file.
        subject: String,
        /// The limit.
        limit: u64,
    },
    /// The wrong file.
    #[error(
        "{subject} has the digest {found}, and the template says {expected}; {removed}correct the template's digest or location"
    )]
    WrongDigest {
        /// The URL or file.
        subject: String,
        /// What the template says.
        expected: Digest,
        /// What it is.
        found: Digest,
        /// Says that the download was removed, when it was one; empty for a file of the user.
        removed: &'static str,
    },
    /// The disk is full.
    #[error("no space left on the disk while writing {path} ({written} bytes written); free some space and try again{resume}", path = path.display())]
    NoSpace {
        /// What was written.
        path: PathBuf,
        /// How far it got.
        written: u64,
        /// Says that the rest will be enough the next time, when it is so.
        resume: &'static str,
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
    /// Somebody else works on the same image and does not come to an end.
    #[error("cannot get at {subject}: {source}")]
    Lock {
        /// The URL or name.
        subject: String,
        /// Who holds it.
        source: Box<process::lock::LockError>,
    },
    /// Somebody else worked on the same image for longer than anybody waits.
    #[error(
        "waited {hours} hours for somebody else's download of {subject}; end that process, or try again"
    )]
    WaitedTooLong {
        /// The URL or name.
        subject: String,
        /// The limit.
        hours: u64,
    },
    /// The caller changed its mind.
    #[error("{subject}: cancelled")]
    Cancelled {
        /// The URL or file.
        subject: String,
    },
    /// A program is missing.
    #[error("cannot unpack {path}: the program {tool} is not installed; install the package {package}", path = path.display())]
    NoTool {
        /// The file.
        path: PathBuf,
        /// The program.
        tool: &'static str,
        /// Where it is from.
        package: &'static str,
    },
    /// Unpacking failed.
    #[error("cannot unpack {path} with {tool}: {reason}", path = path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// The program.
        tool: &'static str,
        /// What it said.
        reason: String,
    },
    /// A file could not be written in one piece.
    #[error(transparent)]
    File(#[from] process::file::FileError),
}

impl ImageError {
    /// For `map_err`: a step on a file. A full disk gets its own message.
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

    /// Whether another image of the template is worth a try.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Cancelled { .. } | Self::NoSpace { .. })
    }
}
