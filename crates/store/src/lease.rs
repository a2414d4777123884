//! Times to live. A lease belongs to one write: it ends when the key is written again or deleted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::value::Revision;

/// All leases, by the revision of the write that they belong to.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// When each ends, in milliseconds since the Unix epoch, because it has to hold across restarts.
    expires: HashMap<Revision, u64>,
    by_time: BTreeMap<(u64, Revision), Arc<str>>,
}

impl Leases {
    pub(crate) fn grant(&mut self, revision: Revision, key: Arc<str>, expires: u64) {
        self.by_time.insert((expires, revision), key);
        self.expires.insert(revision, expires);
    }

    pub(crate) fn end(&mut self, revision: Revision) {
        // An empty map is checked without hashing, which is the usual case.
        if let Some(expires) = self.expires.remove(&revision) {
            self.by_time.remove(&(expires, revision));
        }
    }

    /// When the write of this revision expires, in milliseconds since the Unix epoch.
    pub(crate) fn expires(&self, revision: Revision) -> Option<u64> {
        self.expires.get(&revision).copied()
    }

    /// How long it is until the next lease ends.
    pub(crate) fn next(&self, now: u64) -> Option<Duration> {
        let ((expires, _), _) = self.by_time.first_key_value()?;
        Some(Duration::from_millis(expires.saturating_sub(now)))
    }

    /// The leases that have ended, the oldest first, at most `limit`.
    pub(crate) fn due(
        &self,
        now: u64,
        limit: usize,
    ) -> impl Iterator<Item = (Revision, &Arc<str>)> {
        self.by_time
            .iter()
            .take_while(move |((expires, _), _)| *expires <= now)
            .take(limit)
            .map(|((_, revision), key)| (*revision, key))
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
