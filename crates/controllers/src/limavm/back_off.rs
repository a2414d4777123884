//! When something that failed is tried again.

use std::time::{Duration, Instant};

/// The first pause; a machine that ends at once must not keep a processor busy.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause between two starts (hazard 19).
pub(crate) const LONGEST_START: Duration = Duration::from_secs(300);
/// The longest pause between two tries to make, change or delete files: their causes (network, a full disk, a missing
/// image) are removed by people, who then wait.
pub(crate) const LONGEST_FILES: Duration = Duration::from_secs(30);
/// A VM that was up for so long is no crash loop (hazard 19).
const PROVED: Duration = Duration::from_secs(600);
/// Beyond this the pause is the longest one anyway.
const MAX_DOUBLINGS: u32 = 16;

/// Counts failures in a row and says when the next try is due.
#[derive(Debug, Default, Clone)]
pub(crate) struct BackOff {
    failures: u32,
    until: Option<Instant>,
    up_since: Option<Instant>,
}

impl BackOff {
    /// Another failure: the next try is 1 s from now, then 2 s, 4 s … at most `longest`.
    pub(crate) fn failed(&mut self, now: Instant, longest: Duration) -> Duration {
        let pause = FIRST
            .saturating_mul(1 << self.failures.min(MAX_DOUBLINGS))
            .min(longest);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + pause);
        pause
    }

    /// A failure whose first repetition need not wait.
    pub(crate) fn failed_but_try_at_once(&mut self, now: Instant, longest: Duration) {
        if self.failures == 0 {
            self.failures = 1;
        } else {
            self.failed(now, longest);
        }
    }

    /// It worked, or its cause may have gone.
    pub(crate) fn reset(&mut self) {
        *self = BackOff::default();
    }

    /// What is tried has worked and works still at `now`; after [`PROVED`] of that, what failed before is forgotten.
    pub(crate) fn is_up(&mut self, now: Instant) {
        let since = *self.up_since.get_or_insert(now);
        if now.duration_since(since) >= PROVED {
            self.failures = 0;
            self.until = None;
        }
    }

    /// It does not work at the moment.
    pub(crate) fn is_not_up(&mut self) {
        self.up_since = None;
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long until the next try; `None` when it may be made now.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.until?
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h19_pauses_double_up_to_the_longest_and_start_again_after_a_success() {
        let now = Instant::now();
        let mut back_off = BackOff::default();
        let mut pauses = Vec::new();
        for _ in 0..11 {
            pauses.push(back_off.failed(now, LONGEST_START).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(back_off.left(now), Some(LONGEST_START));
        assert_eq!(back_off.left(now + LONGEST_START), None);
        for _ in 0..1000 {
            back_off.failed(now, LONGEST_START);
        }
        back_off.reset();
        assert_eq!(back_off.left(now), None);
        assert_eq!(back_off.failed(now, LONGEST_START), FIRST);
    }

    #[test]
    fn h19_ten_minutes_up_without_a_break_end_a_crash_loop_and_less_does_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut back_off = BackOff::default();
        for _ in 0..5 {
            back_off.failed(at(0), LONGEST_START);
        }
        back_off.is_up(at(100));
        back_off.is_up(at(699));
        assert_eq!(back_off.failures(), 5);
        // It crashed in between: the time begins anew.
        back_off.is_not_up();
        back_off.is_up(at(700));
        back_off.is_up(at(1299));
        assert_eq!(back_off.failures(), 5);
        back_off.is_up(at(1300));
        assert_eq!(back_off.failures(), 0);
        assert_eq!(back_off.failed(at(1301), LONGEST_START), FIRST);
    }

    #[test]
    fn the_first_repetition_need_not_wait() {
        let now = Instant::now();
        let mut back_off = BackOff::default();
        back_off.failed_but_try_at_once(now, LONGEST_START);
        assert_eq!(back_off.left(now), None);
        back_off.failed_but_try_at_once(now, LONGEST_START);
        assert_eq!(back_off.left(now), Some(Duration::from_secs(2)));
    }
}
