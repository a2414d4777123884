//! A log that keeps nothing, for tests: the index has everything.

use crate::log::{Log, LogError, Outcome, Proposal};
use crate::value::Revision;

/// Counts revisions.
#[derive(Debug)]
pub(crate) struct MemoryLog {
    pub(crate) newest: Revision,
}

impl Log for MemoryLog {
    fn place(&self) -> &str {
        "memory"
    }

    fn commit(&mut self, proposals: &[Proposal]) -> Result<Vec<Outcome>, LogError> {
        let first = self.newest + 1;
        self.newest += proposals.len() as Revision;
        Ok((first..=self.newest).map(Outcome::Written).collect())
    }
}
