//! Observing a VM from outside, and collecting what planning and reporting need.

use std::time::Instant;

use hostagent::client::{AgentState, Observation, observe};
use hostagent::status::Info;

use super::files::{self, Place, Resolved};
use super::history::History;
use super::look;
use super::own_template::OwnTemplate;
use super::plan::{Agent, Desired, Fate, Files, Job, Machine, Observed};
use super::run::Run;
use super::status::Known;
use super::stopping::wants_up;
use super::work::Work;

/// The files and processes of a VM at one moment.
pub(super) struct Look {
    pub(super) files: Files,
    pub(super) agent: Agent,
    pub(super) machine: Machine,
    observation: Option<Observation>,
}

impl Look {
    /// What the hostagent reports, if it answers.
    pub(super) fn info(&self) -> Option<&Info> {
        self.observation.as_ref()?.info.as_ref()
    }
}

/// What planning and reporting need.
pub(super) struct Seen {
    pub(super) observed: Observed,
    pub(super) known: Known,
}

/// The parts of an actor that [`seen`] reads.
pub(super) struct Parts<'a> {
    pub(super) place: &'a Place,
    pub(super) template: &'a OwnTemplate,
    pub(super) work: &'a Work,
    pub(super) run: &'a Run,
    pub(super) history: &'a History,
    /// Why the VM cannot be managed.
    pub(super) blocked: Option<&'a String>,
    /// The VM has its name and its folder.
    pub(super) accepted: bool,
}

/// Looks at files and processes. `is_starting`: a hostagent was started just now and may not hold its lock yet.
pub(super) async fn look(
    place: &Place,
    accepted: bool,
    wanted: Option<&Resolved>,
    is_starting: impl FnOnce() -> bool,
) -> Look {
    let files = files::state(&place.dir, accepted, wanted);
    let observation = match files {
        Files::Current | Files::Outdated => Some(observe(&place.dir).await),
        Files::Absent | Files::Foreign => None,
    };
    let agent = observation
        .as_ref()
        .map_or(Agent::Absent, |seen| look::agent(seen, is_starting));
    let machine = observation.as_ref().map_or(Machine::Absent, look::machine);
    Look {
        files,
        agent,
        machine,
        observation,
    }
}

/// Combines a look with what the actor knows.
pub(super) fn seen(look: Look, parts: &Parts<'_>, desired: &Desired, now: Instant) -> Seen {
    let Parts { work, run, .. } = parts;
    let (agent, machine) = (look.agent, look.machine);
    let hopeless = run.is_hopeless(agent, machine, desired.leaving, now);
    // The back-off of the step that the plan takes next: a start, or work on the files.
    let asks_next = machine == Machine::Alive && !hopeless;
    let starts_next = look.files == Files::Current
        && agent == Agent::Absent
        && desired.fate == Fate::Keep
        && (asks_next || wants_up(desired, look.files));
    let left = if starts_next {
        run.start_left(now)
    } else {
        work.left(now)
    };
    let observed = Observed {
        files: look.files,
        remains: parts.accepted && files::remains(parts.place),
        agent,
        machine,
        stop: run.stop_state(now),
        job: work.job(),
        held_back: left.is_some(),
        hopeless,
    };
    Seen {
        observed,
        known: known(look.observation, parts),
    }
}

fn known(observation: Option<Observation>, parts: &Parts<'_>) -> Known {
    let Parts {
        template,
        work,
        run,
        history,
        ..
    } = parts;
    let info = observation.as_ref().and_then(|seen| seen.info.as_ref());
    let failures = work.failures().clone();
    Known {
        // It also states that the VM has its name and its folder, so it is not set before.
        template_config_map: template.config_map().filter(|_| parts.accepted),
        template_resource_version: template.resource_version(),
        files_failure: parts
            .blocked
            .cloned()
            .or_else(|| template.copy_failure().cloned())
            .or(failures.files)
            .or_else(|| template.problem()),
        progress: work.progress(),
        ended: run.ended().cloned(),
        stop_failure: failures.stop,
        delete_failure: failures.delete,
        running_note: info.map(look::note).unwrap_or_default(),
        degraded: info.and_then(look::degraded),
        unknown: observation.as_ref().and_then(look::unknown),
        started_agent: run.has_started(),
        asked_to_stop: run.is_stop_requested() || work.job() == Some(Job::Kill),
        observation,
        phases: history.phases().to_vec(),
        failure: history.failure().cloned(),
    }
}

/// The processes of the VM that are alive, for people.
pub(super) fn processes(known: &Known) -> Vec<String> {
    let seen = known.observation.as_ref();
    let mut processes = Vec::new();
    if let Some(AgentState::Alive {
        identity: Some(identity),
        ..
    }) = seen.map(|seen| &seen.agent)
    {
        processes.push(format!("its hostagent, process {}", identity.pid()));
    }
    if let Some(driver::MachineState::Alive { identity }) = seen.map(|seen| &seen.machine) {
        processes.push(format!("its machine, process {}", identity.pid()));
    }
    processes
}
