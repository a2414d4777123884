//! Automatic compaction: how much history is kept.
//!
//! A client that reconnects within `keep_for` continues its watch; later it has to list again. A burst of writes
//! must not fill the memory in that time, hence the limits of number and size. The writer thread checks them after
//! each batch, and while there is any history it wakes up a few times per `keep_for`; an idle store sleeps.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::history::History;
use crate::value::Revision;

/// The limits of the history; changes beyond one of them are compacted.
#[derive(Clone, Debug)]
pub struct Retention {
    /// How long a change is kept. The Kubernetes API server compacts after five minutes too.
    pub keep_for: Duration,
    /// The largest number of changes.
    pub max_revisions: usize,
    /// The largest size of the replaced and deleted values, with their keys and overhead, in bytes. The last 64
    /// changes are kept whatever their size, so that a watcher can see the replacement of a large value.
    pub max_bytes: usize,
}

impl Default for Retention {
    /// Five minutes, 20,000 changes, 4 MiB: an idle daemon has to fit in 20 MiB, and a watcher can fall behind a
    /// burst of 10,000 writes a second by two seconds.
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(5 * 60),
            max_revisions: 20_000,
            max_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Checks per `keep_for`: a change is kept at most a fifth longer than configured.
const CHECKS: u32 = 5;
/// The number of newest changes that are kept whatever their size: a watcher reads that many at a time.
const ALWAYS: usize = 64;
/// Compaction by number or size starts when the limit is exceeded by this fraction (an eighth), so that it drops
/// ranges instead of single changes.
const SLACK: usize = 8;

/// Records the newest revision at a few points in time, to find the revision that is `keep_for` old.
#[derive(Debug)]
pub(crate) struct Retainer {
    limits: Retention,
    samples: VecDeque<(Instant, Revision)>,
}

impl Retainer {
    pub(crate) fn new(limits: Retention) -> Self {
        Self {
            limits,
            samples: VecDeque::new(),
        }
    }

    /// The time until the next check; `None` when there is no history.
    pub(crate) fn next_check(&self, now: Instant, history: &History) -> Option<Duration> {
        if history.len() == 0 {
            return None;
        }
        let every = self.limits.keep_for / CHECKS;
        Some(match self.samples.back() {
            Some((last, _)) => (*last + every).saturating_duration_since(now),
            None => Duration::ZERO,
        })
    }

    /// The revision to compact to; `None` when the history is within its limits.
    pub(crate) fn check(&mut self, now: Instant, history: &History) -> Option<Revision> {
        if self.next_check(now, history) == Some(Duration::ZERO) {
            self.samples.push_back((now, history.revision()));
        }
        let mut to = 0;
        while let Some((taken, revision)) = self.samples.front()
            && now.saturating_duration_since(*taken) >= self.limits.keep_for
        {
            to = *revision;
            self.samples.pop_front();
        }
        let Retention {
            max_revisions,
            max_bytes,
            ..
        } = self.limits;
        if history.len() > max_revisions + max_revisions / SLACK
            || history.bytes() > max_bytes + max_bytes / SLACK
        {
            to = to.max(history.excess(max_revisions, max_bytes, ALWAYS));
        }
        (to > history.compacted()).then_some(to)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::change::{Change, Effect, Version};

    fn grow(history: &mut History, count: u64) {
        for _ in 0..count {
            let revision = history.revision() + 1;
            history.push(Arc::new(Change {
                key: "k".into(),
                version: Version {
                    revision,
                    value: Bytes::from_static(b"new"),
                    digits_at: None,
                },
                effect: Effect::Put {
                    previous: Some(Version {
                        revision: revision - 1,
                        value: Bytes::from_static(&[0; 1000]),
                        digits_at: None,
                    }),
                },
            }));
        }
    }

    #[test]
    fn changes_are_dropped_after_keep_for() {
        let minute = Duration::from_secs(60);
        let mut retainer = Retainer::new(Retention {
            keep_for: 5 * minute,
            ..Retention::default()
        });
        let mut history = History::default();
        let start = Instant::now();
        assert_eq!(retainer.next_check(start, &history), None);
        grow(&mut history, 10);
        assert_eq!(retainer.next_check(start, &history), Some(Duration::ZERO));
        assert_eq!(retainer.check(start, &history), None);
        assert_eq!(retainer.next_check(start, &history), Some(minute));
        grow(&mut history, 5);
        assert_eq!(retainer.check(start + 4 * minute, &history), None);
        assert_eq!(retainer.check(start + 5 * minute, &history), Some(10));
        history.forget(10);
        assert_eq!(retainer.check(start + 9 * minute, &history), Some(15));
        history.forget(15);
        assert_eq!(retainer.next_check(start + 9 * minute, &history), None);
    }

    #[test]
    fn a_burst_is_limited_by_number_and_by_size() {
        let number = Retention {
            max_revisions: 80,
            ..Retention::default()
        };
        let size = Retention {
            max_bytes: 100_000,
            ..Retention::default()
        };
        let tiny = Retention {
            max_bytes: 1,
            ..Retention::default()
        };
        let now = Instant::now();
        for (limits, kept) in [(number, 80), (size, 82)] {
            let mut history = History::default();
            let mut retainer = Retainer::new(limits);
            grow(&mut history, 100);
            assert_eq!(retainer.check(now, &history), Some(100 - kept));
            history.forget(100 - kept);
            assert_eq!(history.len() as u64, kept);
            assert_eq!(retainer.check(now, &history), None, "within the limits");
            grow(&mut history, 1);
            assert_eq!(retainer.check(now, &history), None, "within the slack");
        }
        let mut history = History::default();
        let mut retainer = Retainer::new(tiny);
        grow(&mut history, 100);
        assert_eq!(retainer.check(now, &history), Some(100 - 64));
        history.forget(100 - 64);
        assert_eq!(
            retainer.check(now, &history),
            None,
            "the newest changes stay"
        );
    }
}
