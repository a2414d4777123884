//! When to try a login, and what the results mean. Pure: times are arguments.
//!
//! A failed login costs the guest an sshd process, which takes most of a second of an emulated guest's boot. So the agent
//! inside is asked first: it reports when sshd listens. Guests without our agent are tried with growing pauses.

use std::time::{Duration, Instant};

use crate::options::Limits;

/// How long to wait for the agent's first message before logins are tried without it. It comes 3 s after QEMU's start
/// under emulation, and at once on hardware.
const AGENT_PATIENCE: Duration = Duration::from_secs(5);
/// The pause after the first failed login; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two logins while the guest boots.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Failed logins in a row, after one that worked, that are tolerated: one may be due to a guest under load.
const TOLERATED: u32 = 1;
/// The same for logins that sshd turned away before authentication, because too many others were starting
/// (`MaxStartups`). The user's own connections are fine then, so only a long time without a login is a trouble.
const TOLERATED_BUSY: u32 = 10;
/// Failed logins of a boot until the last error is shown, although the guest may just be booting.
const SHOWN_AFTER: u32 = 3;

/// The logins to a guest since its last boot.
#[derive(Debug, Clone)]
pub(crate) struct LoginSchedule {
    booted_at: Instant,
    last_try: Option<Instant>,
    /// Failed attempts since the last success.
    failures: u32,
    last_error: Option<LoginError>,
    succeeded: bool,
    agent_has_reported: bool,
    agent_ready: bool,
}

/// Why a login failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoginError {
    pub(crate) kind: LoginErrorKind,
    /// The cause, for people.
    pub(crate) message: String,
}

/// What a failed login means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginErrorKind {
    /// The guest may still be booting, or is broken.
    Guest,
    /// sshd closed the connection before authentication, as it does when too many connections are starting.
    Busy,
    /// This host cannot log in to any guest, for example because ssh is not installed.
    Host,
}

/// Whether the user can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not yet; the guest boots.
    Booting,
    /// The user can log in.
    Works,
    /// The user should be able to log in, but cannot.
    Fails(String),
}

impl LoginSchedule {
    /// A guest that starts to boot `now`, or was found running.
    pub(crate) fn new(now: Instant) -> LoginSchedule {
        LoginSchedule {
            booted_at: now,
            last_try: None,
            failures: 0,
            last_error: None,
            succeeded: false,
            agent_has_reported: false,
            agent_ready: false,
        }
    }

    /// A guest to which an earlier hostagent logged in since its boot. It counts as running until a login, which is tried at
    /// once, fails.
    pub(crate) fn known_good(now: Instant) -> LoginSchedule {
        LoginSchedule {
            succeeded: true,
            ..LoginSchedule::new(now)
        }
    }

    /// The agent inside reported whether sshd listens.
    pub(crate) fn agent_reported(&mut self, ready: bool) {
        self.agent_has_reported = true;
        if ready && !self.agent_ready {
            // Earlier logins failed because sshd did not listen.
            self.failures = 0;
            self.last_try = None;
        }
        self.agent_ready = ready;
    }

    /// Returns whether a login has worked since the guest booted.
    pub(crate) fn has_worked(&self) -> bool {
        self.succeeded
    }

