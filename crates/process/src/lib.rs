//! Processes, their identity, their end; locks and files that survive a crash. Knows no VM.
//!
//! The rule behind everything here: **a number is never an identity**. Who holds a lock is alive; who is to be
//! signalled is held by a pidfd (Linux) or a handle (Windows) whose start time and boot id were checked first.
//!
//! | module | what it answers |
//! |---|---|
//! | [`identity`] | which process is meant, across restarts of ours and of the host |
//! | [`held`] | a process held so that its number cannot come to mean a stranger |
//! | [`lock`] | who is alive; who holds this |
//! | [`spawn`] | children that outlive the call which made them |
//! | [`command`] | helpers that must not: run, captured, bounded |
//! | [`tree`] | the end of a process and of all that it started |
//! | [`mod@file`] | files that are there whole or not at all |
//! | [`crash`] | where a test may kill us |
//! | [`start_state`] | what this process inherited and does not depend on |
//! | [`stop`] | how the outside asks this process to stop |
//! | `mounts` (Linux) | file systems that only we and our children see |
//! | `open_files` (macOS) | who has a file open |
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
