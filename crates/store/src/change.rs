//! One write as it is kept in the history and told to watchers.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Entry, Event, Revision};

/// A value and the write that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) revision: Revision,
    pub(crate) value: Bytes,
}

impl Version {
    pub(crate) fn entry(&self, key: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            value: self.value.clone(),
            revision: self.revision,
        }
    }
}

/// What a write did to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Put { previous: Option<Version> },
    Delete { previous: Version },
}

/// One write: of which key, to which version, and what was there before. Values are shared with the index, so a
/// change costs little more memory than what it has replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Arc<str>,
    /// The new state; the last one when it is a delete.
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

    /// The memory that is kept only because this change is in the history, in bytes.
    pub(crate) fn kept_bytes(&self) -> usize {
        /// The change itself, its counters, its place in the history: what `size_of` adds up to, rounded.
        const OVERHEAD: usize = 192;
        let values = match &self.effect {
            Effect::Put { previous } => previous.as_ref().map_or(0, |version| version.value.len()),
            Effect::Delete { previous } => previous.value.len() + self.version.value.len(),
        };
        OVERHEAD + self.key.len() + values
    }
}
