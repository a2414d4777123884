//! How long a stop may take, and how far it has come.
//!
//! ```text
//! stop wanted ──── grace ────▶ machine switched off ── OVERDUE ──▶ killed ── KILL_LIMIT ──▶ gone: grace + 10 s at most
//! ```
//! The guest's time begins when the stop is first wanted and only ever gets shorter: a later, shorter grace period takes
//! effect at once, and nothing makes the time longer, neither another look, nor a hostagent that must be started first,
//! nor a repeated request.

use std::time::{Duration, Instant};

use api::LimaVM;
use controller_kit::RunState;

use super::plan::{Desired, Fate, Files, Stop};

/// When the grace period ends, the machine is switched off and the hostagent exits; processes that are alive this long
/// after it are killed. With [`super::files::KILL_LIMIT`] this fits into the 10 s that hazard 17 allows.
const OVERDUE: Duration = Duration::from_secs(5);
/// The grace period of a VM whose disk is about to be deleted: enough for a guest to write back mounted host folders.
const DELETE_GRACE: Duration = Duration::from_secs(10);
/// A difference between the wanted deadline and the requested one that needs no new request: the deadlines of two looks
/// differ slightly.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Whether the VM should run as it is, so that nothing has to be stopped.
pub(super) fn wants_up(desired: &Desired, files: Files) -> bool {
    desired.running
        && !desired.restart
        && !desired.leaving
        && desired.fate == Fate::Keep
        && files == Files::Current
}

/// The guest's time for one stop.
#[derive(Debug, Default, Clone)]
pub(super) struct StopClock {
    /// When it ends, as it is wanted now.
    by: Option<Instant>,
    /// When it ends according to the last request to the hostagent.
    requested: Option<Instant>,
}

impl StopClock {
    /// A stop is wanted, and the guest may take `grace` from now, unless it has less time already.
    pub(super) fn wanted(&mut self, now: Instant, grace: Duration) {
        let by = now + grace.min(api::lima::MAX_GRACE_PERIOD);
        self.by = Some(self.by.map_or(by, |earlier| earlier.min(by)));
    }

    /// No stop is wanted, or nothing is left to be stopped.
    pub(super) fn not_wanted(&mut self) {
        self.by = None;
    }

    /// What is left of the guest's time.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.by
            .map_or(Duration::ZERO, |by| by.saturating_duration_since(now))
    }

    /// The hostagent was asked to stop in the time that is left.
    pub(super) fn requested(&mut self, now: Instant) {
        self.requested = Some(now + self.left(now));
    }

    /// Forgets the request, because the hostagent is gone; whether there was one.
    pub(super) fn take_requested(&mut self) -> bool {
        self.requested.take().is_some()
    }

    /// Whether the hostagent was asked to stop.
    pub(super) fn is_requested(&self) -> bool {
        self.requested.is_some()
    }

    /// How far the stop has come.
    pub(super) fn state(&self, now: Instant) -> Stop {
        match (self.requested, self.by) {
            (None, _) => Stop::NotAsked,
            _ if self.is_overdue(now) => Stop::Overdue,
            // The deadline has become earlier since the request was sent, so it is sent again.
            (Some(requested), Some(by)) if by + TOLERANCE < requested => Stop::NotAsked,
            (Some(requested), None) if now >= requested + OVERDUE => Stop::Overdue,
            (Some(_), _) => Stop::Asked,
        }
    }

    /// Whether all processes should be gone by now.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.by.is_some_and(|by| now >= by + OVERDUE)
    }

    /// How long until it is overdue; `None` if it is.
    pub(super) fn until_overdue(&self, now: Instant) -> Option<Duration> {
        let overdue = self.by.or(self.requested)? + OVERDUE;
        overdue
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }
}

/// How long the guest may take to shut down: the annotation for this one stop, else the grace period of the deletion,
/// else the VM's own, else `default`. The deadline of the control plane's shutdown limits them all.
pub(super) fn grace(vm: &LimaVM, fate: Fate, state: RunState, default: Duration) -> Duration {
    match state {
        RunState::Stopping { deadline } => {
            let left = deadline.saturating_duration_since(Instant::now());
            own_grace(vm, fate, left).min(left)
        }
        RunState::Running | RunState::Detaching => own_grace(vm, fate, default),
    }
}

