//! How long a stop may take, and how far it has come.
//!
//! ```text
//! stop wanted ──── grace ────▶ machine switched off ── OVERDUE ──▶ killed ── KILL_LIMIT ──▶ gone: grace + 10 s at most
//! ```
//! The guest's time begins when the stop is first wanted and only ever gets shorter: who is impatient later is obeyed at
//! once, and no look, no hostagent that has to be started first and no repetition of the request makes it longer.

use std::time::{Duration, Instant};

use api::LimaVM;

use super::actor::{API_RETRY, Actor};
use super::plan::{Desired, Fate, Files, Stop};
use controller_kit::RunState;

/// After its grace a guest's machine is switched off and its hostagent exits; what is not gone this long after the
/// grace is killed. With [`super::files::KILL_LIMIT`] it fits into the 10 s that hazard 17 allows.
pub(super) const OVERDUE: Duration = Duration::from_secs(5);
/// For a VM whose disk is about to be deleted: enough for a guest to write back what it has mounted from the host.
const DELETE_GRACE: Duration = Duration::from_secs(10);

/// Whether the VM should run, as it is: nothing has to be stopped.
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
    /// When it is over, as it is wanted now.
    by: Option<Instant>,
    /// When it is over, as the hostagent was told last.
    told: Option<Instant>,
}

impl StopClock {
    /// A stop is wanted, and the guest may take `grace` from now, unless it has less time already.
    pub(super) fn wanted(&mut self, now: Instant, grace: Duration) {
        let by = now + grace;
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

    /// The hostagent was told how much is left.
    pub(super) fn told(&mut self, now: Instant) {
        self.told = Some(now + self.left(now));
    }

    /// The hostagent that was told is gone; whether there was one.
    pub(super) fn take_told(&mut self) -> bool {
        self.told.take().is_some()
    }

    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// How far the stop has come.
    pub(super) fn state(&self, now: Instant) -> Stop {
        match (self.told, self.by) {
            (None, _) => Stop::NotAsked,
            _ if self.is_overdue(now) => Stop::Overdue,
            // It has been told another time: it is told again. The difference is more than that between two looks.
            (Some(told), Some(by)) if by + API_RETRY < told => Stop::NotAsked,
            (Some(told), None) if now >= told + OVERDUE => Stop::Overdue,
            (Some(_), _) => Stop::Asked,
        }
    }

    /// Everything should be gone by now.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.by.is_some_and(|by| now >= by + OVERDUE)
    }

    /// How long until it is overdue, if that is still to come.
    pub(super) fn until_overdue(&self, now: Instant) -> Option<Duration> {
        let overdue = self.by.or(self.told)? + OVERDUE;
        overdue
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }
}

impl Actor {
    /// How long the guest may take to shut down: the annotation's word for this one stop, else that of who deletes the
    /// VM, else the VM's own, else the default.
    pub(super) fn grace(&self, vm: &LimaVM, desired: &Desired, state: RunState) -> Duration {
        match state {
            RunState::Stopping { deadline } => {
                // All VMs share the deadline, so it is also what a VM has that does not say.
                let left = deadline.saturating_duration_since(Instant::now());
                grace(vm, desired.fate, left).min(left)
            }
            RunState::Running | RunState::Detaching => {
                grace(vm, desired.fate, self.shared.config.stop_grace)
            }
        }
    }
}

fn grace(vm: &LimaVM, fate: Fate, default: Duration) -> Duration {
    // API servers write 0 for every object whose kind has no grace period of its own, so that is nobody's wish.
    let of_deletion = vm
        .metadata
        .deletion_grace_period_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs);
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
    fn h17_the_guests_time_begins_once_and_only_gets_shorter() {
        let start = Instant::now();
        let mut clock = StopClock::default();
        assert_eq!(clock.state(start), Stop::NotAsked);
        clock.wanted(start, DEFAULT);
        assert_eq!(clock.left(after(start, 10)), Duration::from_secs(20));
        assert!(!clock.is_overdue(after(start, 34)) && clock.is_overdue(after(start, 35)));
        clock.told(after(start, 10));
        clock.wanted(after(start, 10), DEFAULT);
        assert_eq!(clock.state(after(start, 34)), Stop::Asked);
        assert_eq!(clock.state(after(start, 35)), Stop::Overdue);
        // Somebody is in a hurry.
        clock.wanted(after(start, 12), Duration::ZERO);
        assert_eq!(clock.state(after(start, 12)), Stop::NotAsked, "it is told");
        clock.told(after(start, 12));
        assert_eq!(clock.state(after(start, 12)), Stop::Asked);
        assert_eq!(
            clock.until_overdue(after(start, 12)),
            Some(OVERDUE),
            "the actor wakes for it"
        );
        assert_eq!(clock.state(after(start, 17)), Stop::Overdue);
        assert_eq!(clock.until_overdue(after(start, 17)), None);
        // It is over, and the next one has its own time.
        clock.not_wanted();
        assert!(clock.take_told());
        clock.wanted(after(start, 60), DEFAULT);
        assert_eq!(clock.left(after(start, 60)), DEFAULT);
    }

    #[test]
    fn the_annotation_wins_then_the_deletion_then_the_spec_then_the_default() {
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
        ];
        for (vm, fate, expected) in cases {
            let grace = grace(&vm, fate, DEFAULT);
            assert_eq!(grace, Duration::from_secs(expected), "{:?}", vm.metadata);
        }
    }
}
