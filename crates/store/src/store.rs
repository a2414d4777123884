//! The interface of a store: what readers, writers and watchers call.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Error;
use crate::value::{Revision, Value};

/// The required state of a key for a write to happen.
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
    /// Creates or replaces the value.
    Put {
        /// The key.
        key: String,
        /// The condition.
        expect: Expect,
        /// The new value.
        value: Value,
        /// The key is deleted this long after the write; `None`: never.
        ttl: Option<Duration>,
        /// Whether the write may use the space that the backend keeps in reserve for a full disk. True for writes
        /// that free space or that record that something stopped.
        urgent: bool,
    },
    /// Deletes the key. May use the reserved space.
    Delete {
        /// The key.
        key: String,
        /// The condition.
        expect: Expect,
        /// The last state, which watchers receive.
        last: Value,
    },
}

/// A key with its value at some revision.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value, with the revision filled in.
    pub value: Bytes,
    /// The revision of the write that made this value.
    pub revision: Revision,
}

/// Entries as of one revision of the store.
#[derive(Clone, Debug)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// The revision of all entries.
    pub revision: Revision,
    /// The number of entries after the last one of this page.
    pub remaining: usize,
}

/// An item of a watch.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was created or replaced.
    Put {
        /// The new state.
        entry: Entry,
        /// The state before; `None` when the key was created.
        previous: Option<Entry>,
    },
    /// A key was deleted.
    Delete {
        /// The last state, at the deletion's revision.
        entry: Entry,
        /// The state before.
        previous: Entry,
    },
    /// The watch has delivered everything up to and including this revision (a Kubernetes bookmark).
    Progress(Revision),
}

/// A key whose stored row is damaged or missing. It is not served until it is restored or written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its number, for `IndexedStore::restore` and `IndexedStore::discard`.
    pub id: i64,
    /// The key, as far as it can be read.
    pub key: String,
    /// The revision of the row, as far as it can be read.
    pub revision: Option<Revision>,
    /// What is wrong with the row.
    pub problem: String,
    /// When the damage was found, in milliseconds since the Unix epoch.
    pub found: u64,
}

impl Quarantined {
    /// Whether the row may be that of `key`. The key of a damaged row may be damaged too, so a key that differs in a
    /// few bytes counts as well, and a row whose key is unknown counts as that of any key.
    pub fn may_be(&self, key: &str) -> bool {
        /// More bytes than that are not changed by one fault.
        const FEW: usize = 4;
        let (known, key) = (self.key.as_bytes(), key.as_bytes());
        let unreadable = self.key.is_empty() || self.key.contains(char::REPLACEMENT_CHARACTER);
        let differing = known.iter().zip(key).filter(|(a, b)| a != b).count();
        unreadable || known.len() == key.len() && differing <= FEW
    }
}

/// A store of keys, values and revisions. All backends pass `tests/contract`.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest revision.
    fn revision(&self) -> Revision;
    /// Waits until the newest revision is at least `revision`. The caller sets the deadline; dropping the future is
    /// safe.
    ///
    /// # Errors
    /// [`Error::Closed`] when the store is closed first.
    async fn wait_for(&self, revision: Revision) -> Result<(), Error>;
    /// The current entry of a key. From memory.
    fn get(&self, key: &str) -> Option<Entry>;
    /// Entries whose key starts with `prefix` and comes after the key `after`, at most `limit` of them (0: all), as
    /// of the revision `at` (`None`: now). From memory.
    ///
    /// # Errors
    /// [`Error::Compacted`] and [`Error::Future`] for a revision that is not kept, or not written yet.
    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Error>;
    /// The number of keys that start with `prefix`. From memory.
    fn count(&self, prefix: &str) -> usize {
        self.list(prefix, None, 0, None)
            .map_or(0, |page| page.entries.len())
    }
    /// Writes, and returns the entry as written (for a delete: the last state) once it is durable and visible to
    /// all reads. Dropping the future does not cancel a queued write.
    async fn write(&self, write: Write) -> Result<Entry, Error>;
    /// Streams all changes under `prefix` after revision `after`, in order, each exactly once.
    ///
    /// A slow watcher continues from the history in memory. If compaction has dropped an event that the watcher had
    /// not read, the watcher receives [`Error::Lagged`] and the stream ends. A watcher that has caught up receives
    /// an [`Event::Progress`] at most once in [`Options::progress_every`](crate::Options::progress_every), and only
    /// if the revision is beyond the last one that the stream reported. The stream must be polled in a tokio runtime
    /// with a timer.
    fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error>;
    /// The keys whose stored rows are damaged or missing. They are not served.
    fn quarantined(&self) -> Vec<Quarantined> {
        Vec::new()
    }
    /// Drops the history older than `revision`: lists and watches at older revisions are refused from then on. A
    /// list at `revision` and a watch after it still work. Compacting again to the same or an older revision
    /// succeeds.
    async fn compact(&self, revision: Revision) -> Result<(), Error>;
    /// Ends all watches, commits the queued writes and closes the backend. From then on, writes and new watches are
    /// refused with [`Error::Closed`]; reads still answer from memory. Closing twice is a no-op.
    async fn close(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_may_be_that_of_a_key_that_differs_in_a_few_bytes() {
        let row = |key: &str| Quarantined {
            id: 1,
            key: key.into(),
            revision: None,
            problem: String::new(),
            found: 0,
        };
        for (known, key, may_be) in [
            ("/registry/a", "/registry/a", true),
            ("/regi3try/a", "/registry/a", true),
            ("/registry/a", "/registry/ab", false),
            ("/registry/first-name", "/registry/other-host", false),
            ("", "/registry/a", true),
            ("/regi\u{fffd}try", "/registry/a", true),
        ] {
            assert_eq!(row(known).may_be(key), may_be, "{known} {key}");
        }
    }
}