fn own_grace(vm: &LimaVM, fate: Fate, default: Duration) -> Duration {
    // API servers write 0 for every object whose kind has no default grace period, so 0 is not a request.
    let of_deletion = vm
        .metadata
        .deletion_grace_period_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Duration::from_secs(seconds).min(api::lima::MAX_GRACE_PERIOD));
    if let Some(explicit) = vm.stop_grace_period().or(of_deletion) {
        return explicit;
    }
    let own = vm.grace_period().unwrap_or(default);
    match fate {
        Fate::Keep => own,
        Fate::Reset | Fate::Delete => own.min(DELETE_GRACE),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DEFAULT: Duration = Duration::from_secs(30);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn h17_guests_time_begins_once_and_only_gets_shorter() {
        let start = Instant::now();
        let mut clock = StopClock::default();
        assert_eq!(clock.state(start), Stop::NotAsked);
        clock.wanted(start, DEFAULT);
        assert_eq!(clock.left(after(start, 10)), Duration::from_secs(20));
        assert!(!clock.is_overdue(after(start, 34)) && clock.is_overdue(after(start, 35)));
        clock.requested(after(start, 10));
        clock.wanted(after(start, 10), DEFAULT);
        assert_eq!(clock.state(after(start, 34)), Stop::Asked);
        assert_eq!(clock.state(after(start, 35)), Stop::Overdue);
        // A shorter grace period is requested.
        clock.wanted(after(start, 12), Duration::ZERO);
        assert_eq!(
            clock.state(after(start, 12)),
            Stop::NotAsked,
            "the request is sent again"
        );
        clock.requested(after(start, 12));
        assert_eq!(clock.state(after(start, 12)), Stop::Asked);
        assert_eq!(
            clock.until_overdue(after(start, 12)),
            Some(OVERDUE),
            "the actor wakes for it"
        );
        assert_eq!(clock.state(after(start, 17)), Stop::Overdue);
        assert_eq!(clock.until_overdue(after(start, 17)), None);
        // The stop is over, and the next one has its own time.
        clock.not_wanted();
        assert!(clock.take_requested());
        clock.wanted(after(start, 60), DEFAULT);
        assert_eq!(clock.left(after(start, 60)), DEFAULT);
    }

    #[test]
    fn h52_grace_period_beyond_the_range_of_the_clock_ends_after_a_day() {
        let start = Instant::now();
        let mut clock = StopClock::default();
        clock.wanted(start, Duration::MAX);
        assert_eq!(clock.left(start), api::lima::MAX_GRACE_PERIOD);
        clock.requested(start);
        assert_eq!(clock.state(start), Stop::Asked);
    }

    #[test]
    fn grace_period_is_that_of_annotation_deletion_spec_or_default_in_this_order() {
        let vm = |annotation: Option<&str>, deletion: Option<i64>, spec: Option<&str>| -> LimaVM {
            let mut vm: LimaVM = serde_json::from_value(json!({
                "apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM", "metadata": { "name": "a" },
                "spec": { "templateRef": { "name": "t" }, "stop": { "gracePeriod": spec } },
            }))
            .unwrap();
            vm.metadata.deletion_grace_period_seconds = deletion;
            vm.metadata.annotations = annotation
                .map(|value| [(api::lima::STOP_GRACE_PERIOD.to_owned(), value.to_owned())].into());
            vm
        };
        let cases = [
            (vm(None, None, None), Fate::Keep, 30),
            (vm(None, None, Some("5m")), Fate::Keep, 300),
            (vm(None, Some(0), Some("5m")), Fate::Keep, 300),
            (vm(None, Some(7), Some("5m")), Fate::Delete, 7),
            (vm(Some("0s"), Some(7), Some("5m")), Fate::Delete, 0),
            (vm(Some("1m"), None, None), Fate::Delete, 60),
            (vm(Some("soon"), None, Some("20s")), Fate::Keep, 20),
            (vm(None, Some(0), Some("5m")), Fate::Delete, 10),
            (vm(None, None, Some("3s")), Fate::Reset, 3),
            // Longer than a day, and longer than any clock can tell.
            (
                vm(None, None, Some("99999999999999999999999s")),
                Fate::Keep,
                30,
            ),
            (vm(None, Some(i64::MAX), None), Fate::Delete, 86400),
        ];
        for (vm, fate, expected) in cases {
            let grace = grace(&vm, fate, RunState::Running, DEFAULT);
            assert_eq!(grace, Duration::from_secs(expected), "{:?}", vm.metadata);
        }
    }
}
