//! The assault: hostile requests, connections, templates and files against the real daemon, and a check of what must
//! hold whatever is sent.
//!
//! ```text
//! a trial:  reset the daemon's peak memory ──▶ the attack ──▶ is the answer the right one?
//!                     meanwhile the owner asks ──────────────▶ was every answer right and in time?
//!                                                              is it the same process, and how large was it?
//! ```
//! Each trial counts once: it held, or it failed with a reason. After a trial that failed, the next one gets a new
//! instance. A crate of its own, because `cargo xtask assault` and the short form in the test suite share it.
#![cfg(target_os = "linux")]

mod battery;
mod connections;
mod files;
mod fuzz;
mod owner;
mod plane;
mod requests;
mod trial;

use std::path::PathBuf;
use std::time::Duration;

pub use trial::{Report, Verdict};

/// What an assault does, and what it demands.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program under test: `rdd`.
    pub binary: PathBuf,
    /// Decides what the fuzzer sends.
    pub seed: u64,
    /// How long the fuzzer runs.
    pub fuzz: Duration,
    /// How many anonymous connections are opened at once.
    pub connections: usize,
    /// The daemon's largest resident memory in any trial, in bytes.
    pub memory_limit: u64,
    /// The longest that the owner may wait for an answer during a trial.
    pub owner_limit: Duration,
    /// Runs only the trials whose name contains this text.
    pub only: Option<String>,
    /// Receives each line of the report when the trial has ended.
    pub print: fn(&str),
}

/// Runs all trials, one after another, on an instance of its own.
///
/// # Errors
/// The instance could not be started, or a connection to it could not be set up.
pub fn run(options: &Options) -> Result<Report, String> {
    allow_descriptors()?;
    battery::run_all(options)
}

/// Raises this process's limit of open files as far as it may: each connection of an attacker takes one.
fn allow_descriptors() -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| format!("cannot raise the limit of open files: {error}"))
}
