//! When to try a login, and what its results mean. Pure: times are given.
//!
//! A failed login costs the guest an sshd process, and an emulated guest most of a second of its boot. So who can tell
//! is asked first: the agent inside says when sshd is up. Images without our agent are tried with growing pauses.

use std::time::{Duration, Instant};

use crate::Limits;

/// How long an agent may take to be heard before logins are tried without it. Ours speaks 3 s after QEMU's start under
/// emulation, at once with hardware.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);
/// The pause after the first failed login; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two logins while the guest boots.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Failed logins in a row, after one that worked, until the VM counts as degraded: one may be a guest under load.
const TOLERATED: u32 = 1;

/// What is known about logging in to a guest since its last boot.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    booted_at: Instant,
    last_try: Option<Instant>,
    /// Failed tries since the last success.
    failures: u32,
    last_error: Option<String>,
    succeeded: bool,
    agent_heard: bool,
    agent_ready: bool,
}

/// Whether the user can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not yet, and it is early.
    Booting,
    /// Yes.
    Works,
    /// It should, and does not.
    Fails(String),
}

impl Login {
    /// The guest starts to boot `now`, or was found running.
    pub(crate) fn new(now: Instant) -> Login {
        Login {
            booted_at: now,
            last_try: None,
            failures: 0,
            last_error: None,
            succeeded: false,
            agent_heard: false,
            agent_ready: false,
        }
    }

    /// An earlier hostagent logged in to this very guest: it counts as up until a login, tried at once, says otherwise.
    pub(crate) fn known_good(now: Instant) -> Login {
        Login {
            succeeded: true,
            ..Login::new(now)
        }
    }

    /// The agent inside was heard, and says whether sshd is up.
    pub(crate) fn agent_says(&mut self, ready: bool) {
        self.agent_heard = true;
        if ready && !self.agent_ready {
            // Earlier failures only show that sshd was not up.
            self.failures = 0;
            self.last_try = None;
        }
        self.agent_ready = ready;
    }

    /// Whether a login has worked since the guest booted.
    pub(crate) fn has_worked(&self) -> bool {
        self.succeeded
    }

    /// Whether the agent inside was heard since the guest booted.
    pub(crate) fn agent_was_heard(&self) -> bool {
        self.agent_heard
    }

    /// When to try next. `None`: when something else has happened.
    pub(crate) fn next_try(&self, limits: &Limits) -> Option<Instant> {
        if self.succeeded && self.failures == 0 {
            return Some(
                self.last_try
                    .map_or(self.booted_at, |last| last + limits.health),
            );
        }
        let ready_by = self.booted_at + limits.ready;
        let earliest = match (self.agent_heard, self.agent_ready || self.succeeded) {
            (_, true) => self.booted_at,
            // The agent will say so. If it never does, try in spite of it.
            (true, false) => ready_by,
            (false, false) => self.booted_at + AGENT_PATIENCE.min(limits.ready),
        };
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.saturating_sub(1).min(8))
            .min(LONGEST_PAUSE);
        Some(
            self.last_try
                .map_or(earliest, |last| earliest.max(last + pause)),
        )
    }

    /// A login was tried and ended `now`.
    pub(crate) fn tried(&mut self, now: Instant, result: Result<(), String>) {
        self.last_try = Some(now);
        match result {
            Ok(()) => {
                self.succeeded = true;
                self.failures = 0;
                self.last_error = None;
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.last_error = Some(error);
            }
        }
    }

    /// When the standing may change by itself.
    pub(crate) fn patience_ends(&self, limits: &Limits) -> Option<Instant> {
        (!self.succeeded).then(|| self.booted_at + limits.ready)
    }

    /// Whether the user can log in, as far as is known `now`.
    pub(crate) fn standing(&self, now: Instant, limits: &Limits) -> Standing {
        let error = || {
            self.last_error
                .clone()
                .unwrap_or_else(|| "the guest agent has not said that sshd is up".into())
        };
        if self.succeeded {
            return if self.failures > TOLERATED {
                Standing::Fails(error())
            } else {
                Standing::Works
            };
        }
        if now >= self.booted_at + limits.ready {
            return Standing::Fails(format!(
                "no login within {} s of the start: {}",
                limits.ready.as_secs(),
                error()
            ));
        }
        Standing::Booting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            ready: Duration::from_secs(600),
            grace: Duration::ZERO,
            health: Duration::from_secs(60),
        }
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn without_an_agent_logins_are_tried_with_growing_pauses() {
        let start = Instant::now();
        let mut login = Login::new(start);
        let mut tries = Vec::new();
        for _ in 0..7 {
            let at = login.next_try(&limits()).unwrap();
            tries.push((at - start).as_secs());
            login.tried(at, Err("refused".into()));
        }
        assert_eq!(tries, [5, 6, 8, 12, 20, 30, 40]);
    }

    #[test]
    fn an_agent_that_is_there_is_waited_for_and_then_one_login_is_enough() {
        let start = Instant::now();
        let mut login = Login::new(start);
        login.agent_says(false);
        assert_eq!(
            login.next_try(&limits()),
            Some(start + secs(600)),
            "nothing to try while it boots"
        );
        login.agent_says(true);
        assert_eq!(login.next_try(&limits()), Some(start), "at once");
        login.tried(start + secs(6), Ok(()));
        assert_eq!(login.standing(start + secs(6), &limits()), Standing::Works);
        assert_eq!(
            login.next_try(&limits()),
            Some(start + secs(66)),
            "then only its health"
        );
    }

    #[test]
    fn a_guest_that_was_up_counts_as_up_and_is_tried_at_once() {
        let start = Instant::now();
        let mut login = Login::known_good(start);
        assert_eq!(login.standing(start, &limits()), Standing::Works);
        assert_eq!(login.next_try(&limits()), Some(start));
        login.tried(start + secs(1), Err("timed out".into()));
        login.tried(start + secs(2), Err("timed out".into()));
        assert_eq!(
            login.standing(start + secs(2), &limits()),
            Standing::Fails("timed out".into())
        );
    }

    #[test]
    fn one_failure_is_tolerated_and_a_success_heals() {
        let start = Instant::now();
        let mut login = Login::new(start);
        login.tried(start, Ok(()));
        login.tried(start + secs(60), Err("timed out".into()));
        assert_eq!(login.standing(start + secs(60), &limits()), Standing::Works);
        assert_eq!(login.next_try(&limits()), Some(start + secs(61)));
        login.tried(start + secs(61), Err("timed out".into()));
        assert_eq!(
            login.standing(start + secs(61), &limits()),
            Standing::Fails("timed out".into())
        );
        login.tried(start + secs(63), Ok(()));
        assert_eq!(login.standing(start + secs(63), &limits()), Standing::Works);
    }

    #[test]
    fn a_guest_that_never_lets_anybody_in_fails_after_the_limit_and_is_still_tried() {
        let start = Instant::now();
        let mut login = Login::new(start);
        login.agent_says(false);
        assert_eq!(
            login.standing(start + secs(599), &limits()),
            Standing::Booting
        );
        assert_eq!(login.patience_ends(&limits()), Some(start + secs(600)));
        assert!(matches!(
            login.standing(start + secs(600), &limits()),
            Standing::Fails(_)
        ));
        assert_eq!(login.next_try(&limits()), Some(start + secs(600)));
    }
}
