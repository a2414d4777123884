//! What runs a virtual machine: one trait, [`Driver`], and QEMU behind it.
//!
//! A driver starts a machine, finds one that is already running and takes it over without touching the guest
//! ([`Driver::adopt`]), and says what it sees ([`Driver::observe`]). A running machine is a [`Machine`].
//!
//! Dropping a handle never ends a VM: it goes on, in its own session, until somebody asks it to stop. Who it is, is
//! known from the lock that it holds for life; a number read from a file is never trusted.

mod accelerator;
mod machine_spec;
pub mod qemu;
mod spec_from_template;
pub mod wsl;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use accelerator::Accelerator;
use async_trait::async_trait;
pub use machine_spec::{
    AGENT_PORT_NAME, AgentPort, Boot, Disk, Firmware, MachineFiles, MachineSpec,
};
use process::Identity;
use serde::{Deserialize, Serialize};
pub use spec_from_template::Decided;
use tokio::sync::broadcast;

/// Starts, finds and takes over machines of one kind.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The kind, as a template's `vmType` names it.
    fn name(&self) -> &'static str;

    /// Starts the machine. The caller holds the instance's lock and has seen [`MachineState::Absent`].
    ///
    /// # Errors
    /// What is missing or refused, with QEMU's last lines.
    async fn start(
        &self,
        spec: &MachineSpec,
        files: &MachineFiles,
    ) -> Result<Arc<dyn Machine>, DriverError>;

    /// Says whether a machine runs on these files, without disturbing it or its owner.
    async fn observe(&self, files: &MachineFiles) -> MachineState;

    /// Takes over a running machine without touching the guest; `None` when there is none. The caller holds the
    /// instance's lock.
    ///
    /// # Errors
    /// It runs and cannot be talked to.
    async fn adopt(&self, files: &MachineFiles) -> Result<Option<Arc<dyn Machine>>, DriverError>;

    /// Makes sure that no machine runs on these files, without asking the guest. The caller holds the instance's
    /// lock, so nobody starts another one meanwhile.
    ///
    /// # Errors
    /// It could not be proved within `limit` that it is gone.
    async fn destroy(&self, files: &MachineFiles, limit: Duration) -> Result<(), DriverError>;
}

/// A machine that runs, or ran. Dropping it leaves the machine running.
#[async_trait]
pub trait Machine: Send + Sync + fmt::Debug {
    /// The process that runs it.
    fn identity(&self) -> &Identity;

    /// What was decided when it was started.
    fn record(&self) -> &MachineRecord;

    /// Whether the guest runs, is frozen, or the machine is gone.
    ///
    /// # Errors
    /// It does not answer.
    async fn status(&self) -> Result<RunStatus, DriverError>;

    /// What happens to it from now on. [`MachineEvent::Exited`] is the last one.
    fn events(&self) -> broadcast::Receiver<MachineEvent>;

    /// Presses the ACPI power button once. A guest that is still booting loses it, so repeat it.
    ///
    /// # Errors
    /// It does not answer.
    async fn power_button(&self) -> Result<(), DriverError>;

    /// Ends the machine without asking the guest; its disks are flushed.
    ///
    /// # Errors
    /// It does not answer.
    async fn quit(&self) -> Result<(), DriverError>;

    /// Kills the process and all its descendants; gone already is a success.
    ///
    /// # Errors
    /// It is still there after `limit`.
    async fn kill(&self, limit: Duration) -> Result<(), DriverError>;

    /// Waits until the process is gone, and says how it went. Cancel it as you like.
    async fn exited(&self) -> Exit;
}

/// What an observer can say about the machine of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineState {
    /// Nothing runs.
    Absent,
    /// It runs.
    Alive {
        /// The process that holds its lock.
        identity: Identity,
    },
    /// Something may run, and could not be asked.
    Unknown {
        /// What was tried and why it failed.
        reason: String,
    },
}

/// What was decided when a machine was started; kept in the instance folder for who adopts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// Where its instructions run.
    pub accelerator: Accelerator,
    /// Why not on the hardware, when that was tried, and what its emulation lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator_warning: Option<String>,
    /// The port of 127.0.0.1 that leads to the guest's sshd.
    pub ssh_local_port: u16,
    /// When it was started, in seconds since 1970.
    pub started_at: u64,
    /// The program that runs it.
    pub program: PathBuf,
    /// The process; absent for the moment between the decision and the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// Whether a guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// The guest executes.
    Running,
    /// It is frozen, by request or because a disk of the host is full or broken.
    Frozen,
    /// It crashed in a way that the machine cannot go on from.
    Broken,
}

/// What happens to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineEvent {
    /// The machine is being ended; `guest`: by the guest itself.
    ShuttingDown {
        /// Whether the guest asked for it.
        guest: bool,
        /// The driver's word for the cause, as QEMU's `guest-shutdown`.
        reason: String,
    },
    /// The guest restarts.
    Rebooting {
        /// The driver's word for the cause.
        reason: String,
    },
    /// The guest is frozen.
    Frozen,
    /// The guest goes on.
    Resumed,
    /// The guest's kernel reported a panic.
    Panicked,
    /// A file of the host behind a disk is full or failed.
    DiskFailed {
        /// The host's error text.
        reason: String,
    },
    /// The process is gone.
    Exited(Exit),
}

/// How a machine's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Whether the guest powered itself off.
    pub guest_powered_off: bool,
    /// What is known of the cause: QEMU's reason, its exit status, its last lines.
    pub reason: String,
}

/// What a driver could not do. Every message says what was tried, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The program that runs machines is not installed.
    #[error("cannot find {program} in {search_path:?}: install {package}")]
    ProgramMissing {
        /// The program.
        program: String,
        /// Where it was looked for.
        search_path: String,
        /// What to install.
        package: String,
    },
    /// The template asks for what this driver or this host does not have.
    #[error("{field}: {reason}")]
    Unsupported {
        /// The template's field.
        field: String,
        /// Why not, and what is possible.
        reason: String,
    },
    /// A file that the machine needs cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The program could not be started.
    #[error("cannot start {}: {reason}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It ended, or never answered, right after the start.
    #[error("{} {what}{}", program.display(), tail_text(.tail))]
    StartFailed {
        /// The program.
        program: PathBuf,
        /// What happened, as "ended with exit status 1".
        what: String,
        /// The last lines it wrote.
        tail: String,
    },
    /// Another process of the same VM lives.
    #[error("a process of this VM still runs: {reason}; stop the VM, then start it again")]
    StillRuns {
        /// The lock that it holds.
        lock: PathBuf,
        /// Who holds it.
        reason: String,
    },
    /// The machine runs and does not answer.
    #[error("the VM behind {} does not answer: {reason}", socket.display())]
    NotAnswering {
        /// Its control socket.
        socket: PathBuf,
        /// What was tried and how it failed.
        reason: String,
    },
    /// The process could not be proved gone.
    #[error("the VM process {pid} is still there after {} s: {reason}", limit.as_secs())]
    NotGone {
        /// Its number, for people.
        pid: u32,
        /// The deadline that passed.
        limit: Duration,
        /// What was tried.
        reason: String,
    },
}

fn tail_text(tail: &str) -> String {
    if tail.is_empty() {
        String::new()
    } else {
        format!("; its last lines:\n{tail}")
    }
}
