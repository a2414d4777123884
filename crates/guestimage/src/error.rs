//! The errors of a build.

use std::io;
use std::path::{Path, PathBuf};

use lima::image::ImageError;
use process::command::CommandError;

use crate::kernel::KernelError;

/// No image was built, and no partial result is left.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No recipe has this name.
    #[error("there is no recipe for {name:?}; these can be built: {known}")]
    UnknownDistribution {
        /// The name as given.
        name: String,
        /// The names of the recipes, separated by commas.
        known: String,
    },
    /// The recipe does not support the architecture of this machine.
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
        /// The missing programs, separated by commas.
        programs: String,
        /// The packages that have them, separated by spaces.
        packages: String,
    },
    /// The user has no range of subordinate ids, which a build without root needs.
    #[error(
        "building an image without root needs subordinate user ids, and {file} has none for {user:?}; run: sudo usermod \
         --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
    )]
    NoSubordinateIds {
        /// `/etc/subuid` or `/etc/subgid`.
        file: PathBuf,
        /// The user.
        user: String,
    },
    /// This program contains no guest agent.
    #[error(
        "this program was built without a guest agent; build it on Linux, or with RDD_GUESTAGENT set"
    )]
    NoAgent,
    /// The mirror is not valid.
    #[error(
        "the mirror {mirror:?} is not usable: {reason}; give an http or https URL such as http://MIRROR/debian"
    )]
    Mirror {
        /// The mirror as given.
        mirror: String,
        /// Why it is not valid.
        reason: &'static str,
    },
    /// No mirror was given, and the host's apt has none.
    #[error(
        "this host's apt (/etc/apt) has no mirror of Debian, so the packages of {suite} cannot be found; \
         give a mirror with --mirror http://MIRROR/debian"
    )]
    NoMirror {
        /// The release.
        suite: &'static str,
    },
    /// The packages could not be installed.
    #[error(
        "installing the packages from {mirror} failed: {reason}; check that the mirror can be reached, or give another one \
         with --mirror"
    )]
    Packages {
        /// The mirror.
        mirror: String,
        /// The last lines that mmdebstrap printed.
        reason: String,
    },
    /// The disk is full.
    #[error("no space left on the disk of {path} while {doing}; free about 2 GiB and try again", path = path.display())]
    NoSpace {
        /// The step.
        doing: &'static str,
        /// A path on the full disk.
        path: PathBuf,
    },
    /// A program failed.
    #[error("{doing} failed: {source}")]
    Command {
        /// The step.
        doing: &'static str,
        /// The program and its error.
        source: CommandError,
    },
    /// The packages contain no kernel, or one that cannot be used.
    #[error("the kernel of the image cannot be used: {0}")]
    Kernel(#[from] KernelError),
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
    /// The cache refused the image.
    #[error(transparent)]
    Cache(#[from] ImageError),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] process::file::FileError),
    /// The work folder cannot be locked.
    #[error(transparent)]
    Lock(#[from] process::lock::LockError),
    /// The caller cancelled the build.
    #[error("building the image was cancelled")]
    Cancelled,
}

impl BuildError {
    /// Returns a function for `map_err` after a step on a file. A full disk becomes [`BuildError::NoSpace`].
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
