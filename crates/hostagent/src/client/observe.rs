//! Looking at one VM from outside: plain data, taken from the lock, the sockets and the hostagent's own answer.

use driver::qemu::Qemu;
use driver::{Driver, MachineFiles, MachineState};
use lima::layout::InstanceDir;
use process::Identity;
use process::lock::{Holder, holder};

use super::Client;
use crate::status::Info;

/// Everything that can be seen of one VM from outside. Plain data, so that deciding on it is a pure function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The hostagent, by the lock that it holds for life.
    pub agent: AgentState,
    /// The VM's process: what the hostagent says when it answers, else who listens on its control socket.
    pub machine: MachineState,
    /// What the hostagent says; absent when there is none or it does not answer.
    pub info: Option<Info>,
}

/// The hostagent of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentState {
    /// Nobody holds the lock: no hostagent lives.
    Absent,
    /// Somebody holds the lock.
    Alive {
        /// Who, as the holder wrote into the lock file. Only to be acted upon through [`super::kill`], which checks it.
        identity: Option<Identity>,
        /// Why it did not answer on `ha.sock`, if it did not: starting, hung, or not one of ours.
        silent: Option<String>,
    },
    /// The lock could not be tried.
    Unknown {
        /// What was tried and why it failed.
        reason: String,
    },
}

impl AgentState {
    /// Whether a hostagent may be alive: everything but a proof that none is.
    pub fn may_live(&self) -> bool {
        !matches!(self, AgentState::Absent)
    }
}

/// Looks at the VM in `dir` without disturbing it, within [`super::REQUEST_DEADLINE`] and a little. Never fails: what
/// cannot be seen is `Unknown`.
pub async fn observe(dir: &InstanceDir) -> Observation {
    let identity = match holder(&dir.ha_lock()) {
        Ok(Holder::Free) => {
            return Observation {
                agent: AgentState::Absent,
                machine: machine(dir).await,
                info: None,
            };
        }
        Ok(Holder::Held(info)) => info.map(|info| info.identity),
        Err(error) => {
            let agent = AgentState::Unknown {
                reason: error.to_string(),
            };
            return Observation {
                agent,
                machine: machine(dir).await,
                info: None,
            };
        }
    };
    let answer = match Client::connect(dir).await {
        Ok(client) => client.info().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(info) => Observation {
            agent: AgentState::Alive {
                identity: Some(info.hostagent.clone()),
                silent: None,
            },
            machine: match &info.qemu {
                Some(identity) => MachineState::Alive {
                    identity: identity.clone(),
                },
                None => MachineState::Absent,
            },
            info: Some(info),
        },
        // QEMU's control socket is not looked at: its one place belongs to the hostagent, hung or starting.
        Err(error) => Observation {
            agent: AgentState::Alive {
                identity,
                silent: Some(error.to_string()),
            },
            machine: MachineState::Unknown {
                reason: "its hostagent is alive and does not answer".into(),
            },
            info: None,
        },
    }
}

async fn machine(dir: &InstanceDir) -> MachineState {
    driver_of(dir).observe(&MachineFiles::of(dir)).await
}

/// A driver that is only used to look and to destroy: it needs to find no program.
pub(super) fn driver_of(dir: &InstanceDir) -> Qemu {
    Qemu::new("", dir.path())
}
