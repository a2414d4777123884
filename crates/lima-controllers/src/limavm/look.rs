//! Translates an observation of hostagent and machine into the terms of the plan.

use std::time::Duration;

use driver::MachineState;
use hostagent::client::{AgentState, Observation};
use hostagent::status::{Info, Phase};

use super::plan::{Agent, Machine};

/// The hostagent. `is_starting`: one was started just now and may not hold its lock yet.
pub(crate) fn agent(observation: &Observation, is_starting: impl FnOnce() -> bool) -> Agent {
    match (&observation.agent, &observation.info) {
        (AgentState::Absent, _) if is_starting() => Agent::Silent,
        (AgentState::Absent, _) => Agent::Absent,
        (AgentState::Unknown { .. }, _) => Agent::Unknown,
        (AgentState::Alive { .. }, None) => Agent::Silent,
        (AgentState::Alive { .. }, Some(info)) => match info.phase {
            Phase::Preparing | Phase::Booting => Agent::Booting,
            Phase::Running | Phase::Degraded => Agent::Up,
            Phase::Stopping | Phase::Exiting => Agent::Stopping,
        },
    }
}

/// The machine.
pub(crate) fn machine(observation: &Observation) -> Machine {
    match observation.machine {
        MachineState::Absent => Machine::Absent,
        MachineState::Alive { .. } => Machine::Alive,
        MachineState::Unknown { .. } => Machine::Unknown,
    }
}

/// Why the state of hostagent or machine is unknown.
pub(crate) fn unknown(observation: &Observation) -> Option<String> {
    match (&observation.agent, &observation.machine) {
        (AgentState::Unknown { reason }, _) => Some(reason.clone()),
        (_, MachineState::Unknown { reason }) => Some(reason.clone()),
        _ => None,
    }
}

/// What a user should know of a VM that is up.
pub(crate) fn note(info: &Info) -> String {
    let mut note = format!("ssh listens on 127.0.0.1:{}", info.ssh_local_port);
    if let Some(degraded) = degraded(info) {
        note.push_str("; Degraded: ");
        note.push_str(&degraded);
    }
    note
}

/// Why a VM that is up is degraded; `None` if it is not.
pub(crate) fn degraded(info: &Info) -> Option<String> {
    (info.phase == Phase::Degraded).then(|| {
        let error = info.errors.last().cloned();
        error.unwrap_or_else(|| "the user cannot log in".into())
    })
}

/// How long until the next look at a hostagent that does not answer: short at first, because it is probably starting.
pub(crate) fn again_after(silent: Duration) -> Duration {
    match silent.as_millis() {
        0..1_000 => Duration::from_millis(20),
        1_000..5_000 => Duration::from_millis(100),
        _ => Duration::from_millis(500),
    }
}
