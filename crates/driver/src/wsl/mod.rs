//! WSL2: the driver of Windows. A VM is a distribution that rdd imported, controlled through `wsl.exe`.
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
//! Invariants:
//! - A distribution is terminated before it is unregistered, because `--unregister` of a running distribution hangs WSL's
//!   service and with it every later `wsl.exe` (hazard 39). A command that hangs is killed at its limit, and no further
//!   command is sent. The error offers to restart the service; the driver never restarts it, because that ends the user's
//!   other distributions.
//! - A start that fails leaves the distribution terminated, and so does every way in which a machine ends (hazard 40).
//! - A distribution that is registered without a disk is unregistered and imported again (hazard 41).
//!
//! WSL ends a distribution in which no process was started from outside, so a process of rdd, the *keeper*, runs `sleep`
//! in it. The keeper is the machine's process. `wsl --list --running` says whether the machine runs; a machine whose
//! keeper is gone is adopted by starting another keeper.
//!
//! The caller holds the instance's lock, so no other process changes the same distribution. The tests replace `wsl.exe` by
//! a fake, whose behaviour follows the issues of microsoft/WSL and the reports of users of the Go `rdd`.
//!
//! | module | what it knows |
//! |---|---|
//! | `driver` | start, observe, adopt, destroy |
//! | `machine` | one running distribution |
//! | `lifecycle` | the transitions between the states above |
//! | `command` | the commands of `wsl.exe`, each bounded |
//! | `text` | the encodings of its output |

mod command;
mod distro;
mod driver;
mod error;
mod lifecycle;
mod machine;
mod text;

pub use distro::{Distro, Limits, Wsl};
pub use driver::WslDriver;
pub use error::WslError;
pub use lifecycle::State;
