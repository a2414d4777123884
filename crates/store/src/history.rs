//! The changes since the last compaction, in memory, for lists at older revisions and for watches.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::change::{Change, Version};
use crate::value::Revision;

/// The changes after the revision `compacted`, in the order of their revisions.
#[derive(Debug, Default)]
pub(crate) struct History {
    changes: VecDeque<Arc<Change>>,
    compacted: Revision,
    newest: Revision,
    bytes: usize,
}

impl History {
    /// Returns an empty history at `revision`.
    pub(crate) fn new(revision: Revision) -> Self {
        Self {
            compacted: revision,
            newest: revision,
            ..Self::default()
        }
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.newest
    }

    /// The oldest revision at which a list or a watch can start.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// The memory, in bytes, that the history needs beyond that of the current values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves the newest revision forward without a change.
    pub(crate) fn advance(&mut self, revision: Revision) {
        self.newest = self.newest.max(revision);
    }

    pub(crate) fn push(&mut self, change: Arc<Change>) {
        debug_assert!(change.revision() > self.newest);
        self.newest = change.revision();
        self.bytes += change.kept_bytes();
        self.changes.push_back(change);
    }

    /// The position of the first change after `revision`.
    fn position(&self, revision: Revision) -> usize {
        self.changes
            .partition_point(|change| change.revision() <= revision)
    }

    pub(crate) fn get(&self, revision: Revision) -> Option<&Arc<Change>> {
        self.changes
            .get(self.position(revision).checked_sub(1)?)
            .filter(|change| change.revision() == revision)
    }

    /// The changes after `after` up to and including `upto`, oldest first.
    pub(crate) fn between(
        &self,
        after: Revision,
        upto: Revision,
    ) -> impl DoubleEndedIterator<Item = &Arc<Change>> {
        let end = self.position(upto);
        self.changes.range(self.position(after).min(end)..end)
    }

    /// The states at revision `at` of the keys under `prefix` and after the key `after` that have changed since.
    pub(crate) fn undo<'a>(
        &'a self,
        at: Revision,
        prefix: &str,
        after: Option<&str>,
    ) -> BTreeMap<&'a str, Option<&'a Version>> {
        let mut past = BTreeMap::new();
        for change in self.between(at, self.revision()) {
            if change.key.starts_with(prefix) && after.is_none_or(|after| &*change.key > after) {
                // The first change after `at` has the state at `at`.
                past.entry(&*change.key).or_insert(change.previous());
            }
        }
        past
    }

    /// The revision to forget up to so that neither limit is exceeded; the last `always` changes stay, whatever
    /// their size.
    pub(crate) fn excess(&self, changes: usize, bytes: usize, always: usize) -> Revision {
        let too_many = self.changes.len().saturating_sub(changes);
        let may_go = self.changes.len().saturating_sub(always);
        let mut left = self.bytes;
        let too_large = self.changes.iter().take(may_go).take_while(|change| {
            let exceeded = left > bytes;
            left -= change.kept_bytes();
            exceeded
        });
        let count = too_many.max(too_large.count());
        count
            .checked_sub(1)
            .and_then(|last| self.changes.get(last))
            .map_or(self.compacted, |change| change.revision())
    }

    /// Forgets the changes up to `to` and returns them, so that the caller frees them without holding the lock.
    pub(crate) fn forget(&mut self, to: Revision) -> Vec<Arc<Change>> {
        let count = self.position(to);
        let dropped: Vec<_> = self.changes.drain(..count).collect();
        self.compacted = self.compacted.max(to.min(self.newest));
        self.bytes -= dropped
            .iter()
            .map(|change| change.kept_bytes())
            .sum::<usize>();
        // The capacity of a burst would stay allocated in an idle daemon.
        if self.changes.capacity() > 4 * self.changes.len().max(256) {
            self.changes.shrink_to(2 * self.changes.len());
        }
        dropped
    }
}

/// The range of the keys from `prefix` on that come after the key `after`.
pub(crate) fn bounds<'a>(
    prefix: &'a str,
    after: Option<&'a str>,
) -> (Bound<&'a str>, Bound<&'a str>) {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    (start, Bound::Unbounded)
}
