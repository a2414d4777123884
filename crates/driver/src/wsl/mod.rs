//! WSL2: the life of a distribution that is a VM of ours, over `wsl.exe`.
//!
//! ```text
//!                import                  boot
//!   absent ────────────────► stopped ────────────► running
//!     ▲                        │  ▲                   │
//!     └── terminate, unregister┘  └──── terminate ────┘
//!
//!   broken (registered without a disk, or its import was interrupted) ── terminate, unregister ──► absent
//! ```
//!
//! What holds here:
//! - A distribution is terminated before it is unregistered, since `--unregister` of one that runs hangs WSL's service
//!   and with it every later `wsl.exe` (hazard 39). A command that hangs is killed at its limit, nothing is sent after
//!   it, and the error offers to restart the service; that ends the user's other distributions, so it is never done
//!   from here.
//! - Every way in which [`Wsl::run`] ends leaves the distribution terminated (hazard 40).
//! - One that is registered and has no disk is unregistered and imported again (hazard 41).
//!
//! The caller holds the instance's lock, so nobody else works on the same distribution. The tests play `wsl.exe` with a
//! stand-in; what it does is what the issues of microsoft/WSL and the users of the Go `rdd` tell of the real one.

mod command;
mod error;
mod lifecycle;
mod text;

use std::path::PathBuf;
use std::time::Duration;

pub use error::WslError;
pub use lifecycle::{Ended, State};

/// One distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distro {
    /// The name that it is registered under, unique for the user; WSL ignores the case of names.
    pub name: String,
    /// The folder that holds its disk, and nothing of anybody else.
    pub folder: PathBuf,
    /// The archive with its root file system, which it is imported from.
    pub image: PathBuf,
}

/// How long each command of `wsl.exe` may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Asking for a list.
    pub list: Duration,
    /// Unpacking the image onto a new disk.
    pub import: Duration,
    /// From nothing to the first command in the distribution; boots WSL's utility VM too.
    pub boot: Duration,
    /// Ending it.
    pub terminate: Duration,
    /// Forgetting it, its disk too.
    pub unregister: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            // Tenths of a second; the service may have to be started first.
            list: Duration::from_secs(10),
            // A gigabyte through a virus scanner.
            import: Duration::from_secs(600),
            boot: Duration::from_secs(60),
            // It kills, and asks nobody: a second.
            terminate: Duration::from_secs(20),
            unregister: Duration::from_secs(60),
        }
    }
}

/// `wsl.exe`, and how long it may take.
#[derive(Debug, Clone)]
pub struct Wsl {
    program: PathBuf,
    limits: Limits,
}

impl Wsl {
    /// `program`: the path of `wsl.exe`.
    pub fn new(program: impl Into<PathBuf>, limits: Limits) -> Wsl {
        Wsl {
            program: program.into(),
            limits,
        }
    }
}
