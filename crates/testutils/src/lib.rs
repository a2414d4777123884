//! Shared code for the tests of all crates. It is part of no program.
//!
//! - [`poll()`], [`poll_async`]: wait for a condition with a deadline, and report the last state.
//! - [`Instance`]: the real `rdd` in a home folder of its own; its processes and files end with the test.
//! - [`Bystander`]: a process that rdd must not signal.
//! - [`stub_guest`]: a guest without Linux that boots in half a second, for tests with many VMs.
//! - [`VmSlot`]: limits how many VMs run at the same time.
//! - [`Port`]: a port that no other test uses.
//! - [`skip()`]: records a test that cannot run on this machine.
//! - [`differs_under_wine`]: leaves out steps in which Wine differs from Windows.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by a panic, and its output contains the reason"
)]

mod bystander;
mod instance;
mod machine;
mod poll;
mod port;
#[cfg(unix)]
mod programs;
mod skip;
mod slot;
pub mod stub_guest;
#[cfg(unix)]
#[path = "unix.rs"]
mod sys;
#[cfg(windows)]
#[path = "windows.rs"]
mod sys;

pub use bystander::Bystander;
pub use instance::{Instance, Leftover, leftovers_of};
pub use machine::{cache_dir, path_with_tools, tools_dir};
pub use poll::{poll, poll_async};
pub use port::Port;
#[cfg(unix)]
pub use programs::{LeftOut, link_programs};
pub use skip::{Need, program_or_skip, skip};
pub use slot::VmSlot;
#[cfg(windows)]
pub use sys::differs_under_wine;
