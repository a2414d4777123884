//! Observing one VM from outside: plain data from the lock, the sockets and the hostagent's own answer.

use std::sync::Arc;

use driver::{Driver, Host, MachineState};
use lima::layout::InstanceDir;
use process::Identity;
use process::lock::{Holder, holder};

use super::Client;
use crate::status::Info;

/// Everything that can be observed of one VM from outside. Plain data, so that decisions on it are pure functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The hostagent, by the lock that it holds for its whole life.
    pub agent: AgentState,
    /// The VM's process: as the hostagent reports it, or as its driver observes it if there is no hostagent.
    pub machine: MachineState,
    /// The hostagent's answer; absent if there is no hostagent or it does not answer.
    pub info: Option<Info>,
}

/// The hostagent of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentState {
    /// No process holds the lock, so no hostagent lives.
    Absent,
    /// A process holds the lock.
    Alive {
        /// The holder, as it wrote itself into the lock file. To act on it, use [`super::kill`], which verifies it.
        identity: Option<Identity>,
        /// Why it did not answer on `ha.sock`, if it did not: it is starting, hangs, or is another program.
        silent: Option<String>,
    },
    /// The lock could not be tried.
    Unknown {
        /// What was tried and why it failed.
        reason: String,
    },
}

impl AgentState {
    /// Returns whether a hostagent may be alive, which is false only if it is proved that none is.
    pub fn may_live(&self) -> bool {
        !matches!(self, AgentState::Absent)
    }
}

/// Observes the VM in `dir` without disturbing it, within a little more than [`super::REQUEST_DEADLINE`]. Never fails: what
/// cannot be read is `Unknown`.
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
        // The VM's process is not asked: its control socket serves one client, and a hostagent that hangs or is starting
        // may be that client.
        Err(error) => Observation {
            agent: AgentState::Alive {
                identity,
                silent: Some(error.to_string()),
            },
            machine: MachineState::Unknown {
                reason: "its hostagent is alive, but does not answer".into(),
            },
            info: None,
        },
    }
}

async fn machine(dir: &InstanceDir) -> MachineState {
    driver_of(dir).observe(dir).await
}

/// The driver of the VM in `dir`, to observe and to destroy the VM.
pub(super) fn driver_of(dir: &InstanceDir) -> Arc<dyn Driver> {
    let host = Host {
        // Without a search path the system's own is used; QEMU's driver needs no program to observe a VM.
        search_path: std::ffi::OsString::new(),
        cache_dir: dir.path().to_owned(),
    };
    driver::for_instance(dir, &host)
}
