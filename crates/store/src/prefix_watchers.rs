//! The watchers of one prefix, and the revisions that changed its keys.
//!
//! A commit wakes only the watchers whose keys it changed. A watcher that was idle while a hundred thousand other
//! keys changed finds its next event without reading any of those changes.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::history::History;
use crate::value::Revision;

#[derive(Debug)]
pub(crate) struct PrefixWatchers {
    prefix: Arc<str>,
    count: usize,
    /// `matches` is complete after this revision.
    from: Revision,
    /// The revisions after `from` that changed a key under the prefix and are in the history.
    matches: VecDeque<Revision>,
    /// The newest matching revision that compaction has dropped.
    dropped: Revision,
    wake: watch::Sender<()>,
}

impl PrefixWatchers {
    pub(crate) fn new(prefix: Arc<str>, now: Revision) -> Self {
        Self {
            prefix,
            count: 0,
            from: now,
            matches: VecDeque::new(),
            dropped: 0,
            wake: watch::Sender::new(()),
        }
    }

    pub(crate) fn prefix(&self) -> Arc<str> {
        Arc::clone(&self.prefix)
    }

    /// Adds a watcher that starts after `after`, which is in the history.
    pub(crate) fn join(&mut self, after: Revision, history: &History) -> watch::Receiver<()> {
        if after < self.from {
            for change in history.between(after, self.from).rev() {
                if change.key.starts_with(&*self.prefix) {
                    self.matches.push_front(change.revision());
                }
            }
            self.from = after;
        }
        self.count += 1;
        self.wake.subscribe()
    }

    /// Removes a watcher; returns true when it was the last one.
    pub(crate) fn leave(&mut self) -> bool {
        self.count = self.count.saturating_sub(1);
        self.count == 0
    }

    /// Adds the change if its key is under the prefix; returns whether it is.
    pub(crate) fn add(&mut self, key: &str, revision: Revision) -> bool {
        let matches = key.starts_with(&*self.prefix);
        if matches {
            self.matches.push_back(revision);
        }
        matches
    }

    pub(crate) fn forget(&mut self, to: Revision) {
        let count = self.matches.partition_point(|&revision| revision <= to);
        if let Some(last) = self.matches.drain(..count).next_back() {
            self.dropped = last;
        }
    }

    /// The matching revisions after `position`; `None` when compaction has dropped one of them.
    pub(crate) fn after(&self, position: Revision) -> Option<impl Iterator<Item = Revision>> {
        if self.dropped > position {
            return None;
        }
        let start = self
            .matches
            .partition_point(|&revision| revision <= position);
        Some(self.matches.range(start..).copied())
    }

    pub(crate) fn waker(&self) -> watch::Sender<()> {
        self.wake.clone()
    }
}
