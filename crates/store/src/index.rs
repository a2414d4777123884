//! The whole state in memory: current values, history, and who watches what. Everything here is quick, because it
//! runs under the one lock that readers and the writer share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::audience::Audience;
use crate::change::{Change, Effect, Version};
use crate::history::{History, bounds};
use crate::{Entry, Error, Page, Revision};

#[derive(Debug, Default)]
pub(crate) struct Index {
    current: BTreeMap<Arc<str>, Version>,
    history: History,
    audiences: HashMap<Arc<str>, Audience>,
    closed: bool,
}

/// What a watcher found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// More events may follow those that were read.
    More,
    /// Nothing else has happened up to this revision.
    CaughtUp(Revision),
    /// Compaction has dropped an event that the watcher had not read.
    Lagged,
    /// Everything was read, and nothing will follow.
    Closed,
}

impl Index {
    pub(crate) fn new(current: BTreeMap<Arc<str>, Version>, history: History) -> Self {
        Self {
            current,
            history,
            ..Self::default()
        }
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    pub(crate) fn revision(&self) -> Revision {
        self.history.revision()
    }

    pub(crate) fn get(&self, key: &str) -> Option<(&Arc<str>, &Version)> {
        self.current.get_key_value(key)
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

    /// Whether the state at `revision`, and what came after it, can be told.
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

    /// Makes committed changes visible, and returns the wake-ups that are due. The caller sends them after it has
    /// given back the lock, because everybody woken wants it.
    pub(crate) fn publish(&mut self, changes: &[Arc<Change>]) -> Vec<watch::Sender<()>> {
        for change in changes {
            match &change.effect {
                Effect::Put { .. } => {
                    self.current
                        .insert(Arc::clone(&change.key), change.version.clone());
                }
                Effect::Delete { .. } => {
                    self.current.remove(&change.key);
                }
            }
            self.history.push(Arc::clone(change));
        }
        let mut wake = Vec::new();
        for audience in self.audiences.values_mut() {
            let mut concerned = false;
            for change in changes {
                concerned |= audience.note(&change.key, change.revision());
            }
            if concerned {
                wake.push(audience.waker());
            }
        }
        wake
    }

    pub(crate) fn forget(&mut self, to: Revision) -> Vec<Arc<Change>> {
        for audience in self.audiences.values_mut() {
            audience.forget(to);
        }
        self.history.forget(to)
    }

    pub(crate) fn close(&mut self) -> Vec<watch::Sender<()>> {
        self.closed = true;
        self.audiences.values().map(Audience::waker).collect()
    }

    /// Adds a watcher; it has to [`leave`](Self::leave) under the same prefix.
    pub(crate) fn join(
        &mut self,
        prefix: &str,
        after: Revision,
    ) -> Result<(Arc<str>, watch::Receiver<()>), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.check(after)?;
        if !self.audiences.contains_key(prefix) {
            let prefix: Arc<str> = prefix.into();
            let audience = Audience::new(Arc::clone(&prefix), self.history.revision());
            self.audiences.insert(prefix, audience);
        }
        let audience = self.audiences.get_mut(prefix).ok_or(Error::Closed)?;
        let wake = audience.join(after, &self.history);
        Ok((audience.prefix(), wake))
    }

    pub(crate) fn leave(&mut self, prefix: &str) {
        if let Some(audience) = self.audiences.get_mut(prefix)
            && audience.leave()
        {
            self.audiences.remove(prefix);
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
        let Some(audience) = self.audiences.get(prefix) else {
            return Reading::Closed;
        };
        let Some(matches) = audience.after(position) else {
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

/// Two sequences in the order of their keys, which have no key in common, as one.
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

/// The index, shared by the writer, readers and watchers.
#[derive(Debug, Default)]
pub(crate) struct Shared(RwLock<Index>);

impl Shared {
    pub(crate) fn new(index: Index) -> Self {
        Self(RwLock::new(index))
    }

    // Nothing panics under this lock; if something does, what is committed is still the best answer there is.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        self.read()
            .get(key)
            .map(|(key, version)| version.entry(key))
    }
}
