//! The whole state in memory: current values, history, leases, and the watchers of each prefix. Every method is
//! quick, because it runs under the one lock that the readers and the writer share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::watch;

use crate::change::{Arrival, ArrivalKind, Change, Effect, Version};
use crate::error::Error;
use crate::history::{History, bounds};
use crate::lease::Leases;
use crate::prefix_watchers::PrefixWatchers;
use crate::store::Page;
use crate::value::Revision;

#[derive(Debug, Default)]
pub(crate) struct Index {
    current: BTreeMap<Arc<str>, Version>,
    history: History,
    leases: Leases,
    watchers: HashMap<Arc<str>, PrefixWatchers>,
    closed: bool,
}

/// The state of a store at one revision.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) revision: Revision,
    /// Keys, versions, and when they expire, in milliseconds since the Unix epoch.
    pub(crate) rows: Vec<(Arc<str>, Version, Option<u64>)>,
}

/// The result of a watcher's read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The limit was reached; more events may follow.
    More,
    /// No other event has happened up to this revision.
    CaughtUp(Revision),
    /// Compaction has dropped an event that the watcher had not read.
    Lagged,
    /// All events were read, and none will follow.
    Closed,
}

impl Index {
    /// Returns an empty index at `revision`.
    pub(crate) fn new(revision: Revision) -> Self {
        Self {
            history: History::new(revision),
            ..Self::default()
        }
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(crate) fn revision(&self) -> Revision {
        self.history.revision()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn get(&self, key: &str) -> Option<(&Arc<str>, &Version)> {
        self.current.get_key_value(key)
    }

    /// All keys with their current versions, and when they expire.
    pub(crate) fn current(&self) -> impl Iterator<Item = (&Arc<str>, &Version, Option<u64>)> {
        self.current
            .iter()
            .map(|(key, version)| (key, version, self.leases.expires(version.revision)))
    }

    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.under(prefix, None).count()
    }

    fn under<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, &'a Version)> {
        self.current
            .range::<str, _>(bounds(prefix, after))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, version)| (&**key, version))
    }

    pub(crate) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Error> {
        let now = self.revision();
        let revision = at.unwrap_or(now);
        self.check(revision)?;
        let past = self.history.undo(revision, prefix, after);
        let unchanged = self
            .under(prefix, after)
            .filter(|(key, _)| !past.contains_key(key));
        let undone = past
            .iter()
            .filter_map(|(key, version)| version.map(|version| (*key, version)));
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut entries = Vec::new();
        let mut remaining = 0;
        for (key, version) in merge(unchanged, undone) {
            if entries.len() < limit {
                entries.push(version.entry(key));
            } else {
                remaining += 1;
            }
        }
        Ok(Page {
            entries,
            revision,
            remaining,
        })
    }

    /// Fails unless the state at `revision` and all changes after it are known.
    fn check(&self, revision: Revision) -> Result<(), Error> {
        let (oldest, current) = (self.history.compacted(), self.revision());
        if revision < oldest {
            return Err(Error::Compacted {
                asked: revision,
                oldest,
            });
        }
        if revision > current {
            return Err(Error::Future {
                asked: revision,
                current,
            });
        }
        Ok(())
    }

    /// Adds a key of the state from which the history starts. A deletion is ignored.
    pub(crate) fn load(&mut self, arrival: Arrival) {
        let Arrival { key, version, kind } = arrival;
        if let ArrivalKind::Put { expires } = kind {
            self.history.advance(version.revision);
            if let Some(expires) = expires {
                self.leases
                    .grant(version.revision, Arc::clone(&key), expires);
            }
            self.current.insert(key, version);
        }
    }

    /// Adds a change of the history whose effect on the current values is known already.
    pub(crate) fn load_change(&mut self, change: Change) {
        self.history.push(Arc::new(change));
    }

    /// Applies a change. Returns `None` for one that was applied before, or that changes nothing.
    pub(crate) fn apply(&mut self, arrival: Arrival) -> Option<Arc<Change>> {
        let Arrival { key, version, kind } = arrival;
        let revision = version.revision;
        if revision <= self.history.revision() {
            return None;
        }
        let (key, effect) = match kind {
            ArrivalKind::Put { expires } => {
                // The key's first allocation is shared by all its changes.
                let key = match self.current.get_key_value(&*key) {
                    Some((known, _)) => Arc::clone(known),
                    None => key,
                };
                let previous = self.current.insert(Arc::clone(&key), version.clone());
                if let Some(expires) = expires {
                    self.leases.grant(revision, Arc::clone(&key), expires);
                }
                (key, Effect::Put { previous })
            }
            ArrivalKind::Delete => match self.current.remove_entry(&*key) {
                Some((key, previous)) => (key, Effect::Delete { previous }),
                None => {
                    self.history.advance(revision);
                    return None;
                }
            },
        };
        let change = Arc::new(Change {
            key,
            version,
            effect,
        });
        if let Some(previous) = change.previous() {
            self.leases.end(previous.revision);
        }
        self.history.push(Arc::clone(&change));
        Some(change)
    }

    /// The wake-ups that are due after `changes`. The caller sends them after it has released the lock, because
    /// each woken watcher takes it.
    pub(crate) fn wakers(&mut self, changes: &[Arc<Change>]) -> Vec<watch::Sender<()>> {
        let mut wake = Vec::new();
        for watchers in self.watchers.values_mut() {
            let mut matches = false;
            for change in changes {
                matches |= watchers.add(&change.key, change.revision());
            }
            if matches {
                wake.push(watchers.waker());
            }
        }
        wake
    }

    pub(crate) fn forget(&mut self, to: Revision) -> Vec<Arc<Change>> {
        for watchers in self.watchers.values_mut() {
            watchers.forget(to);
        }
        self.history.forget(to)
    }

    pub(crate) fn close(&mut self) -> Vec<watch::Sender<()>> {
        self.closed = true;
        self.watchers.values().map(PrefixWatchers::waker).collect()
    }

    /// Adds a watcher, which must [`leave`](Self::leave) under the same prefix.
    pub(crate) fn join(
        &mut self,
        prefix: &str,
        after: Revision,
    ) -> Result<(Arc<str>, watch::Receiver<()>), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.check(after)?;
        if !self.watchers.contains_key(prefix) {
            let prefix: Arc<str> = prefix.into();
            let watchers = PrefixWatchers::new(Arc::clone(&prefix), self.history.revision());
            self.watchers.insert(prefix, watchers);
        }
        let watchers = self.watchers.get_mut(prefix).ok_or(Error::Closed)?;
        let wake = watchers.join(after, &self.history);
        Ok((watchers.prefix(), wake))
    }

    pub(crate) fn leave(&mut self, prefix: &str) {
        if let Some(watchers) = self.watchers.get_mut(prefix)
            && watchers.leave()
        {
            self.watchers.remove(prefix);
        }
    }

    /// Reads up to `limit` of the changes under `prefix` after `position` into `buffer`.
    pub(crate) fn read(
        &self,
        prefix: &str,
        position: Revision,
        limit: usize,
        buffer: &mut VecDeque<Arc<Change>>,
    ) -> Reading {
        let Some(watchers) = self.watchers.get(prefix) else {
            return Reading::Closed;
        };
        let Some(matches) = watchers.after(position) else {
            return Reading::Lagged;
        };
        for revision in matches {
            if buffer.len() == limit {
                return Reading::More;
            }
            let Some(change) = self.history.get(revision) else {
                return Reading::Lagged;
            };
            buffer.push_back(Arc::clone(change));
        }
        if self.closed {
            Reading::Closed
        } else {
            Reading::CaughtUp(self.revision())
        }
    }
}

/// Merges two sequences that are sorted by key and have no key in common.
fn merge<'a>(
    left: impl Iterator<Item = (&'a str, &'a Version)>,
    right: impl Iterator<Item = (&'a str, &'a Version)>,
) -> impl Iterator<Item = (&'a str, &'a Version)> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some((l, _)), Some((r, _))) if l > r => right.next(),
        (Some(_), _) => left.next(),
        (None, _) => right.next(),
    })
}
