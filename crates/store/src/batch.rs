//! A batch in the making: conditions are checked against the index and against what stands earlier in the batch,
//! and each accepted write gets the next revision.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::change::{Change, Effect, Version};
use crate::index::Index;
use crate::lease::{Lease, Leases};
use crate::log::Commit;
use crate::{Error, Expect, Revision, Write};

pub(crate) struct Batch<'a> {
    index: &'a Index,
    leases: &'a Leases,
    /// Milliseconds since the Unix epoch.
    now: u64,
    revision: Revision,
    /// The keys written in this batch: their states, `None` for a deleted one.
    written: HashMap<Arc<str>, Option<Version>>,
    commit: Commit,
}

/// Why a write is not in the batch.
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// It was refused for what stands earlier in the batch: when the batch fails, the reason goes with it.
    pub(crate) by_batch: bool,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(index: &'a Index, leases: &'a Leases, now: u64) -> Self {
        Self {
            index,
            leases,
            now,
            revision: index.revision(),
            written: HashMap::new(),
            commit: Commit::default(),
        }
    }

    pub(crate) fn finish(self) -> Commit {
        self.commit
    }

    pub(crate) fn add(&mut self, write: Write) -> Result<Arc<Change>, Refusal> {
        let (key, expect) = match &write {
            Write::Put { key, expect, .. } | Write::Delete { key, expect, .. } => (key, *expect),
        };
        let (shared_key, previous, by_batch) = match self.written.get_key_value(key.as_str()) {
            Some((key, version)) => (Some(Arc::clone(key)), version.clone(), true),
            None => match self.index.get(key) {
                Some((key, version)) => (Some(Arc::clone(key)), Some(version.clone()), false),
                None => (None, None, false),
            },
        };
        let found = previous.as_ref().map(|version| version.revision);
        let wanted = match expect {
            Expect::Absent => None,
            Expect::At(revision) => Some(revision),
        };
        let key = shared_key.unwrap_or_else(|| key.as_str().into());
        if found != wanted {
            return Err(conflict(&key, found, by_batch));
        }
        let revision = self.revision + 1;
        let (value, effect) = match write {
            Write::Put { value, ttl, .. } => {
                if let Some(ttl) = ttl {
                    let lease = Lease {
                        key: Arc::clone(&key),
                        expires: self.now.saturating_add(milliseconds(ttl)),
                        digits_at: value.after.is_some().then_some(value.before.len()),
                    };
                    self.commit.granted.push((revision, lease));
                }
                (value, Effect::Put { previous })
            }
            Write::Delete { last, .. } => match previous {
                Some(previous) => (last, Effect::Delete { previous }),
                // A delete that expects the key to be absent has nothing to delete.
                None => return Err(conflict(&key, None, by_batch)),
            },
        };
        let change = Arc::new(Change {
            key: Arc::clone(&key),
            version: Version {
                revision,
                value: value.at(revision),
            },
            effect,
        });
        if let Some(previous) = found
            && (self.leases.has(previous)
                || self
                    .commit
                    .granted
                    .binary_search_by_key(&previous, |(granted, _)| *granted)
                    .is_ok())
        {
            self.commit.ended.push(previous);
        }
        let state = matches!(change.effect, Effect::Put { .. }).then(|| change.version.clone());
        self.written.insert(key, state);
        self.revision = revision;
        self.commit.changes.push(Arc::clone(&change));
        Ok(change)
    }
}

fn conflict(key: &str, actual: Option<Revision>, by_batch: bool) -> Refusal {
    Refusal {
        error: Error::Conflict {
            key: key.to_owned(),
            actual,
        },
        by_batch,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
