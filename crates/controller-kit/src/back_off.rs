//! Pauses between retries.

use std::time::{Duration, Instant};

/// The first pause, so that a step that fails immediately does not keep a processor busy.
const FIRST: Duration = Duration::from_secs(1);
/// After this time without a failure, earlier failures no longer count (hazard 19).
const STABLE: Duration = Duration::from_secs(600);
/// With more doublings every pause is the longest one.
const MAX_DOUBLINGS: u32 = 16;

/// Counts failures in a row, and tells when the next attempt is due.
#[derive(Debug, Default, Clone)]
pub struct BackOff {
    failures: u32,
    until: Option<Instant>,
    up_since: Option<Instant>,
}

impl BackOff {
    /// Records a failure and returns the pause before the next attempt: 1 s, 2 s, 4 s … at most `longest`.
    pub fn failed(&mut self, now: Instant, longest: Duration) -> Duration {
        let pause = FIRST
            .saturating_mul(1 << self.failures.min(MAX_DOUBLINGS))
            .min(longest);
        self.failures = self.failures.saturating_add(1);
        self.until = now.checked_add(pause);
        pause
    }

    /// Records a failure whose first retry has no pause.
    pub fn failed_but_retry_at_once(&mut self, now: Instant, longest: Duration) {
        if self.failures == 0 {
            self.failures = 1;
        } else {
            self.failed(now, longest);
        }
    }

    /// Forgets all failures: an attempt succeeded, or the request has changed.
    pub fn reset(&mut self) {
        *self = BackOff::default();
    }

    /// Records that the thing works at `now`. After ten minutes of that without a break, earlier failures are forgotten.
    pub fn is_up(&mut self, now: Instant) {
        let since = *self.up_since.get_or_insert(now);
        if now.duration_since(since) >= STABLE {
            self.failures = 0;
            self.until = None;
        }
    }

    /// Records that the thing does not work at the moment.
    pub fn is_not_up(&mut self) {
        self.up_since = None;
    }

    /// The number of failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How long until the next attempt; `None` when it is due.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.until?
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(300);

    #[test]
    fn h19_pause_doubles_up_to_the_longest_and_restarts_after_a_success() {
        let now = Instant::now();
        let mut back_off = BackOff::default();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            pauses.push(back_off.failed(now, LONGEST).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(back_off.left(now), Some(LONGEST));
        assert_eq!(back_off.left(now + LONGEST), None);
        for _ in 0..1000 {
            back_off.failed(now, LONGEST);
        }
        back_off.reset();
        assert_eq!(back_off.left(now), None);
        assert_eq!(back_off.failed(now, LONGEST), FIRST);
    }

    #[test]
    fn h19_crash_loop_ends_after_ten_minutes_up_without_a_break() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut back_off = BackOff::default();
        for _ in 0..5 {
            back_off.failed(at(0), LONGEST);
        }
        back_off.is_up(at(100));
        back_off.is_up(at(699));
        assert_eq!(back_off.failures(), 5);
        // A crash in between: the ten minutes begin again.
        back_off.is_not_up();
        back_off.is_up(at(700));
        back_off.is_up(at(1299));
        assert_eq!(back_off.failures(), 5);
        back_off.is_up(at(1300));
        assert_eq!(back_off.failures(), 0);
        assert_eq!(back_off.failed(at(1301), LONGEST), FIRST);
    }

    #[test]
    fn first_retry_can_be_immediate() {
        let now = Instant::now();
        let mut back_off = BackOff::default();
        back_off.failed_but_retry_at_once(now, LONGEST);
        assert_eq!(back_off.left(now), None);
        back_off.failed_but_retry_at_once(now, LONGEST);
        assert_eq!(back_off.left(now), Some(Duration::from_secs(2)));
    }
}
