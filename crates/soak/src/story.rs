//! What happened, in the order in which it did, and the figures at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What happened so far.
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

/// Something that must hold does not.
#[derive(Debug)]
pub struct Violation {
    /// What does not hold.
    pub what: String,
    /// What happened before, a line each.
    pub story: String,
    /// Where the logs are.
    pub kept: PathBuf,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { what, story, kept } = self;
        write!(f, "{story}\nVIOLATED: {what}\nlogs: {}", kept.display())
    }
}

impl std::error::Error for Violation {}

/// The figures of a soak in which everything held: no orphan, no stranger signalled, no VM lost, nothing twice, no
/// crash loop.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// How often each fault happened, by its name.
    pub faults: BTreeMap<&'static str, u32>,
    /// Rounds.
    pub rounds: u32,
    /// From the end of the faults of a round to the declared state of all VMs.
    pub converged: Vec<Duration>,
    /// VMs that had failed so often that their user asked for a start instead of waiting for the next one.
    pub asked_again: u32,
}

impl Figures {
    /// All faults.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.faults.values().sum()
    }
}
