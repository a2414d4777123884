//! Processes: their start, identity and end; locks and files that survive a crash. Knows no VM.
//!
//! The rule behind everything here: **a PID is never an identity**. A process is alive if it holds its lock; a process is
//! signalled only through a pidfd (Linux) or a handle (Windows) whose start time and boot id were checked first.
//!
//! | module | what it provides |
//! |---|---|
//! | [`identity`] | the name of a process that stays unique across restarts of rdd and of the host |
//! | [`held`] | a handle to a process, so that its PID cannot be reused |
//! | [`lock`] | locks that the kernel releases, and their holders |
//! | [`spawn`] | children that outlive the call that started them |
//! | [`command`] | helpers that do not: captured and bounded |
//! | [`tree`] | ending a process with all its descendants |
//! | [`mod@file`] | atomic writes of files, private folders |
//! | [`crash`] | points where a test can kill the process |
//! | [`start_state`] | what this process inherited and does not depend on |
//! | [`stop`] | requests from outside to stop this process |
//! | `mounts` (Linux) | file systems that only this process and its children see |
//! | `open_files` (macOS) | which processes have a file open |
//!
//! One interface, two implementations (`unix/`, `windows/`), one contract suite (`tests/contract.rs`).

pub mod command;
pub mod crash;
pub mod file;
pub mod held;
pub mod identity;
pub mod lock;
pub mod spawn;
pub mod start_state;
pub mod stop;
pub mod tree;

#[cfg(unix)]
#[path = "unix/mod.rs"]
mod sys;
#[cfg(windows)]
#[path = "windows/mod.rs"]
mod sys;

#[cfg(target_os = "linux")]
#[path = "unix/mounts.rs"]
pub mod mounts;

#[cfg(target_os = "macos")]
#[path = "unix/macos_open_files.rs"]
pub mod open_files;

#[cfg(target_os = "linux")]
#[path = "unix/cgroup.rs"]
mod cgroup;
#[cfg(not(target_os = "linux"))]
#[path = "no_cgroup.rs"]
mod cgroup;

mod captured;
mod hunt;
mod pause;
mod readiness;

pub use held::{Exit, Process, Signal};
pub use identity::Identity;
pub use lock::FileLock;
