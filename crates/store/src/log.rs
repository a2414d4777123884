//! What a backend has to do: keep batches of changes durably, and give them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Revision;
use crate::change::{Change, Version};
use crate::history::History;
use crate::lease::Lease;

/// The cause of a failed call.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Changes that become durable together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// In the order of their revisions, contiguous, following the last commit.
    pub(crate) changes: Vec<Arc<Change>>,
    /// Leases of revisions in `changes`.
    pub(crate) granted: Vec<(Revision, Lease)>,
    /// Revisions whose leases end; may be among those granted in this commit.
    pub(crate) ended: Vec<Revision>,
}

/// Everything that a log holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) current: BTreeMap<Arc<str>, Version>,
    pub(crate) history: History,
    pub(crate) leases: Vec<(Revision, Lease)>,
    /// A compaction was cut short: changes that the history does not have any more have to be forgotten again.
    pub(crate) unfinished: bool,
}

/// A durable log. Only the writer thread calls it.
pub(crate) trait Log: Send {
    /// Where it is, for messages.
    fn place(&self) -> &str;
    /// Returns once the changes are durable. After a failure none of them is.
    fn commit(&mut self, commit: &Commit) -> Result<(), Failure>;
    /// Forgets changes up to `to`, a bounded number of them, so that writers do not wait long; returns whether
    /// all are gone. From the first success on, a reopened log starts after `to`.
    fn forget(&mut self, to: Revision) -> Result<bool, Failure>;
    /// Gives a bounded amount of free space back; returns whether there is nothing left to give back.
    fn tidy(&mut self) -> Result<bool, Failure>;
    /// Closes it.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}
