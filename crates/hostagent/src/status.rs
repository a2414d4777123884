//! What a hostagent says about its VM: its phase, the answer of `GET /v1/info`, and Lima's events.
//!
//! Field names of [`Event`], [`LimaStatus`] and `Info::ssh_local_port` are Lima's (`pkg/hostagent/events`,
//! `pkg/hostagent/api`), so that its tools and users find their way; the other fields of [`Info`] are ours.

use driver::{Accelerator, RunStatus};
use process::Identity;
use serde::{Deserialize, Serialize};

/// Where a VM is in its life. `supervisor.rs` has the diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The hostagent prepares the files and looks for a VM that is already running.
    Preparing,
    /// The VM runs and its user cannot log in yet.
    Booting,
    /// The user can log in.
    Running,
    /// The VM runs, but the user could not log in when it was last tried, or not in time.
    Degraded,
    /// Somebody asked it to stop.
    Stopping,
    /// The VM is gone; the hostagent cleans up and exits.
    Exiting,
}

/// A stretch of a VM's life. They come in the order of this list; one that did not happen is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageName {
    /// Template, disks, cidata, ssh keys and port: until QEMU is started.
    Preparing,
    /// From QEMU's start until it answers on its control socket; the accelerator's probe too, when it is made.
    Starting,
    /// Firmware and kernel: until the agent inside is heard, or until the login in a guest without one.
    Booting,
    /// From the agent's first word until it says that sshd listens.
    Services,
    /// Until the user's first login works.
    Login,
    /// A hostagent came, found the VM running and took it over.
    Adopting,
    /// From the request to stop until the VM is gone.
    Stopping,
}

/// How long a stretch of a VM's life took: what a controller shows as `status.phases`.
///
/// At most one of each name. A guest that reboots begins again with `Booting`; one that is adopted keeps what its
/// earlier hostagent measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Which.
    pub name: StageName,
    /// When it began, in milliseconds since 1970.
    pub started_at_millis: u64,
    /// How long it took, in milliseconds of the steady clock; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
}

/// What the agent inside the guest said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuestStatus {
    /// The guest agent is there.
    pub connected: bool,
    /// It says that sshd is up.
    pub ready: bool,
    /// It says that the first boot's set-up is complete.
    pub provisioned: bool,
    /// The guest kernel's boot id: a new one means that the guest rebooted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

/// The answer of `GET /v1/info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Lima's field: the port of 127.0.0.1 that leads to the guest's sshd; 0 until it is chosen.
    pub ssh_local_port: u16,
    /// The instance's name.
    pub name: String,
    /// Where the VM is in its life.
    pub phase: Phase,
    /// What is wrong, newest last; empty when nothing is.
    #[serde(default)]
    pub errors: Vec<String>,
    /// The hostagent's own process.
    pub hostagent: Identity,
    /// When the hostagent started, in seconds since 1970.
    #[serde(default)]
    pub hostagent_started_at: Option<u64>,
    /// The VM's process, once there is one.
    #[serde(default)]
    pub qemu: Option<Identity>,
    /// Whether the guest executes, as the VM's process said last.
    #[serde(default)]
    pub run_status: Option<RunStatus>,
    /// Whether this hostagent took over a VM that was already running.
    pub adopted: bool,
    /// Where the guest's instructions run.
    #[serde(default)]
    pub accelerator: Option<Accelerator>,
    /// Why not on the hardware, when that was tried.
    #[serde(default)]
    pub accelerator_warning: Option<String>,
    /// When the VM was started, in seconds since 1970; an adopted VM keeps its own.
    #[serde(default)]
    pub started_at: Option<u64>,
    /// When the user could log in for the first time since the guest started, in seconds since 1970.
    #[serde(default)]
    pub ready_at: Option<u64>,
    /// How often the guest started while its process ran: 1, and one more for each reboot from inside.
    pub boot_count: u32,
    /// What the agent inside the guest said.
    #[serde(default)]
    pub guest: GuestStatus,
    /// How long each stretch took so far, in the order in which they began.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// What the user should know although nothing is wrong, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Lima's status, as its events carry it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimaStatus {
    /// The user can log in, or could.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub running: bool,
    /// Something does not work; `running` is true as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// The VM ends or has ended; `running` is false.
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
    /// Ours: the phase behind it. Absent in what Lima wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Ours: why the phase is what it is, as "the guest powered itself off".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ours: as [`Info::stages`], so that they are still known when the hostagent has gone.
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
