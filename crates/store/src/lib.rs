//! Revisions, watches and compaction. Knows no Kubernetes kind: keys are strings, values are bytes.
//!
//! A [`Store`] keeps the current value of each key in memory and a durable log behind it. Reads and watches
//! never touch the disk; writes are durable before they are acknowledged. One global revision counts every write.
//!
//! The way of a write through the files: [`IndexedStore`] (`indexed.rs`) queues it for the one writer thread
//! (`writer.rs`), which checks its condition against the index (`index.rs`) and what stands earlier in the same
//! batch (`batch.rs`), commits the batch to a log (`log.rs`; `sqlite/` or `memory.rs`), publishes it to the index
//! and wakes the watchers of its keys (`audience.rs`, `watcher.rs`). Old history goes by `retention.rs`, expired
//! keys by `lease.rs`.

mod audience;
mod batch;
mod change;
mod history;
mod index;
mod indexed;
mod lease;
mod log;
mod memory;
mod retention;
mod sqlite;
mod watcher;
mod writer;

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;

pub use crate::indexed::{IndexedStore, Options};
pub use crate::retention::Retention;
pub use crate::sqlite::OpenError;

/// The number of a write. The first write of a fresh store gets 1... contiguous, never reissued.
pub type Revision = u64;

/// A value to be written, with a place for the revision that the write is going to get.
///
/// The API server keeps `metadata.resourceVersion` inside the encoded object, and only the store knows the
/// revision; so a value is given as what stands before and after the decimal digits.
#[derive(Clone, Debug)]
pub struct Value {
    /// The bytes up to the revision's digits.
    pub before: Bytes,
    /// The bytes after them. `None`: the value holds no revision, `before` is all of it.
    pub after: Option<Bytes>,
}

impl Value {
    /// A value that holds no revision.
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self {
            before: bytes.into(),
            after: None,
        }
    }

    /// The bytes with the revision filled in.
    pub fn at(&self, revision: Revision) -> Bytes {
        let Some(after) = &self.after else {
            return self.before.clone();
        };
        let digits = revision.to_string();
        // The exact capacity, because the index keeps what is allocated here for as long as the key lives.
        let mut whole = Vec::with_capacity(self.before.len() + digits.len() + after.len());
        whole.extend_from_slice(&self.before);
        whole.extend_from_slice(digits.as_bytes());
        whole.extend_from_slice(after);
        Bytes::from(whole)
    }

    fn len(&self) -> usize {
        self.before.len() + self.after.as_ref().map_or(0, Bytes::len)
    }
}

/// What the key must be like for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists and was last written at this revision.
    At(Revision),
}

/// One write of one key.
#[derive(Clone, Debug)]
pub enum Write {
    /// Creates or replaces the value; with a `ttl` the key is deleted that long after this write.
    Put {
        /// key
        key: String,
        /// condition
        expect: Expect,
        /// value
        value: Value,
        /// time to live
        ttl: Option<Duration>,
    },
    /// Deletes the key. `last` is what watchers are shown as its last state.
    Delete {
        /// key
        key: String,
        /// condition
        expect: Expect,
        /// last state
        last: Value,
    },
}

/// A key with its value at some revision.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value, the revision filled in.
    pub value: Bytes,
    /// The write that made this value.
    pub revision: Revision,
}

/// Entries of one revision of the store.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// The revision at which all of them were read.
    pub revision: Revision,
    /// How many more there are after the last one.
    pub remaining: usize,
}

/// What a watcher is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was created (`previous` is `None`) or replaced.
    Put {
        /// the new state
        entry: Entry,
        /// the state before
        previous: Option<Entry>,
    },
    /// A key was deleted; `entry` is its last state, at the deletion's revision.
    Delete {
        /// last state
        entry: Entry,
        /// the state before
        previous: Entry,
    },
    /// Nothing happened in this range up to and including this revision (Kubernetes bookmarks).
    Progress(Revision),
}

/// Why the store refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The condition of a write did not hold.
    #[error("{key}: {}", match actual { Some(r) => format!("is at revision {r}"), None => "does not exist".into() })]
    Conflict {
        /// key
        key: String,
        /// The revision of the state found, `None` when the key does not exist.
        actual: Option<Revision>,
    },
    /// The revision asked for is older than what compaction has kept.
    #[error("revision {asked} has been compacted, the oldest kept is {oldest}")]
    Compacted {
        /// asked
        asked: Revision,
        /// oldest
        oldest: Revision,
    },
    /// The revision asked for has not happened yet.
    #[error("revision {asked} is in the future, the current one is {current}")]
    Future {
        /// asked
        asked: Revision,
        /// current
        current: Revision,
    },
    /// The watcher fell too far behind and was cut off; it has to list again.
    #[error("the watcher fell behind and was cut off")]
    Lagged,
    /// The backend failed; nothing was written.
    #[error("{doing}: {source}")]
    Backend {
        /// what was tried, on what
        doing: String,
        /// cause
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// A store of keys, values and revisions. All backends pass `tests/contract`.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest revision.
    fn revision(&self) -> Revision;
    /// The current entry of a key. From memory.
    fn get(&self, key: &str) -> Option<Entry>;
    /// Entries whose key starts with `prefix`, after the key `after` when given, at most `limit` of them (0: all),
    /// as they were at `at` (`None`: now). From memory.
    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Error>;
    /// How many keys start with `prefix` now. From memory.
    fn count(&self, prefix: &str) -> usize {
        self.list(prefix, None, 0, None)
            .map_or(0, |page| page.entries.len())
    }
    /// Writes; returns the entry as written (for a delete: the last state) once it is durable and every read
    /// sees it. Dropping the future does not take back a write that has been queued.
    async fn write(&self, write: Write) -> Result<Entry, Error>;
    /// Everything that happens under `prefix` after revision `after`, in order, none lost, none twice.
    ///
    /// A slow watcher reads on from the history in memory; only when compaction has dropped an event that it had
    /// not read yet it gets [`Error::Lagged`], and the stream ends. Once it has caught up it gets an
    /// [`Event::Progress`] at most once in [`Options::progress_every`], and only when the revision has moved
    /// beyond what the stream has told already. The stream has to be polled within a tokio runtime with a timer.
    fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error>;
    /// Forgets history older than `revision`: watches and lists at older revisions are refused from then on.
    /// A list at `revision`, and a watch after it, still work. Compacting what is compacted already is a success.
    async fn compact(&self, revision: Revision) -> Result<(), Error>;
    /// Ends all watches, writes out what is queued and closes the backend. Writes and new watches are refused
    /// with [`Error::Closed`] from then on; reads still answer from memory. Closing twice does nothing.
    async fn close(&self);
}
