//! A trial, its verdict, and the report over all of them.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use crate::plane::Shared;

/// The result of a trial's own check: `Err` says what did not hold.
pub(crate) type Outcome = Result<(), String>;
pub(crate) type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// An attack with its name.
pub(crate) struct Trial {
    /// `area: what is sent`.
    pub(crate) name: String,
    pub(crate) run: Box<dyn FnOnce(Shared) -> Running>,
    /// The trial stops the daemon itself, so that neither its process nor the owner's requests go on.
    pub(crate) stops_daemon: bool,
}

impl Trial {
    pub(crate) fn new<F>(name: impl Into<String>, run: impl FnOnce(Shared) -> F + 'static) -> Self
    where
        F: Future<Output = Outcome> + 'static,
    {
        Self {
            name: name.into(),
            run: Box::new(move |plane| Box::pin(run(plane))),
            stops_daemon: false,
        }
    }

    /// Declares that the trial stops the daemon.
    pub(crate) fn stopping(mut self) -> Self {
        self.stops_daemon = true;
        self
    }
}

/// How one trial ended.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// `area: what was sent`.
    pub name: String,
    /// What did not hold; empty when all of it did.
    pub failures: Vec<String>,
    /// The daemon's peak of resident memory during the trial, in bytes; unknown when it ended.
    pub peak: Option<u64>,
    /// The longest that the owner waited for an answer during the trial.
    pub owner_waited: Duration,
    /// How long the trial took.
    pub took: Duration,
}

impl Verdict {
    /// Whether everything held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.held() { "held  " } else { "FAILED" };
        write!(f, "{mark} {} ({:.1} s", self.name, self.took.as_secs_f64())?;
        if let Some(peak) = self.peak {
            write!(f, ", peak {} MiB", peak >> 20)?;
        }
        write!(f, ", owner waited {} ms)", self.owner_waited.as_millis())?;
        for failure in &self.failures {
            write!(f, "\n       {failure}")?;
        }
        Ok(())
    }
}

/// All verdicts of an assault.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order in which the trials ran.
    pub verdicts: Vec<Verdict>,
}

impl Report {
    /// The number of trials that held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.verdicts.iter().filter(|one| one.held()).count()
    }

    /// The largest peak of resident memory in any trial, in bytes.
    #[must_use]
    pub fn peak(&self) -> u64 {
        let peaks = self.verdicts.iter().filter_map(|one| one.peak);
        peaks.max().unwrap_or(0)
    }

    /// The longest wait of the owner in any trial.
    #[must_use]
    pub fn owner_waited(&self) -> Duration {
        let waits = self.verdicts.iter().map(|one| one.owner_waited);
        waits.max().unwrap_or_default()
    }
}
