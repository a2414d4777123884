//! Derives the status from an observation. Pure: the same observation always gives the same status, so nothing is written
//! unless something has changed (hazard 27).

use api::LimaVMStatus;
use api::lima::{PhaseStatus, ProcessStatus, condition, reason};
use driver::MachineState;
use hostagent::client::{AgentState, Observation};
use hostagent::status::{Info, Phase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use process::Identity;

use super::phases;
use super::plan::{Agent, Desired, Fate, Files, Job, Machine, Observed, lives};

/// The limit for the message of a condition, in bytes. Kubernetes allows 32 KiB, but people read the first lines.
const MAX_MESSAGE: usize = 4096;

/// What is known beside the facts of [`Observed`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The VM's template ConfigMap, once it exists.
    pub(crate) template_config_map: Option<String>,
    /// The resourceVersion of the ConfigMap that `Observed::files` was compared with.
    pub(crate) template_resource_version: Option<String>,
    /// Why there are no files, or why they are not as they should be.
    pub(crate) files_failure: Option<String>,
    /// How far the preparation is.
    pub(crate) progress: Option<String>,
    /// How the last run of the VM ended, if it was not asked to.
    pub(crate) ended: Option<Ended>,
    /// Why it could not be stopped.
    pub(crate) stop_failure: Option<String>,
    /// Why it could not be deleted.
    pub(crate) delete_failure: Option<String>,
    /// What a user should know of the running VM: its port, what is degraded.
    pub(crate) running_note: String,
    /// Why the running VM is degraded.
    pub(crate) degraded: Option<String>,
    /// Why the state of hostagent or machine is unknown.
    pub(crate) unknown: Option<String>,
    /// This controller started the hostagent that does not answer yet.
    pub(crate) started_agent: bool,
    /// The hostagent was asked to stop, or is being killed. It stops answering before it is gone.
    pub(crate) asked_to_stop: bool,
    /// The observation, with PIDs and ports.
    pub(crate) observation: Option<Observation>,
    /// How far the current run has come, or how far the last one came.
    pub(crate) phases: Vec<PhaseStatus>,
    /// The last failure, of whatever kind.
    pub(crate) failure: Option<String>,
}

/// How a run ended that was not asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The guest powered itself off, which is no failure.
    pub(crate) powered_off: bool,
    /// The cause as far as it is known, and when the VM starts again.
    pub(crate) message: String,
}

impl Known {
    /// What the hostagent reports, if it answers.
    pub(crate) fn info(&self) -> Option<&Info> {
        self.observation.as_ref()?.info.as_ref()
    }
}

/// Status, reason and message of a condition.
type Verdict = (&'static str, &'static str, String);

/// The status that follows from `desired` and `observed`, where the last one was `old`.
pub(crate) fn status(
    old: &LimaVMStatus,
    generation: Option<i64>,
    now: Timestamp,
    desired: &Desired,
    observed: &Observed,
    known: &Known,
) -> LimaVMStatus {
    let mut new = old.clone();
    new.template_config_map = known
        .template_config_map
        .clone()
        .or(new.template_config_map);
    new.restart_needed = desired.restart || (observed.files == Files::Outdated && lives(observed));
    new.reset_needed = desired.fate == Fate::Reset;
    if in_effect(desired, observed) {
        new.observed_template_resource_version = known
            .template_resource_version
            .clone()
            .or(new.observed_template_resource_version);
    }
    let mut set = |kind: &str, verdict: Option<Verdict>| match verdict {
        Some((status, reason, message)) => {
            put(
                &mut new.conditions,
                kind,
                status,
                reason,
                &message,
                generation,
                now,
            );
        }
        None => new.conditions.retain(|condition| condition.type_ != kind),
    };
    let find = |kind: &str| {
        old.conditions
            .iter()
            .find(|condition| condition.type_ == kind)
    };
    set(
        condition::CREATED,
        Some(created(find(condition::CREATED), desired, observed, known)),
    );
    let running = running(find(condition::RUNNING), desired, observed, known);
    let up = matches!(&running, Some((status, ..)) if *status == TRUE);
    if let Some(verdict) = running {
        set(condition::RUNNING, Some(verdict));
    }
    let degraded = known.degraded.as_ref().filter(|_| up);
    set(
        condition::DEGRADED,
        degraded.map(|why| (TRUE, reason::DEGRADED, why.clone())),
    );
    set(condition::DELETING, deleting(desired, known));
    new.phases = phases::merged(&old.phases, &known.phases);
    processes(&mut new, observed, known);
    if let Some(failure) = &known.failure {
        let failure = shortened(failure, api::lima::MAX_LAST_ERROR);
        if old.last_error.as_ref() != Some(&failure) {
            new.last_error = Some(failure);
            new.last_error_time = Some(Time(now));
        }
    }
    count(&mut new, now, up, observed);
    new
}

