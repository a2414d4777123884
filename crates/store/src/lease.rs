//! Times to live. A lease belongs to one write: it ends when the key is written again or deleted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::change::Version;
use crate::{Expect, Revision, Value, Write};

/// When a key goes, and how its last state is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) key: Arc<str>,
    /// Milliseconds since the Unix epoch, because it has to hold across restarts.
    pub(crate) expires: u64,
    /// Where in the value the digits of its revision start; `None`: it holds no revision.
    pub(crate) digits_at: Option<usize>,
}

impl Lease {
    /// The deletion that ends the lease of `version`, with the deletion's revision in the last state.
    pub(crate) fn expiry(&self, version: &Version) -> Write {
        let whole = &version.value;
        let last = self
            .digits_at
            .and_then(|start| {
                let end = start + version.revision.to_string().len();
                (end <= whole.len()).then(|| Value {
                    before: whole.slice(..start),
                    after: Some(whole.slice(end..)),
                })
            })
            .unwrap_or_else(|| Value::plain(whole.clone()));
        Write::Delete {
            key: self.key.to_string(),
            expect: Expect::At(version.revision),
            last,
        }
    }
}

/// All leases, by the revision that they belong to.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    leases: HashMap<Revision, Lease>,
    by_time: BTreeSet<(u64, Revision)>,
}

impl Leases {
    pub(crate) fn grant(&mut self, revision: Revision, lease: Lease) {
        self.by_time.insert((lease.expires, revision));
        self.leases.insert(revision, lease);
    }

    pub(crate) fn end(&mut self, revision: Revision) {
        if let Some(lease) = self.leases.remove(&revision) {
            self.by_time.remove(&(lease.expires, revision));
        }
    }

    pub(crate) fn has(&self, revision: Revision) -> bool {
        self.leases.contains_key(&revision)
    }

    /// How long it is until the next lease ends.
    pub(crate) fn next(&self, now: u64) -> Option<Duration> {
        let (expires, _) = self.by_time.first()?;
        Some(Duration::from_millis(expires.saturating_sub(now)))
    }

    /// The leases that have ended, the oldest first, at most `limit`.
    pub(crate) fn due(&self, now: u64, limit: usize) -> Vec<(Revision, Lease)> {
        self.by_time
            .iter()
            .take_while(|(expires, _)| *expires <= now)
            .take(limit)
            .filter_map(|(_, revision)| Some((*revision, self.leases.get(revision)?.clone())))
            .collect()
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
