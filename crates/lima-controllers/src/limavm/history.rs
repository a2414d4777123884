//! What users are shown of a VM's past: the phases of its last start and stop, its last failure, and events.

use api::LimaVMStatus;
use api::lima::{PhaseStatus, condition, phase, reason};
use controller_kit::recorder::{Recorder, Severity};
use hostagent::status::{Info, Stage};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::phases;

/// The number of different notes of one VM that are recorded; a hostagent has two or three.
const MAX_NOTES: usize = 16;

/// The history of one VM.
pub(super) struct History {
    recorder: Recorder,
    object: ObjectReference,
    /// How far the current run has come, or how far the last one came.
    phases: Vec<PhaseStatus>,
    /// The last failure, of whatever kind.
    failure: Option<String>,
    /// The notes that were recorded.
    notes: Vec<String>,
    /// The decoding problems that were recorded.
    problems: Option<String>,
}

impl History {
    pub(super) fn new(
        recorder: Recorder,
        object: ObjectReference,
        phases: Vec<PhaseStatus>,
        failure: Option<String>,
    ) -> History {
        History {
            recorder,
            object,
            phases,
            failure,
            notes: Vec::new(),
            problems: None,
        }
    }

    pub(super) fn phases(&self) -> &[PhaseStatus] {
        &self.phases
    }

    pub(super) fn failure(&self) -> Option<&String> {
        self.failure.as_ref()
    }

    /// Records a failure, for `status.lastError`.
    pub(super) fn failed(&mut self, message: String) {
        self.failure = Some(message);
    }

    /// Replaces the phases by those that the hostagent has measured, if there are any.
    pub(super) fn measured(&mut self, stages: &[Stage]) {
        if !stages.is_empty() {
            self.phases = phases::of_stages(stages);
        }
    }

    /// The creation of the files begins.
    pub(super) fn creating(&mut self) {
        self.phases = vec![phases::begun(phase::CREATING, Timestamp::now())];
    }

    /// A new run begins.
    pub(super) fn new_run(&mut self) {
        self.phases.clear();
    }

    /// Whether a phase has not ended.
    pub(super) fn has_open_phase(&self) -> bool {
        self.phases.iter().any(|phase| phase.duration.is_none())
    }

    /// Ends the open phases.
    pub(super) fn end_phases(&mut self) {
        phases::end(&mut self.phases, Timestamp::now());
    }

    /// Records an event of the VM.
    pub(super) fn event(&self, severity: Severity, reason: &str, message: &str) {
        self.recorder
            .record(self.object.clone(), severity, reason, message);
    }

    /// Records the hostagent's notes: once for each VM, not at each start.
    pub(super) fn notes(&mut self, info: &Info) {
        let slow = info
            .accelerator_warning
            .iter()
            .map(|warning| (Severity::Warning, "Emulated", warning));
        let notes = info
            .notes
            .iter()
            .map(|note| (Severity::Normal, "Note", note));
        for (severity, reason, text) in slow.chain(notes) {
            if self.notes.len() < MAX_NOTES && !self.notes.contains(text) {
                self.notes.push(text.clone());
                self.event(severity, reason, text);
            }
        }
    }

    /// Records the fields of the object that could not be decoded, when they change.
    pub(super) fn decoding_problems(&mut self, problems: Option<&String>) {
        if self.problems.as_ref() == problems {
            return;
        }
        self.problems = problems.cloned();
        if let Some(problems) = problems {
            let message = format!("fields of this object do not fit its type: {problems}");
            tracing::warn!(vm = self.object.name, "{message}");
            self.event(Severity::Warning, "Undecodable", &message);
            self.failure = Some(message);
        }
    }

    /// Records an event for each phase that has begun and for each condition whose reason has changed. Phases keep their
    /// own time, because they can have begun while no controller ran.
    pub(super) fn status_changed(&self, old: &LimaVMStatus, new: &LimaVMStatus) {
        for (at, reason, message) in phases::news(&old.phases, &new.phases) {
            let object = self.object.clone();
            self.recorder
                .record_at(at, object, Severity::Normal, reason, &message);
        }
        for (severity, reason, message) in changes(&old.conditions, &new.conditions) {
            tracing::info!(vm = self.object.name, reason, "{message}");
            self.event(severity, reason, message);
        }
    }
}

/// The events that tell how `new` differs from `old`.
fn changes<'a>(old: &[Condition], new: &'a [Condition]) -> Vec<(Severity, &'a str, &'a str)> {
    let find = |conditions: &[Condition], kind: &str| {
        let mut found = conditions.iter();
        found.find(|condition| condition.type_ == kind).cloned()
    };
    let mut changes: Vec<(Severity, &str, &str)> = new
        .iter()
        .filter(|condition| condition.reason != reason::PENDING)
        .filter(|condition| {
            let before = find(old, &condition.type_);
            before.is_none_or(|before| before.reason != condition.reason)
        })
        .map(|condition| {
            let failed = condition.reason.ends_with("Failed");
            let degraded = condition.type_ == condition::DEGRADED;
            let severity = if failed || degraded {
                Severity::Warning
            } else {
                Severity::Normal
            };
            (
                severity,
                condition.reason.as_str(),
                condition.message.as_str(),
            )
        })
        .collect();
    let running = new
        .iter()
        .find(|condition| condition.type_ == condition::RUNNING);
    let recovered =
        find(old, condition::DEGRADED).is_some() && find(new, condition::DEGRADED).is_none();
    if let Some(running) = running.filter(|running| recovered && running.status == "True") {
        changes.push((Severity::Normal, "Recovered", &running.message));
    }
    changes
}
