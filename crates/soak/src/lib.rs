//! The soak: random faults with many VMs and the real daemon, hostagents and QEMUs, and a check of the invariants after
//! each round.
//!
//! ```text
//! a round:  a burst of faults ──▶ the faults end ──▶ the state converges within a bound ──▶ nothing changes any more
//!           kill, freeze, full disk,   thaw, make room,     one daemon, one hostagent and one     same processes,
//!           ports taken, sockets       free the ports       QEMU for each VM that should run,     same counts
//!           deleted, PIDs forged,                           no other process; disks and templates
//!           clock jumps, user commands                      are the right ones
//! ```
//! At the end the wall clock jumps while nothing else happens; then no process may end or be started.
//! The guests are stubs ([`testutils::stub_guest`]), because the host side is under test. Their clocks are decades behind,
//! so each check of a guest finds a clock that jumped. The seed decides the order of the faults; their timing depends on
//! the machine.
//!
//! A crate of its own, used by `cargo xtask soak` and by a short run in the test suite: the two share no other code.
#![cfg(unix)]

mod dice;
mod enclosure;
mod fault;
mod plane;
mod processes;
mod rounds;
mod story;
mod vms;
mod wall_clock;

use std::path::PathBuf;
use std::time::Duration;

pub use enclosure::{enclosure, ends_all};
pub use story::{Figures, Violation};

/// The parameters of a soak.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program under test: `rdd`.
    pub binary: PathBuf,
    /// The number of VMs.
    pub vms: usize,
    /// Decides the order of the faults.
    pub seed: u64,
    /// No new round begins after this time.
    pub duration: Duration,
    /// No new round begins after so many faults.
    pub faults: u32,
    /// Puts the home folder on a small file system, which is filled from time to time. Needs the right to mount: run in an
    /// [`enclosure`].
    pub small_disk: bool,
    /// The folder for the logs when an invariant is violated.
    pub kept: PathBuf,
    /// Receives a line for each step.
    pub tell: fn(&str),
}

/// Runs a soak.
///
/// # Errors
/// An invariant is violated; the error contains the steps before.
pub fn run(options: &Options) -> Result<Figures, Violation> {
    rounds::run(options)
}
