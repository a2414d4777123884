//! The guest's clock (hazard 29): it stands still while this host sleeps and while the guest is frozen. Pure: times are
//! given.
//!
//! Each word of the agent carries the guest's time. One that is off is set, and the agent's answer, which carries the
//! time after that, is the proof that it worked.

use std::time::{Duration, Instant, SystemTime};

use guestagent::protocol::Request;

/// A guest whose clock is off by more is set right. Less is the way of the message through an emulated guest.
const TOLERANCE: Duration = Duration::from_secs(2);
/// From a request to set the clock until one that is still off counts as a failure, and is set again. The agent answers
/// within five seconds or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of the guest's clock.
#[derive(Debug, Default)]
pub(crate) struct GuestClock {
    asked: Option<Instant>,
    trouble: Option<String>,
}

impl GuestClock {
    /// The agent was heard `now`, when this host's clock said `host`. Says what to ask it for, if anything.
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        host: SystemTime,
        unix_millis: i64,
    ) -> Option<Request> {
        // Before 1970 it is this host's clock that is wrong.
        let host = host.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let guest = Duration::from_millis(u64::try_from(unix_millis).unwrap_or(0));
        let off = host.abs_diff(guest);
        if off <= TOLERANCE {
            if self.asked.is_some() {
                tracing::info!("the guest's clock is right again");
            }
            *self = GuestClock::default();
            return None;
        }
        if let Some(asked) = self.asked {
            if now.saturating_duration_since(asked) < PATIENCE {
                return None;
            }
            self.trouble = Some(format!(
                "the guest's clock is off by {} s and its agent could not set it",
                off.as_secs()
            ));
        }
        tracing::info!(off_by = ?off, "setting the guest's clock");
        self.asked = Some(now);
        let unix_nanos = i64::try_from(host.as_nanos()).ok()?;
        Some(Request::SetTime { unix_nanos })
    }

    /// Why it is wrong, when setting it did not help.
    pub(crate) fn trouble(&self) -> Option<&String> {
        self.trouble.as_ref()
    }
}

/// Sees when the wall clock and the steady one disagree: the steady one stands still while the host sleeps.
#[derive(Debug)]
pub(crate) struct JumpWatch {
    steady: Instant,
    wall: SystemTime,
}

impl JumpWatch {
    pub(crate) fn new(steady: Instant, wall: SystemTime) -> JumpWatch {
        JumpWatch { steady, wall }
    }

    /// Whether this host's clock jumped since the last look.
    pub(crate) fn jumped(&mut self, steady: Instant, wall: SystemTime) -> bool {
        let passed = steady.saturating_duration_since(self.steady);
        // Backwards is a jump as well.
        let jumped = wall
            .duration_since(self.wall)
            .map_or(true, |wall| wall.abs_diff(passed) > TOLERANCE);
        *self = JumpWatch { steady, wall };
        jumped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn h29_a_clock_that_is_off_is_set_once_and_what_does_not_help_is_said() {
        let (start, host) = (Instant::now(), SystemTime::UNIX_EPOCH + secs(1_000_000));
        let mut clock = GuestClock::default();
        assert_eq!(clock.heard(start, host, 999_999_000), None, "one second");
        for off in [1_003_600_000, 996_400_000, -5] {
            let mut clock = GuestClock::default();
            let set = Request::SetTime {
                unix_nanos: 1_000_000_000_000_000,
            };
            assert_eq!(clock.heard(start, host, off), Some(set.clone()));
            // A word that was under way.
            assert_eq!(clock.heard(start + secs(1), host + secs(1), off), None);
            assert_eq!(clock.trouble(), None);
            // It did not help: said, and tried again.
            assert!(clock.heard(start + secs(11), host, off).is_some());
            assert!(clock.trouble().unwrap().contains("could not set it"));
            assert_eq!(clock.heard(start + secs(12), host, 1_000_000_500), None);
            assert_eq!(clock.trouble(), None);
        }
    }

    #[test]
    fn h29_a_host_that_slept_is_seen() {
        let (start, wall) = (Instant::now(), SystemTime::now());
        let mut watch = JumpWatch::new(start, wall);
        assert!(!watch.jumped(start + secs(5), wall + secs(5)));
        assert!(
            watch.jumped(start + secs(10), wall + secs(3610)),
            "it slept for an hour"
        );
        assert!(!watch.jumped(start + secs(15), wall + secs(3615)));
        assert!(watch.jumped(start + secs(20), wall), "it was set back");
    }
}
