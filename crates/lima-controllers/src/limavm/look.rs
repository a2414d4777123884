//! What is seen of a VM from outside, in the words that deciding needs.

use std::time::Duration;

use driver::MachineState;
use hostagent::client::{AgentState, Observation};
use hostagent::status::{Info, Phase};
use process::{Identity, Process};

use super::plan::{Agent, Machine};

/// The hostagent, as the plan knows it. `starting`: one that was started just now, and may not hold its lock yet.
pub(crate) fn agent(observation: &Observation, starting: bool) -> Agent {
    match (&observation.agent, &observation.info) {
        (AgentState::Absent, _) if starting => Agent::Silent,
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

/// The machine, as the plan knows it.
pub(crate) fn machine(observation: &Observation) -> Machine {
    match observation.machine {
        MachineState::Absent => Machine::Absent,
        MachineState::Alive { .. } => Machine::Alive,
        MachineState::Unknown { .. } => Machine::Unknown,
    }
}

/// Why something cannot be told.
pub(crate) fn unknown(observation: &Observation) -> Option<String> {
    match (&observation.agent, &observation.machine) {
        (AgentState::Unknown { reason }, _) => Some(reason.clone()),
        (_, MachineState::Unknown { reason }) => Some(reason.clone()),
        _ => None,
    }
}

/// Whether a process that was started is still there. One that cannot be looked at is taken for alive.
pub(crate) fn is_alive(identity: &Identity) -> bool {
    match Process::open(identity) {
        Ok(None) => false,
        Ok(Some(process)) => process.is_running(),
        Err(_) => true,
    }
}

/// In the message of a VM that is up, before what is wrong with it. Who was told of it last is seen by it.
pub(crate) const DEGRADED: &str = "; Degraded: ";

/// What a user should know of a VM that is up.
pub(crate) fn note(info: &Info) -> String {
    let mut note = format!("ssh listens on 127.0.0.1:{}", info.ssh_local_port);
    if info.phase == Phase::Degraded {
        note.push_str(DEGRADED);
        note.push_str(
            info.errors
                .last()
                .map_or("the user cannot log in", String::as_str),
        );
    }
    note
}

/// How soon a hostagent that does not answer is looked at again: often at first, as it is most likely just starting.
pub(crate) fn again_after(silent: Duration) -> Duration {
    match silent.as_millis() {
        0..1_000 => Duration::from_millis(20),
        1_000..5_000 => Duration::from_millis(100),
        _ => Duration::from_millis(500),
    }
}