/// Counts each run of the VM that reaches Running, once. The status itself records whether the current run was counted, so
/// that a controller that starts in the middle of a run does not count it again.
fn count(status: &mut LimaVMStatus, now: Timestamp, up: bool, observed: &Observed) {
    if up && status.up_since.is_none() {
        status.restart_count = status.restart_count.saturating_add(1);
        status.up_since = Some(Time(now));
    }
    if observed.agent == Agent::Absent && observed.machine == Machine::Absent {
        status.up_since = None;
    }
}

/// Whether the difference must be written at once: a request was taken up or completed, or a condition has changed other
/// than by becoming degraded or by its message. Other differences may flap, so their writes are limited.
pub(crate) fn is_urgent(old: &LimaVMStatus, new: &LimaVMStatus) -> bool {
    let verdicts = |status: &LimaVMStatus| -> Vec<[String; 3]> {
        let conditions = status.conditions.iter();
        conditions
            .filter(|condition| condition.type_ != condition::DEGRADED)
            .map(|condition| {
                [&condition.type_, &condition.status, &condition.reason].map(String::clone)
            })
            .collect()
    };
    old.restart_needed != new.restart_needed
        || old.reset_needed != new.reset_needed
        || old.template_config_map != new.template_config_map
        || old.observed_template_resource_version != new.observed_template_resource_version
        || old.restart_count != new.restart_count
        || verdicts(old) != verdicts(new)
}

const TRUE: &str = "True";
const FALSE: &str = "False";
const UNKNOWN: &str = "Unknown";

/// Whether the template that `observed.files` was compared with is in effect: on disk, and in the running VM if it should run.
fn in_effect(desired: &Desired, observed: &Observed) -> bool {
    let settled = if desired.running {
        observed.agent == Agent::Up
    } else {
        !lives(observed)
    };
    observed.files == Files::Current
        && observed.job.is_none()
        && !desired.restart
        && desired.template
        && settled
}

fn created(
    old: Option<&Condition>,
    desired: &Desired,
    observed: &Observed,
    known: &Known,
) -> Verdict {
    if let (Some(failure), Files::Foreign | Files::Absent) = (&known.files_failure, observed.files)
    {
        // A retry is shown once it makes progress, so that the condition does not flip at each of them.
        if observed.job != Some(Job::Prepare) || known.progress.is_none() {
            return (FALSE, reason::CREATE_FAILED, failure.clone());
        }
    }
    match observed.files {
        Files::Current | Files::Outdated => match &known.files_failure {
            Some(failure) => (
                TRUE,
                reason::CREATED,
                format!("the VM's files exist, but not as they should be: {failure}"),
            ),
            None => (TRUE, reason::CREATED, "the VM's files exist".into()),
        },
        Files::Absent | Files::Foreign => {
            let message = match (observed.job, &known.progress) {
                (Some(Job::Prepare), Some(progress)) => progress.clone(),
                (Some(Job::Prepare), None) => "preparing the VM's files".into(),
                _ if desired.fate == Fate::Delete => {
                    return match old {
                        Some(old) if old.status == FALSE => {
                            (FALSE, reason::CREATE_FAILED, old.message.clone())
                        }
                        _ => (UNKNOWN, reason::PENDING, "the VM is being deleted".into()),
                    };
                }
                _ => "waiting to be prepared".into(),
            };
            (UNKNOWN, reason::PENDING, message)
        }
    }
}

fn running(
    old: Option<&Condition>,
    desired: &Desired,
    observed: &Observed,
    known: &Known,
) -> Option<Verdict> {
    if matches!(observed.files, Files::Absent | Files::Foreign) {
        return old.map(|_| (FALSE, reason::STOPPED, "the VM has no files".into()));
    }
    if let (Some(failure), true) = (&known.stop_failure, lives(observed)) {
        return Some((FALSE, reason::STOP_FAILED, failure.clone()));
    }
    let was_up = old.is_some_and(|old| old.status != FALSE);
    let verdict = match (observed.agent, observed.machine) {
        (Agent::Up | Agent::Booting | Agent::Silent, _) if known.asked_to_stop => being_stopped(),
        (Agent::Up, _) => (TRUE, reason::STARTED, known.running_note.clone()),
        (Agent::Booting, _) => (FALSE, reason::STARTING, "the VM is booting".into()),
        (Agent::Stopping, _) if ends_by_itself(known) => ending(old),
        (Agent::Stopping, _) => being_stopped(),
        (Agent::Unknown, _) | (Agent::Absent, Machine::Unknown) => {
            let why = known
                .unknown
                .clone()
                .unwrap_or_else(|| "its state cannot be seen".into());
            (UNKNOWN, reason::RECONCILING, why)
        }
        (Agent::Silent, _) if known.started_agent && !was_up => {
            (FALSE, reason::STARTING, "the hostagent is starting".into())
        }
        (Agent::Silent, _) => (
            UNKNOWN,
            reason::RECONCILING,
            "waiting for the hostagent to answer".into(),
        ),
        (Agent::Absent, Machine::Alive) => {
            let message = known
                .ended
                .as_ref()
                .map_or("adopting the running machine", |ended| {
                    ended.message.as_str()
                });
            (UNKNOWN, reason::RECONCILING, message.into())
        }
        (Agent::Absent, Machine::Absent) => at_rest(desired, observed, known),
    };
    Some(verdict)
}

