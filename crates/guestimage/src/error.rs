//! What can go wrong with a build.

use std::io;
use std::path::{Path, PathBuf};

use lima::image::ImageError;
use process::command::CommandError;

use crate::kernel::KernelError;

/// No image was built, and nothing was left behind. Each message says what was tried, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No recipe has this name.
    #[error("there is no recipe for {name:?}; these can be built: {known}")]
    UnknownDistribution {
        /// As given.
        name: String,
        /// The recipes, separated by commas.
        known: String,
    },
    /// Images of this distribution need another machine.
    #[error("{name} cannot be built for this machine's architecture ({arch})")]
    UnsupportedArchitecture {
        /// The recipe.
        name: &'static str,
        /// `std::env::consts::ARCH`.
        arch: &'static str,
    },
    /// Programs are missing.
    #[error(
        "building an image needs {programs}; install them with: sudo apt-get install {packages}"
    )]
    MissingTools {
        /// What is missing, for people.
        programs: String,
        /// The packages, separated by spaces.
        packages: String,
    },
    /// Without root, a range of user ids is needed.
    #[error(
        "building an image without root needs subordinate user ids, and {file} has none for {user:?}; run: sudo usermod \
         --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    )]
    NoSubordinateIds {
        /// `/etc/subuid` or `/etc/subgid`.
        file: PathBuf,
        /// Who builds.
        user: String,
    },
    /// This build of the program has no guest agent in it.
    #[error(
        "this program was built without a guest agent; build it on Linux, or with RDD_GUESTAGENT set"
    )]
    NoAgent,
    /// A mirror that cannot be used.
    #[error(
        "the mirror {mirror:?} is not usable: {reason}; give an http or https URL such as http://MIRROR/debian"
    )]
    Mirror {
        /// As given.
        mirror: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Nobody said where packages come from.
    #[error(
        "this host's apt (/etc/apt) has no mirror of Debian, so it is not known where {suite}'s packages come from; \
         name a mirror with --mirror http://MIRROR/debian"
    )]
    NoMirror {
        /// The release.
        suite: &'static str,
    },
    /// The packages could not be installed.
    #[error(
        "installing the packages from {mirror} failed: {reason}; check that the mirror can be reached, or name another one \
         with --mirror"
    )]
    Packages {
        /// Where they were to come from.
        mirror: String,
        /// The last lines of mmdebstrap.
        reason: String,
    },
    /// The disk is full.
    #[error("no space left on the disk of {path} while {doing}; free about 2 GiB and try again", path = path.display())]
    NoSpace {
        /// What was done.
        doing: &'static str,
        /// A path on the full disk.
        path: PathBuf,
    },
    /// A helper failed.
    #[error("{doing} failed: {source}")]
    Command {
        /// What was done.
        doing: &'static str,
        /// Which program, and what it said.
        source: CommandError,
    },
    /// The packages brought no kernel, or one that cannot be used.
    #[error("the kernel of the image cannot be used: {0}")]
    Kernel(#[from] KernelError),
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
    /// The cache did not take it.
    #[error(transparent)]
    Cache(#[from] ImageError),
    /// A step on a file failed.
    #[error(transparent)]
    File(#[from] process::file::FileError),
    /// The work folder cannot be locked.
    #[error(transparent)]
    Lock(#[from] process::lock::LockError),
    /// The caller changed its mind.
    #[error("building the image was cancelled")]
    Cancelled,
}

impl BuildError {
    /// For `map_err`: a step on a file. A full disk gets its own message.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace {
                doing: action,
                path,
            },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}
