//! The steps of a soak in order, and the figures at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The steps so far.
#[derive(Debug)]
pub(crate) struct Story {
    began: Instant,
    lines: Vec<String>,
    tell: fn(&str),
}

impl Story {
    pub(crate) fn new(tell: fn(&str)) -> Story {
        Story {
            began: Instant::now(),
            lines: Vec::new(),
            tell,
        }
    }

    pub(crate) fn note(&mut self, what: impl fmt::Display) {
        let line = format!("{:>8.1} s  {what}", self.began.elapsed().as_secs_f64());
        (self.tell)(&line);
        self.lines.push(line);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn violated(&self, what: impl fmt::Display, kept: PathBuf) -> Violation {
        Violation {
            what: what.to_string(),
            story: self.lines.join("\n"),
            kept,
        }
    }
}

/// A violated invariant.
#[derive(Debug)]
pub struct Violation {
    /// The invariant.
    pub what: String,
    /// The steps before, one on each line.
    pub story: String,
    /// The folder with the logs.
    pub kept: PathBuf,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { what, story, kept } = self;
        write!(f, "{story}\nVIOLATED: {what}\nlogs: {}", kept.display())
    }
}

impl std::error::Error for Violation {}

/// The figures of a soak without a violation: no orphan, no other process signalled, no VM lost or duplicated, no crash
/// loop.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The number of each fault, by name.
    pub faults: BTreeMap<&'static str, u32>,
    /// The number of rounds.
    pub rounds: u32,
    /// The time from the end of the faults of a round to the declared state of all VMs.
    pub converged: Vec<Duration>,
    /// How often the user started a VM instead of waiting for the end of its back-off.
    pub asked_again: u32,
}

impl Figures {
    /// The number of all faults.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.faults.values().sum()
    }
}
