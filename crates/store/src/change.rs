//! Committed changes: as a log delivers them, and as the history keeps them.

use std::sync::Arc;

use bytes::Bytes;

use crate::store::{Entry, Event};
use crate::value::{Revision, Value};

/// What a change does to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Creates or replaces the value.
    Put {
        /// The new value.
        value: Value,
        /// When the key expires, in milliseconds since the Unix epoch; `None`: never.
        expires: Option<u64>,
    },
    /// Deletes the key.
    Delete {
        /// The last state, which watchers receive.
        last: Value,
    },
}

/// A committed change, as a log or an event source delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The revision of the change; larger than those of all earlier changes.
    pub revision: Revision,
    /// The changed key.
    pub key: Arc<str>,
    /// What happened to the key.
    pub mutation: Mutation,
}

/// A value with the revision of the write that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) revision: Revision,
    /// The value with the revision filled in, shared by the index, the history and all readers.
    pub(crate) value: Bytes,
    /// Where the digits of the revision start in `value`; `None`: it contains no revision, or the position is not
    /// known (a value of the history).
    pub(crate) digits_at: Option<u32>,
}

impl Version {
    pub(crate) fn new(revision: Revision, value: &Value) -> Self {
        Self {
            revision,
            value: value.at(revision),
            digits_at: value.digits_at().and_then(|at| u32::try_from(at).ok()),
        }
    }

    /// Returns a version from the stored bytes of its value, which lack the revision.
    pub(crate) fn read(revision: Revision, bytes: &[u8], digits_at: Option<u32>) -> Self {
        let split = digits_at
            .map(|at| at as usize)
            .filter(|at| *at <= bytes.len());
        let Some((before, after)) = split.map(|at| bytes.split_at(at)) else {
            return Self {
                revision,
                value: Bytes::copy_from_slice(bytes),
                digits_at: None,
            };
        };
        let digits = revision.to_string();
        let value = [before, digits.as_bytes(), after].concat();
        Self {
            revision,
            value: value.into(),
            digits_at,
        }
    }

    /// The value without the digits, for another write of it.
    pub(crate) fn template(&self) -> Value {
        let end = |start: usize| start + self.revision.to_string().len();
        match self.digits_at.map(|start| start as usize) {
            Some(start) if end(start) <= self.value.len() => Value {
                before: self.value.slice(..start),
                after: Some(self.value.slice(end(start)..)),
            },
            _ => Value::plain(self.value.clone()),
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            value: self.value.clone(),
            revision: self.revision,
        }
    }
}

/// A change on its way into the index: the revision is filled in already, because copying the value under the
/// index's lock would delay readers.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) key: Arc<str>,
    pub(crate) version: Version,
    pub(crate) kind: ArrivalKind,
}

#[derive(Debug)]
pub(crate) enum ArrivalKind {
    Put { expires: Option<u64> },
    Delete,
}

impl Arrival {
    pub(crate) fn entry(&self) -> Entry {
        self.version.entry(&self.key)
    }
}

impl From<Record> for Arrival {
    fn from(record: Record) -> Self {
        let (value, kind) = match record.mutation {
            Mutation::Put { value, expires } => (value, ArrivalKind::Put { expires }),
            Mutation::Delete { last } => (last, ArrivalKind::Delete),
        };
        Self {
            version: Version::new(record.revision, &value),
            key: record.key,
            kind,
        }
    }
}

/// The state before a change, by the kind of the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Put { previous: Option<Version> },
    Delete { previous: Version },
}

/// A change in the history. Values are shared with the index, so a change costs little more memory than the value
/// that it replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Arc<str>,
    /// The new state; for a delete, the last state.
    pub(crate) version: Version,
    pub(crate) effect: Effect,
}

impl Change {
    pub(crate) fn revision(&self) -> Revision {
        self.version.revision
    }

    pub(crate) fn previous(&self) -> Option<&Version> {
        match &self.effect {
            Effect::Put { previous } => previous.as_ref(),
            Effect::Delete { previous } => Some(previous),
        }
    }

    pub(crate) fn entry(&self) -> Entry {
        self.version.entry(&self.key)
    }

    pub(crate) fn event(&self) -> Event {
        match &self.effect {
            Effect::Put { previous } => Event::Put {
                entry: self.entry(),
                previous: previous.as_ref().map(|version| version.entry(&self.key)),
            },
            Effect::Delete { previous } => Event::Delete {
                entry: self.entry(),
                previous: previous.entry(&self.key),
            },
        }
    }

    /// The memory, in bytes, that is in use only because this change is in the history.
    pub(crate) fn kept_bytes(&self) -> usize {
        /// The change, its reference counts and its place in the history: the sum of `size_of`, rounded.
        const OVERHEAD: usize = 208;
        let values = match &self.effect {
            Effect::Put { previous } => previous.as_ref().map_or(0, |version| version.value.len()),
            Effect::Delete { previous } => previous.value.len() + self.version.value.len(),
        };
        OVERHEAD + self.key.len() + values
    }
}
