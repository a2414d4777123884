//! A batch of proposals: each write's condition is checked against the committed state.
//!
//! A batch has at most one write of each key. A second one is deferred to the next batch, because its condition
//! depends on a revision that is not known yet.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::change::Mutation;
use crate::error::Error;
use crate::index::Index;
use crate::log::Proposal;
use crate::store::{Expect, Write};
use crate::value::Revision;

pub(crate) struct Batch<'a> {
    index: &'a Index,
    /// Whether the index has all changes, so that it can decide. Otherwise the log decides.
    index_decides: bool,
    /// Milliseconds since the Unix epoch.
    now: u64,
    keys: HashSet<Arc<str>>,
    proposals: Vec<Proposal>,
}

/// What became of a write.
pub(crate) enum Added {
    /// It is the batch's next proposal.
    Proposed,
    /// Its condition does not hold.
    Refused(Error),
    /// It has to wait for the next batch.
    Deferred(Write),
}

impl<'a> Batch<'a> {
    pub(crate) fn new(index: &'a Index, index_decides: bool, now: u64) -> Self {
        Self {
            index,
            index_decides,
            now,
            keys: HashSet::new(),
            proposals: Vec::new(),
        }
    }

    pub(crate) fn finish(self) -> Vec<Proposal> {
        self.proposals
    }

    pub(crate) fn add(&mut self, write: Write) -> Added {
        let (key, expect, delete) = match &write {
            Write::Put { key, expect, .. } => (key, *expect, false),
            Write::Delete { key, expect, .. } => (key, *expect, true),
        };
        if self.keys.contains(key.as_str()) {
            return Added::Deferred(write);
        }
        let (key, previous) = match self.index.get(key) {
            Some((key, version)) => (Arc::clone(key), Some(version.clone())),
            None => (key.as_str().into(), None),
        };
        let actual = previous.as_ref().map(|version| version.revision);
        let holds = match expect {
            // A delete that expects the key to be absent has nothing to delete.
            Expect::Absent => !delete && (actual.is_none() || !self.index_decides),
            Expect::At(revision) => actual == Some(revision) || !self.index_decides,
        };
        if !holds {
            return Added::Refused(conflict(&key, actual));
        }
        let (mutation, urgent) = match write {
            Write::Put {
                value, ttl, urgent, ..
            } => {
                let expires = ttl.map(|ttl| self.now.saturating_add(milliseconds(ttl)));
                (Mutation::Put { value, expires }, urgent)
            }
            Write::Delete { last, .. } => (Mutation::Delete { last }, true),
        };
        self.keys.insert(Arc::clone(&key));
        self.proposals.push(Proposal {
            key,
            expect,
            mutation,
            urgent,
            previous,
        });
        Added::Proposed
    }
}

pub(crate) fn conflict(key: &str, actual: Option<Revision>) -> Error {
    Error::Conflict {
        key: key.to_owned(),
        actual,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