    /// Returns when to try the next login; `None` if not before something else happens.
    pub(crate) fn next_try(&self, limits: &Limits) -> Option<Instant> {
        if self.succeeded && self.failures == 0 {
            return Some(
                self.last_try
                    .map_or(self.booted_at, |last| last + limits.health),
            );
        }
        let ready_by = self.booted_at + limits.ready;
        let earliest = match (self.agent_has_reported, self.agent_ready || self.succeeded) {
            (_, true) => self.booted_at,
            // The agent will report it. If it never does, logins are tried anyway.
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

    /// A login ended at `now`.
    pub(crate) fn tried(&mut self, now: Instant, result: Result<(), LoginError>) {
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

    /// Returns when [`LoginSchedule::standing`] may change without a further input.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        (!self.succeeded).then(|| self.booted_at + limits.ready)
    }

    /// Returns whether the user can log in, as far as is known at `now`.
    pub(crate) fn standing(&self, now: Instant, limits: &Limits) -> Standing {
        let error = || match &self.last_error {
            Some(error) => error.message.clone(),
            None => "the guest agent has not reported that sshd listens".into(),
        };
        let kind = self.last_error.as_ref().map(|error| error.kind);
        if kind == Some(LoginErrorKind::Host) {
            return Standing::Fails(error());
        }
        if self.succeeded {
            let tolerated = match kind {
                Some(LoginErrorKind::Busy) => TOLERATED_BUSY,
                _ => TOLERATED,
            };
            return if self.failures > tolerated {
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

    /// Returns the last error of a guest that is still booting, once it is unlikely to be part of an ordinary boot: sshd
    /// listens and refuses the login, or several logins have failed.
    pub(crate) fn early_error(&self) -> Option<&str> {
        let error = self.last_error.as_ref()?;
        let unlikely = self.agent_ready || self.failures >= SHOWN_AFTER;
        (!self.succeeded && unlikely).then_some(error.message.as_str())
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

    fn refused(message: &str) -> LoginError {
        LoginError {
            kind: LoginErrorKind::Guest,
            message: message.into(),
        }
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn logins_without_an_agent_have_growing_pauses() {
        let start = Instant::now();
        let mut login = LoginSchedule::new(start);
        let mut tries = Vec::new();
        for _ in 0..7 {
            let at = login.next_try(&limits()).unwrap();
            tries.push((at - start).as_secs());
            login.tried(at, Err(refused("refused")));
        }
        assert_eq!(tries, [5, 6, 8, 12, 20, 30, 40]);
    }

    #[test]
    fn logins_wait_for_the_agent_and_then_one_is_enough() {
        let start = Instant::now();
        let mut login = LoginSchedule::new(start);
        login.agent_reported(false);
        assert_eq!(
            login.next_try(&limits()),
            Some(start + secs(600)),
            "nothing to try while it boots"
        );
        login.agent_reported(true);
        assert_eq!(login.next_try(&limits()), Some(start), "at once");
        login.tried(start + secs(6), Ok(()));
        assert_eq!(login.standing(start + secs(6), &limits()), Standing::Works);
        assert_eq!(
            login.next_try(&limits()),
            Some(start + secs(66)),
            "then only at health checks"
        );
    }

    #[test]
    fn known_good_guest_counts_as_running_and_is_tried_at_once() {
        let start = Instant::now();
        let mut login = LoginSchedule::known_good(start);
        assert_eq!(login.standing(start, &limits()), Standing::Works);
        assert_eq!(login.next_try(&limits()), Some(start));
        login.tried(start + secs(1), Err(refused("timed out")));
        login.tried(start + secs(2), Err(refused("timed out")));
        assert_eq!(
            login.standing(start + secs(2), &limits()),
            Standing::Fails("timed out".into())
        );
    }

    #[test]
    fn one_failure_is_tolerated_and_a_success_clears_it() {
        let start = Instant::now();
        let mut login = LoginSchedule::new(start);
        login.tried(start, Ok(()));
        login.tried(start + secs(60), Err(refused("timed out")));
        assert_eq!(login.standing(start + secs(60), &limits()), Standing::Works);
        assert_eq!(login.next_try(&limits()), Some(start + secs(61)));
        login.tried(start + secs(61), Err(refused("timed out")));
        assert_eq!(
            login.standing(start + secs(61), &limits()),
            Standing::Fails("timed out".into())
        );
        login.tried(start + secs(63), Ok(()));
        assert_eq!(login.standing(start + secs(63), &limits()), Standing::Works);
    }

    #[test]
    fn guest_without_a_login_fails_after_the_limit_and_is_still_tried() {
        let start = Instant::now();
        let mut login = LoginSchedule::new(start);
        login.agent_reported(false);
        assert_eq!(
            login.standing(start + secs(599), &limits()),
            Standing::Booting
        );
        assert_eq!(login.deadline(&limits()), Some(start + secs(600)));
        assert!(matches!(
            login.standing(start + secs(600), &limits()),
            Standing::Fails(_)
        ));
        assert_eq!(login.next_try(&limits()), Some(start + secs(600)));
    }

    #[test]
    fn logins_that_sshd_turns_away_are_tolerated_for_long() {
        let start = Instant::now();
        let mut login = LoginSchedule::new(start);
        login.tried(start, Ok(()));
        let busy = || LoginError {
            kind: LoginErrorKind::Busy,
            message: "too many connections".into(),
        };
        for _ in 0..TOLERATED_BUSY {
            login.tried(start, Err(busy()));
            assert_eq!(login.standing(start, &limits()), Standing::Works);
        }
        login.tried(start, Err(busy()));
        assert_eq!(
            login.standing(start, &limits()),
            Standing::Fails("too many connections".into())
        );
    }

    #[test]
    fn cause_of_a_failed_login_is_shown_before_the_limit() {
        let start = Instant::now();
        // A host without ssh never logs in.
        let mut login = LoginSchedule::new(start);
        let error = LoginError {
            kind: LoginErrorKind::Host,
            message: "ssh is not installed".into(),
        };
        login.tried(start, Err(error));
        assert_eq!(
            login.standing(start, &limits()),
            Standing::Fails("ssh is not installed".into())
        );
        // sshd listens and refuses the login.
        let mut login = LoginSchedule::new(start);
        login.agent_reported(true);
        assert_eq!(login.early_error(), None);
        login.tried(start, Err(refused("no such user")));
        assert_eq!(login.standing(start, &limits()), Standing::Booting);
        assert_eq!(login.early_error(), Some("no such user"));
        login.tried(start, Ok(()));
        assert_eq!(login.early_error(), None);
        // Without an agent, a guest that boots refuses the first connections.
        let mut login = LoginSchedule::new(start);
        for shown in [None, None, Some("refused")] {
            login.tried(start, Err(refused("refused")));
            assert_eq!(login.early_error(), shown);
        }
    }
}
