//! How much history is kept when nobody asks for a compaction.
//!
//! Clients that reconnect within `keep_for` go on where they stopped; beyond that they list again. A burst of
//! writes must not fill the memory meanwhile, hence the limits of number and size. The writer thread looks after
//! each batch, and while there is any history it wakes up a few times per `keep_for`; an idle store sleeps.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Revision;
use crate::history::History;

/// The limits of the history; what exceeds one of them is compacted.
#[derive(Clone, Debug)]
pub struct Retention {
    /// How long a change is kept. Kubernetes keeps five minutes too.
    pub keep_for: Duration,
    /// How many changes are kept at most.
    pub max_revisions: usize,
    /// How many bytes of replaced and deleted values, with their keys and overhead, are kept at most. The last
    /// 64 changes stay however large they are, so that a watcher can see the replacement of a large value.
    pub max_bytes: usize,
}

impl Default for Retention {
    /// Five minutes, 20,000 revisions, 4 MiB: a daemon at rest has to fit in 20 MiB, and a watcher that lags
    /// behind a burst of 10,000 writes a second has two seconds.
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(5 * 60),
            max_revisions: 20_000,
            max_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Looks per `keep_for`: a change lives at most a fifth longer than asked.
const LOOKS: u32 = 5;
/// The changes that are not too large: a watcher that keeps up reads that many at a time.
const ALWAYS: usize = 64;
/// Compaction by number or size waits until the limit is exceeded by this fraction (an eighth), so that it comes
/// in ranges and not one by one.
const SLACK: usize = 8;

/// Remembers when which revision was the newest.
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

    /// When to look again; `None` when there is nothing that could get too old.
    pub(crate) fn next_look(&self, now: Instant, history: &History) -> Option<Duration> {
        if history.len() == 0 {
            return None;
        }
        let every = self.limits.keep_for / LOOKS;
        Some(match self.samples.back() {
            Some((last, _)) => (*last + every).saturating_duration_since(now),
            None => Duration::ZERO,
        })
    }

    /// The revision to compact to, when there is a reason to.
    pub(crate) fn look(&mut self, now: Instant, history: &History) -> Option<Revision> {
        if self.next_look(now, history) == Some(Duration::ZERO) {
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
                },
                effect: Effect::Put {
                    previous: Some(Version {
                        revision: revision - 1,
                        value: Bytes::from_static(&[0; 1000]),
                    }),
                },
            }));
        }
    }

    #[test]
    fn changes_go_when_they_are_too_old() {
        let minute = Duration::from_secs(60);
        let mut retainer = Retainer::new(Retention {
            keep_for: 5 * minute,
            ..Retention::default()
        });
        let mut history = History::default();
        let start = Instant::now();
        assert_eq!(retainer.next_look(start, &history), None);
        grow(&mut history, 10);
        assert_eq!(retainer.next_look(start, &history), Some(Duration::ZERO));
        assert_eq!(retainer.look(start, &history), None);
        assert_eq!(retainer.next_look(start, &history), Some(minute));
        grow(&mut history, 5);
        assert_eq!(retainer.look(start + 4 * minute, &history), None);
        assert_eq!(retainer.look(start + 5 * minute, &history), Some(10));
        history.forget(10);
        assert_eq!(retainer.look(start + 9 * minute, &history), Some(15));
        history.forget(15);
        assert_eq!(retainer.next_look(start + 9 * minute, &history), None);
    }

    #[test]
    fn a_burst_is_cut_by_number_and_by_size() {
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
        for (limits, kept) in [(number, 80), (size, 83)] {
            let mut history = History::default();
            let mut retainer = Retainer::new(limits);
            grow(&mut history, 100);
            assert_eq!(retainer.look(now, &history), Some(100 - kept));
            history.forget(100 - kept);
            assert_eq!(history.len() as u64, kept);
            assert_eq!(retainer.look(now, &history), None, "within the limits");
            grow(&mut history, 1);
            assert_eq!(retainer.look(now, &history), None, "within the slack");
        }
        let mut history = History::default();
        let mut retainer = Retainer::new(tiny);
        grow(&mut history, 100);
        assert_eq!(retainer.look(now, &history), Some(100 - 64));
        history.forget(100 - 64);
        assert_eq!(retainer.look(now, &history), None, "the last ones stay");
    }
}
