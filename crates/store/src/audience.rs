//! The watchers of one prefix: who has to be woken, and which revisions concern them.
//!
//! A commit wakes only those whose keys it changed, and a watcher that has been idle while a hundred thousand
//! other keys changed finds its next event without a look at any of them.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::Revision;
use crate::history::History;

#[derive(Debug)]
pub(crate) struct Audience {
    prefix: Arc<str>,
    watchers: usize,
    /// `matches` is complete from here on.
    from: Revision,
    /// The revisions after `from` that changed a key under the prefix, as far as the history has them.
    matches: VecDeque<Revision>,
    /// The newest of the matching revisions that compaction has dropped.
    dropped: Revision,
    wake: watch::Sender<()>,
}

impl Audience {
    pub(crate) fn new(prefix: Arc<str>, now: Revision) -> Self {
        Self {
            prefix,
            watchers: 0,
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
        self.watchers += 1;
        self.wake.subscribe()
    }

    /// Removes a watcher; true when it was the last one.
    pub(crate) fn leave(&mut self) -> bool {
        self.watchers = self.watchers.saturating_sub(1);
        self.watchers == 0
    }

    /// Notes the change when it concerns the audience.
    pub(crate) fn note(&mut self, key: &str, revision: Revision) -> bool {
        let concerned = key.starts_with(&*self.prefix);
        if concerned {
            self.matches.push_back(revision);
        }
        concerned
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
