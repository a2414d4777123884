//! The interface of a backend: a durable log of changes.
//!
//! A log with one writer implements [`Log::commit`] and hands its contents over when it is opened (see
//! [`Contents`](crate::Contents)). A log that other processes write to as well (etcd) returns an [`EventSource`]
//! too; then every change, its own ones included, reaches the index through the event source, and the log checks the
//! condition of each proposal itself.
//!
//! ```
//! use store::{Contents, Expect, IndexedStore, Log, LogError, Options, Outcome, Proposal, Revision, Store, Value, Write};
//!
//! /// Counts the changes and keeps nothing: a log for a cache.
//! struct Counter(Revision);
//!
//! impl Log for Counter {
//!     fn place(&self) -> &str {
//!         "a counter"
//!     }
//!
//!     fn commit(&mut self, proposals: &[Proposal]) -> Result<Vec<Outcome>, LogError> {
//!         Ok(proposals
//!             .iter()
//!             .map(|_| {
//!                 self.0 += 1;
//!                 Outcome::Written(self.0)
//!             })
//!             .collect())
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! # runtime.block_on(async {
//! let store = IndexedStore::over(Box::new(Counter(100)), Contents::new(100), Options::default())?;
//! let value = Value { before: "revision ".into(), after: Some(".".into()) };
//! let write = Write::Put { key: "k".into(), expect: Expect::Absent, value, ttl: None, urgent: false };
//! let entry = store.write(write).await?;
//! assert_eq!(entry.value, "revision 101.");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;

use crate::change::{Mutation, Record, Version};
use crate::store::Expect;
use crate::value::Revision;

/// Why a call of a log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No space is left. The writer releases the reserve and retries urgent writes.
    #[error("{0}")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else.
    #[error("{0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A change that the writer asks the log to make.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The key to change. No two proposals of one batch have the same key.
    pub key: Arc<str>,
    /// The required state of the key. A log without an event source may ignore it, because the writer has checked
    /// it against the index.
    pub expect: Expect,
    /// What to do with the key.
    pub mutation: Mutation,
    /// Whether it may use the space that the log keeps in reserve for a full disk.
    pub urgent: bool,
    /// The current state of the key in the index.
    pub(crate) previous: Option<Version>,
}

impl Proposal {
    /// Returns a proposal that is not urgent, for tests of a log.
    pub fn new(key: impl Into<Arc<str>>, expect: Expect, mutation: Mutation) -> Self {
        Self {
            key: key.into(),
            expect,
            mutation,
            urgent: false,
            previous: None,
        }
    }
}

/// The result of one proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The change is durable, at this revision.
    Written(Revision),
    /// Another writer's change came first; nothing was written.
    Refused {
        /// The revision of the existing value; `None` when the key does not exist.
        actual: Option<Revision>,
    },
}

/// A durable log. Only the writer thread calls it; every method may block.
pub trait Log: Send + 'static {
    /// The location of the log, for messages.
    fn place(&self) -> &str;
    /// Commits the proposals, and returns one outcome for each, in their order. Revisions increase within a batch
    /// and from batch to batch.
    ///
    /// # Errors
    /// On an error no proposal is written.
    fn commit(&mut self, proposals: &[Proposal]) -> Result<Vec<Outcome>, LogError>;
    /// Returns the event source of a log that has other writers. Called once, before the first commit.
    fn events(&mut self) -> Option<Box<dyn EventSource>> {
        None
    }
    /// Forgets a bounded number of the changes up to `to`, so that writers do not wait long; returns whether all of
    /// them are forgotten. After the first success, a reopened log has no history up to `to`.
    ///
    /// # Errors
    /// When the change of the log fails; the writer retries later.
    fn forget(&mut self, to: Revision) -> Result<bool, LogError> {
        let _ = to;
        Ok(true)
    }
    /// Returns a bounded amount of free space to the file system; returns whether no more is left to return.
    ///
    /// # Errors
    /// When the change of the log fails; the next compaction retries.
    fn tidy(&mut self) -> Result<bool, LogError> {
        Ok(true)
    }
    /// Gives back the space that the log keeps in reserve for a full disk, because a commit failed with
    /// [`LogError::Full`]; returns whether there was any.
    ///
    /// # Errors
    /// When the reserve cannot be released; the failed commit is not retried.
    fn release_reserve(&mut self) -> Result<bool, LogError> {
        Ok(false)
    }
    /// Takes the reserve, at the first commit and after it was released. While this fails with [`LogError::Full`],
    /// only urgent proposals are committed.
    ///
    /// # Errors
    /// [`LogError::Full`] when there is not enough space yet; another error means that the log works without a
    /// reserve.
    fn take_reserve(&mut self) -> Result<(), LogError> {
        Ok(())
    }
    /// Deletes a quarantined row; returns whether it existed.
    ///
    /// # Errors
    /// When the row cannot be deleted.
    fn discard(&mut self, id: i64) -> Result<bool, LogError> {
        let _ = id;
        Ok(false)
    }
    /// Closes the log. Its event source returns `None` from then on.
    ///
    /// # Errors
    /// When a resource cannot be released; the store reports it and is closed all the same.
    fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(())
    }
}

/// The committed changes of a log that has several writers.
pub trait EventSource: Send + 'static {
    /// Blocks until there are changes after those of the earlier calls and of the contents at opening, and returns
    /// them in the order of their revisions. A change that is delivered twice is ignored. `None` once the log is
    /// closed.
    ///
    /// # Errors
    /// The store retries after a pause, so the source must continue where it stopped.
    fn next(&mut self) -> Result<Option<Vec<Record>>, LogError>;
}