/// Unknown: not True, because its user is about to be logged out, and not False, because scripts wait for False after a
/// stop, which must mean that nothing runs.
fn being_stopped() -> Verdict {
    (UNKNOWN, reason::STOPPING, "the VM is being stopped".into())
}

/// Whether the end that the hostagent reports was not asked for.
fn ends_by_itself(known: &Known) -> bool {
    let info = known.info();
    !known.asked_to_stop && info.is_some_and(|info| info.phase == Phase::Exiting)
}

/// The cause is known in a moment, when the hostagent is gone. Until then the status of the condition stays.
fn ending(old: Option<&Condition>) -> Verdict {
    let message = "the VM has ended".into();
    match old.map(|old| old.status.as_str()) {
        Some(TRUE) => (TRUE, reason::STARTED, message),
        Some(UNKNOWN) => (UNKNOWN, reason::RECONCILING, message),
        _ => (FALSE, reason::STARTING, message),
    }
}

/// The processes, for people. What cannot be observed at the moment stays as it was.
fn processes(status: &mut LimaVMStatus, observed: &Observed, known: &Known) {
    let info = known.info();
    let process = |old: &Option<ProcessStatus>, identity: &Identity, started: Option<u64>| {
        let pid = i64::from(identity.pid());
        let started = started
            .and_then(|seconds| i64::try_from(seconds).ok())
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map(Time);
        let before = old.as_ref().filter(|old| old.pid == pid);
        ProcessStatus {
            pid,
            start_time: started.or_else(|| before.and_then(|old| old.start_time.clone())),
        }
    };
    match known.observation.as_ref().map(|seen| &seen.agent) {
        Some(AgentState::Alive {
            identity: Some(identity),
            ..
        }) => {
            let started = info.and_then(|info| info.hostagent_started_at);
            status.hostagent = Some(process(&status.hostagent, identity, started));
        }
        _ if observed.agent == Agent::Absent => status.hostagent = None,
        _ => {}
    }
    match known.observation.as_ref().map(|seen| &seen.machine) {
        Some(MachineState::Alive { identity }) => {
            let started = info.and_then(|info| info.started_at);
            status.machine = Some(process(&status.machine, identity, started));
        }
        _ if observed.machine == Machine::Absent => status.machine = None,
        _ => {}
    }
    match info {
        Some(info) if info.ssh_local_port != 0 => status.ssh_local_port = Some(info.ssh_local_port),
        _ if observed.agent == Agent::Absent => status.ssh_local_port = None,
        _ => {}
    }
}

fn at_rest(desired: &Desired, observed: &Observed, known: &Known) -> Verdict {
    if !desired.running || desired.leaving || desired.fate != Fate::Keep {
        return (FALSE, reason::STOPPED, "the VM is stopped".into());
    }
    if desired.restart || observed.files == Files::Outdated {
        return (
            FALSE,
            reason::STOPPED,
            "the VM is stopped to be restarted".into(),
        );
    }
    match &known.ended {
        Some(ended) if ended.powered_off => (FALSE, reason::STOPPED, ended.message.clone()),
        Some(ended) => (FALSE, reason::START_FAILED, ended.message.clone()),
        None => (FALSE, reason::STARTING, "the VM is being started".into()),
    }
}

fn deleting(desired: &Desired, known: &Known) -> Option<Verdict> {
    (desired.fate == Fate::Delete).then(|| match &known.delete_failure {
        Some(failure) => (TRUE, reason::DELETE_FAILED, failure.clone()),
        None => (
            TRUE,
            reason::CLEANING_UP,
            "stopping the VM and deleting its files".into(),
        ),
    })
}

fn put(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) {
    let old = conditions
        .iter()
        .position(|condition| condition.type_ == kind);
    // As in Kubernetes' SetStatusCondition, this is the time of the last change of the status, not of the message.
    let since = match old.map(|index| &conditions[index]) {
        Some(old) if old.status == status => old.last_transition_time.clone(),
        _ => Time(now),
    };
    let new = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: shortened(message, MAX_MESSAGE),
        observed_generation: generation,
        last_transition_time: since,
    };
    match old {
        Some(index) => conditions[index] = new,
        None => conditions.push(new),
    }
}

/// Keeps the end of the message, where a program says why it gave up.
fn shortened(message: &str, limit: usize) -> String {
    let message = message.trim();
    if message.len() <= limit {
        return message.to_owned();
    }
    let cut = (message.len() - limit..message.len())
        .find(|&at| message.is_char_boundary(at))
        .unwrap_or(0);
    format!("…{}", &message[cut..])
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
