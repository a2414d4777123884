//! Limits how often something is done: a number of times in a row, and then at a steady rate.

use std::time::{Duration, Instant};

/// A token bucket.
#[derive(Debug, Clone)]
pub struct Throttle {
    burst: u32,
    interval: Duration,
    tokens: u32,
    /// When `tokens` was counted.
    since: Option<Instant>,
}

impl Throttle {
    /// Allows `burst` times in a row, and then once each `interval`.
    pub fn new(burst: u32, interval: Duration) -> Throttle {
        Throttle {
            burst,
            interval,
            tokens: burst,
            since: None,
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none; returns how long until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        let earned =
            u32::try_from(elapsed.as_nanos() / self.interval.as_nanos().max(1)).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(earned).min(self.burst);
        if self.tokens == self.burst {
            self.since = Some(now);
        } else {
            self.since = Some(since + self.interval.saturating_mul(earned));
        }
        if self.tokens == 0 {
            let since = self.since.unwrap_or(now);
            return Err((since + self.interval).saturating_duration_since(now));
        }
        self.tokens -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_allowed_and_then_one_each_interval() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut throttle = Throttle::new(3, Duration::from_secs(10));
        for _ in 0..3 {
            assert_eq!(throttle.take(at(0)), Ok(()));
        }
        assert_eq!(throttle.take(at(4)), Err(Duration::from_secs(6)));
        assert_eq!(throttle.take(at(10)), Ok(()));
        assert_eq!(throttle.take(at(15)), Err(Duration::from_secs(5)));
        assert_eq!(throttle.take(at(20)), Ok(()));
        // A long rest earns the burst again, and no more.
        for _ in 0..3 {
            assert_eq!(throttle.take(at(100_000)), Ok(()));
        }
        assert_eq!(throttle.take(at(100_000)), Err(Duration::from_secs(10)));
    }
}
