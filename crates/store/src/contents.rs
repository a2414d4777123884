//! The contents of a log at opening.

use crate::change::Record;
use crate::index::Index;
use crate::value::Revision;

/// The state that a log hands over at opening: the keys as of a revision, and the changes since.
#[derive(Debug, Default)]
pub struct Contents {
    pub(crate) index: Index,
    /// Whether a compaction was interrupted: the log still has to forget changes that the history no longer has.
    pub(crate) unfinished: bool,
}

impl Contents {
    /// Returns the contents of an empty log, whose next revision is larger than `revision`.
    pub fn new(revision: Revision) -> Self {
        Self {
            index: Index::new(revision),
            unfinished: false,
        }
    }

    /// Adds a key of the state from which the history starts. To be called before [`replay`](Self::replay). A
    /// deletion is ignored.
    pub fn add(&mut self, record: Record) {
        self.index.load(record.into());
    }

    /// Adds a change of the history, in the order of the revisions.
    pub fn replay(&mut self, record: Record) {
        self.index.apply(record.into());
    }
}
