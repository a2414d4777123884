//! The changes since the compaction revision, in memory: what lists at older revisions and watches read.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::Revision;
use crate::change::{Change, Version};

/// The changes `compacted + 1 ..= revision()`. Revisions are contiguous, so a revision is an index.
#[derive(Debug, Default)]
pub(crate) struct History {
    changes: VecDeque<Arc<Change>>,
    compacted: Revision,
    bytes: usize,
}

impl History {
    /// `changes` start at `compacted + 1` and are contiguous.
    pub(crate) fn new(compacted: Revision, changes: VecDeque<Arc<Change>>) -> Self {
        let bytes = changes.iter().map(|change| change.kept_bytes()).sum();
        Self {
            changes,
            compacted,
            bytes,
        }
    }

    /// The newest revision.
    pub(crate) fn revision(&self) -> Revision {
        self.compacted + self.changes.len() as Revision
    }

    /// The oldest revision that can be read or watched after.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// What the history adds to the memory of the current values, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, change: Arc<Change>) {
        debug_assert_eq!(change.revision(), self.revision() + 1);
        self.bytes += change.kept_bytes();
        self.changes.push_back(change);
    }

    pub(crate) fn get(&self, revision: Revision) -> Option<&Arc<Change>> {
        let index = revision.checked_sub(self.compacted + 1)?;
        self.changes.get(usize::try_from(index).ok()?)
    }

    /// The changes after `after` up to and including `upto`, oldest first.
    pub(crate) fn between(
        &self,
        after: Revision,
        upto: Revision,
    ) -> impl DoubleEndedIterator<Item = &Arc<Change>> {
        let position = |revision: Revision| {
            usize::try_from(revision.saturating_sub(self.compacted))
                .unwrap_or(usize::MAX)
                .min(self.changes.len())
        };
        let end = position(upto);
        self.changes.range(position(after).min(end)..end)
    }

    /// What the keys under `prefix` that have changed since `at` were at `at`, as far as they come after `after`.
    pub(crate) fn undo<'a>(
        &'a self,
        at: Revision,
        prefix: &str,
        after: Option<&str>,
    ) -> BTreeMap<&'a str, Option<&'a Version>> {
        let mut past = BTreeMap::new();
        for change in self.between(at, self.revision()) {
            if change.key.starts_with(prefix) && after.is_none_or(|after| &*change.key > after) {
                // The first change after `at` knows the state at `at`.
                past.entry(&*change.key).or_insert(change.previous());
            }
        }
        past
    }

    /// The revision to forget up to so that neither limit is exceeded; `always` changes stay whatever their size.
    pub(crate) fn excess(&self, changes: usize, bytes: usize, always: usize) -> Revision {
        let too_many = self.changes.len().saturating_sub(changes);
        let may_go = self.changes.len().saturating_sub(always);
        let mut left = self.bytes;
        let too_large = self.changes.iter().take(may_go).take_while(|change| {
            let exceeded = left > bytes;
            left -= change.kept_bytes();
            exceeded
        });
        self.compacted + too_many.max(too_large.count()) as Revision
    }

    /// Forgets the changes up to `to`, and hands them over so that they are freed when no lock is held.
    pub(crate) fn forget(&mut self, to: Revision) -> Vec<Arc<Change>> {
        let count = usize::try_from(to.saturating_sub(self.compacted))
            .unwrap_or(usize::MAX)
            .min(self.changes.len());
        let dropped: Vec<_> = self.changes.drain(..count).collect();
        self.compacted += count as Revision;
        self.bytes -= dropped
            .iter()
            .map(|change| change.kept_bytes())
            .sum::<usize>();
        // A burst's worth of empty places is memory that an idle daemon would keep.
        if self.changes.capacity() > 4 * self.changes.len().max(256) {
            self.changes.shrink_to(2 * self.changes.len());
        }
        dropped
    }
}

/// The keys under `prefix` that come after `after`.
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
