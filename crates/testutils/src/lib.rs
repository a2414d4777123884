//! What the tests of all crates share. Not part of any program.
//!
//! - [`poll()`], [`poll_async`]: wait for something, with a deadline, and say what was seen last.
//! - [`Instance`]: the real `rdd` in a home folder of its own; nothing of it outlives the test.
//! - [`Bystander`]: a process that nothing of rdd may touch.
//! - [`stub_guest`]: a guest that is up in half a second and no Linux, for many VMs at once.
//! - [`VmSlot`]: how many VMs the machine boots at once.
//! - [`Port`]: a port that no other test uses.
//! - [`skip()`]: records a test that cannot run on this machine.
//! - [`differs_under_wine`]: where Wine is not Windows.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic is how a test fails, and its output is where the reason is looked for"
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
