//! Watches the guest's clock (hazard 29), which stops while this host sleeps and while the guest is frozen.
//!
//! Each message of the agent carries the guest's time. A clock that is wrong is set, and the agent's answer, which carries
//! the time after that, proves that it worked. [`GuestClock`] and [`JumpWatch`] are pure: times are arguments.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use guestagent::protocol::Request;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Component, Signal};

/// How often this host's clock is checked for a jump: the host slept, or its clock was set.
const CHECK: Duration = Duration::from_secs(5);
/// A guest's clock that is off by more is set. A message from an emulated guest can be delayed by this much.
const TOLERANCE: Duration = Duration::from_secs(2);
/// How long after a request a clock that is still wrong counts as a failure and is set again. The agent answers within
/// five seconds or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The component.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// This host's clock.
    wall_clock: fn() -> SystemTime,
    clock: GuestClock,
    jumps: JumpWatch,
    checks: Interval,
}

impl ClockWatch {
    pub(crate) fn new(wall_clock: fn() -> SystemTime) -> ClockWatch {
        let mut checks = interval(CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ClockWatch {
            wall_clock,
            clock: GuestClock::default(),
            jumps: JumpWatch::new(Instant::now(), wall_clock()),
            checks,
        }
    }
}

#[async_trait]
impl Component for ClockWatch {
    async fn next(&mut self) -> Vec<Signal> {
        self.checks.tick().await;
        if !self.jumps.jumped(Instant::now(), (self.wall_clock)()) {
            return Vec::new();
        }
        tracing::info!("this host's clock jumped; checking the guest's clock");
        vec![Signal::AskGuest(Request::Status)]
    }

    fn notify(&mut self, signal: &Signal) -> Vec<Signal> {
        match signal {
            Signal::GuestStatus(status) => {
                let host = (self.wall_clock)();
                let set = self.clock.compare(Instant::now(), host, status.unix_millis);
                set.map(Signal::AskGuest).into_iter().collect()
            }
            Signal::GuestRebooted { .. } => {
                self.clock = GuestClock::default();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn troubles(&self, _now: Instant) -> Vec<String> {
        self.clock.trouble().cloned().into_iter().collect()
    }
}

/// What is known about the guest's clock.
#[derive(Debug, Default)]
struct GuestClock {
    /// When the agent was last asked to set the clock, while it is wrong.
    asked: Option<Instant>,
    trouble: Option<String>,
}

impl GuestClock {
    /// Compares the clocks: the guest reported `unix_millis` at `now`, when this host's clock was `host`. Returns the
    /// request to send, if any.
    fn compare(&mut self, now: Instant, host: SystemTime, unix_millis: i64) -> Option<Request> {
        // If this host's clock is before 1970, it is the wrong one.
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

    /// Returns what is wrong if setting the clock did not help.
    fn trouble(&self) -> Option<&String> {
        self.trouble.as_ref()
    }
}

/// Detects that the wall clock and the monotonic clock disagree; the monotonic clock stops while the host sleeps.
#[derive(Debug)]
struct JumpWatch {
    steady: Instant,
    wall: SystemTime,
}

impl JumpWatch {
    fn new(steady: Instant, wall: SystemTime) -> JumpWatch {
        JumpWatch { steady, wall }
    }

    /// Returns whether this host's clock jumped since the last call.
    fn jumped(&mut self, steady: Instant, wall: SystemTime) -> bool {
        let passed = steady.saturating_duration_since(self.steady);
        // A clock that was set back has jumped as well.
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
    fn h29_wrong_clock_is_set_once_and_a_failure_is_reported() {
        let (start, host) = (Instant::now(), SystemTime::UNIX_EPOCH + secs(1_000_000));
        let mut clock = GuestClock::default();
        assert_eq!(clock.compare(start, host, 999_999_000), None, "one second");
        for off in [1_003_600_000, 996_400_000, -5] {
            let mut clock = GuestClock::default();
            let set = Request::SetTime {
                unix_nanos: 1_000_000_000_000_000,
            };
            assert_eq!(clock.compare(start, host, off), Some(set.clone()));
            // A message that was sent before the clock was set.
            assert_eq!(clock.compare(start + secs(1), host + secs(1), off), None);
            assert_eq!(clock.trouble(), None);
            // Setting the clock did not help: reported, and repeated.
            assert!(clock.compare(start + secs(11), host, off).is_some());
            assert!(clock.trouble().unwrap().contains("could not set it"));
            assert_eq!(clock.compare(start + secs(12), host, 1_000_000_500), None);
            assert_eq!(clock.trouble(), None);
        }
    }

    #[test]
    fn h29_sleep_of_the_host_is_detected() {
        let (start, wall) = (Instant::now(), SystemTime::now());
        let mut watch = JumpWatch::new(start, wall);
        assert!(!watch.jumped(start + secs(5), wall + secs(5)));
        assert!(
            watch.jumped(start + secs(10), wall + secs(3610)),
            "the host slept for an hour"
        );
        assert!(!watch.jumped(start + secs(15), wall + secs(3615)));
        assert!(
            watch.jumped(start + secs(20), wall),
            "the clock was set back"
        );
    }
}
