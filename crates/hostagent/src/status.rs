//! What a hostagent reports about its VM: its phase, the answer of `GET /v1/info`, and Lima's events.
//!
//! The names of the fields of [`Event`], [`LimaStatus`] and `Info::ssh_local_port` are Lima's (`pkg/hostagent/events`,
//! `pkg/hostagent/api`), so that Lima's tools can read them; the other fields of [`Info`] are rdd's own.

use driver::{Accelerator, RunStatus};
use process::Identity;
use serde::{Deserialize, Serialize};

/// The phase of a VM's life. `supervisor.rs` has the diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The hostagent prepares the files and looks for a VM that is already running.
    Preparing,
    /// The VM runs, but its user cannot log in yet.
    Booting,
    /// The user can log in.
    Running,
    /// The VM runs with a trouble: the last login failed, the guest is frozen, a provision script failed, …
    Degraded,
    /// A stop was requested.
    Stopping,
    /// The VM is gone; the hostagent cleans up and exits.
    Exiting,
}

/// A stage of a VM's life. The stages come in this order; one that did not happen is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageName {
    /// Template, disks, cidata, ssh keys and port: until QEMU is started.
    Preparing,
    /// From QEMU's start until it answers on its control socket; includes the probe of the accelerator, if it runs.
    Starting,
    /// Firmware and kernel: until the agent's first message, or until the login in a guest without an agent.
    Booting,
    /// From the agent's first message until it reports that sshd listens.
    Services,
    /// Until the user's first login works.
    Login,
    /// A new hostagent found the VM running and adopted it.
    Adopting,
    /// From the request to stop until the VM is gone.
    Stopping,
}

/// How long a stage of a VM's life took; a controller shows it as `status.phases`.
///
/// There is at most one stage of each name. A guest that reboots starts again with `Booting`; a guest that is adopted
/// keeps the stages that its earlier hostagent measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Which stage.
    pub name: StageName,
    /// When it began, in milliseconds since 1970.
    pub started_at_millis: u64,
    /// How long it took, in milliseconds of the monotonic clock; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
}

/// What the agent inside the guest reported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuestStatus {
    /// The guest agent is connected.
    pub connected: bool,
    /// The agent reported that sshd listens.
    pub ready: bool,
    /// The agent reported that the provision scripts have ended.
    pub provisioned: bool,
    /// The guest kernel's boot id: a new one means that the guest rebooted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// The answer of `GET /v1/info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The port of 127.0.0.1 that leads to the guest's sshd; 0 until it is chosen. Lima's field.
    pub ssh_local_port: u16,
    /// The instance's name.
    pub name: String,
    /// The phase of the VM's life.
    pub phase: Phase,
    /// What is wrong; empty if nothing is.
    #[serde(default)]
    pub errors: Vec<String>,
    /// The hostagent's own process.
    pub hostagent: Identity,
    /// When the hostagent started, in seconds since 1970.
    #[serde(default)]
    pub hostagent_started_at: Option<u64>,
    /// The VM's process, once it runs.
    #[serde(default)]
    pub qemu: Option<Identity>,
    /// Whether the guest executes, as the VM's process reported last.
    #[serde(default)]
    pub run_status: Option<RunStatus>,
    /// Whether this hostagent adopted a VM that was already running.
    pub adopted: bool,
    /// Where the guest's instructions run.
    #[serde(default)]
    pub accelerator: Option<Accelerator>,
    /// Why the guest does not run on the hardware, if that was tried.
    #[serde(default)]
    pub accelerator_warning: Option<String>,
    /// When the VM was started, in seconds since 1970; an adopted VM keeps its own.
    #[serde(default)]
    pub started_at: Option<u64>,
    /// When the user could log in for the first time since the guest started, in seconds since 1970.
    #[serde(default)]
    pub ready_at: Option<u64>,
    /// How often the guest booted while its process ran: 1, and one more for each reboot from inside.
    pub boot_count: u32,
    /// What the agent inside the guest reported.
    #[serde(default)]
    pub guest: GuestStatus,
    /// The stages so far, in the order in which they began.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// What the user should know although nothing is wrong, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How the VM's run ended; absent until the phase is `Exiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// How the run of a VM, or of its hostagent, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The VM was stopped on request.
    Stopped,
    /// The guest powered itself off, for example by `poweroff` in a shell.
    GuestPoweredOff,
    /// The VM's process ended in another way: it crashed, or was killed, or the guest's kernel panicked.
    MachineEnded,
    /// The hostagent exited on request, and the VM runs on.
    Detached,
    /// The hostagent failed: the VM could not be started, or could not be proved gone.
    Failed,
}

/// Lima's status, as in its events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimaStatus {
    /// The user can log in, or could.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub running: bool,
    /// Something does not work; `running` is true as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// The VM is ending or has ended; `running` is false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exiting: bool,
    /// What went wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// The port of 127.0.0.1 that leads to the guest's sshd.
    #[serde(rename = "sshLocalPort", skip_serializing_if = "Option::is_none")]
    pub ssh_local_port: Option<u16>,
}

/// One line of `ha.stdout.log` and of `GET /v1/events`: Lima's fields, and the phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in RFC 3339.
    pub time: String,
    /// Lima's status.
    pub status: LimaStatus,
    /// The phase; absent in events that Lima wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What caused the event, as "the guest powered itself off".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// As [`Info::ended`], so that it is known after the hostagent has exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// As [`Info::stages`], so that they are known after the hostagent has exited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
}

impl LimaStatus {
    /// Lima's view of a phase.
    pub fn of(phase: Phase, errors: &[String], ssh_local_port: u16) -> LimaStatus {
        LimaStatus {
            running: matches!(phase, Phase::Running | Phase::Degraded),
            degraded: phase == Phase::Degraded,
            exiting: matches!(phase, Phase::Stopping | Phase::Exiting),
            errors: errors.to_vec(),
            ssh_local_port: (ssh_local_port != 0).then_some(ssh_local_port),
        }
    }
}
