//! The soak: random faults at many VMs, with the real daemon, hostagents and QEMUs, and a check of what must hold
//! whatever happens.
//!
//! ```text
//! a round:  a burst of faults ──▶ the faults end ──▶ all converges, in a bounded time ──▶ nothing moves any more
//!           kill, freeze, full disk,   thaw, make room,     one daemon, one hostagent and one     same processes,
//!           ports taken, sockets       free the ports       QEMU for each VM that should run,     same counts
//!           deleted, PIDs forged,                           nobody else; disks and templates
//!           clock jumps, user commands                      are the right ones
//! ```
//! At the end the wall clock jumps while nothing else happens, and then nobody may end or be started.
//! The guests are stubs ([`testutils::stub_guest`]): what is under test is on the host. Their clocks are decades behind,
//! so each look at a guest sees a clock that jumped. A seed decides which faults come in which order; when they hit is
//! left to the machine.
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

/// What a soak is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program under test: `rdd`.
    pub binary: PathBuf,
    /// How many VMs there are.
    pub vms: usize,
    /// Decides which faults come in which order.
    pub seed: u64,
    /// No new round begins after this time.
    pub duration: Duration,
    /// No new round begins after so many faults.
    pub faults: u32,
    /// The home folder becomes a small file system of its own, which is filled up now and then. Wants the right to
    /// mount: run in an [`enclosure`].
    pub small_disk: bool,
    /// Where the logs go when something is violated.
    pub kept: PathBuf,
    /// Tells each step as it happens.
    pub tell: fn(&str),
}

/// Runs a soak.
///
/// # Errors
/// Something does not hold: what, and the story that led there.
pub fn run(options: &Options) -> Result<Figures, Violation> {
    rounds::run(options)
}
