//! The two traits that every driver implements.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lima::instance::BootHints;
use lima::layout::InstanceDir;
use lima::template::Template;
use process::Identity;
use tokio::sync::broadcast;

use crate::accelerator::Accelerator;
use crate::error::DriverError;
use crate::machine::{Exit, MachineEvent, MachineFiles, MachineRecord, MachineState, RunStatus};

/// Starts, finds and adopts the machines of one `vmType`. One value serves all instances.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The `vmType` of templates.
    fn name(&self) -> &'static str;

    /// What the machines of this driver can do. The hostagent leaves out what they cannot.
    fn capabilities(&self) -> Capabilities;

    /// The files that the driver makes in the instance folder `dir`.
    fn files(&self, dir: &InstanceDir) -> MachineFiles;

    /// How the machine of `dir` was last started, whether or not it still runs; `None` if it never was.
    fn last_record(&self, dir: &InstanceDir) -> Option<MachineRecord>;

    /// Starts the machine. The caller holds the instance's lock and has observed [`MachineState::Absent`].
    ///
    /// Dropping the future may leave a machine that is just starting; [`Driver::destroy`] finds it.
    ///
    /// # Errors
    /// Names what is missing or refused, with the last lines that the machine's program wrote.
    async fn start(&self, request: &StartRequest<'_>) -> Result<Arc<dyn Machine>, DriverError>;

    /// Returns whether a machine of `dir` runs, without disturbing it or the process that watches it.
    async fn observe(&self, dir: &InstanceDir) -> MachineState;

    /// Adopts the running machine of `dir` without touching the guest; `None` if none runs. The caller holds the
    /// instance's lock.
    ///
    /// # Errors
    /// The machine runs but does not answer.
    async fn adopt(&self, dir: &InstanceDir) -> Result<Option<Arc<dyn Machine>>, DriverError>;

    /// Ends the machine of `dir` without asking the guest; success if none runs. The caller holds the instance's lock,
    /// so no other process starts a machine meanwhile.
    ///
    /// # Errors
    /// The machine could not be proved gone within `limit`.
    async fn destroy(&self, dir: &InstanceDir, limit: Duration) -> Result<(), DriverError>;
}

/// A machine that runs, or ran. Dropping the value leaves the machine running.
#[async_trait]
pub trait Machine: Send + Sync + fmt::Debug {
    /// The process that runs the machine.
    fn identity(&self) -> &Identity;

    /// What was decided when the machine was started.
    fn record(&self) -> &MachineRecord;

    /// Returns whether the guest executes.
    ///
    /// # Errors
    /// The machine does not answer.
    async fn status(&self) -> Result<RunStatus, DriverError>;

    /// Subscribes to the machine's events from now on. [`MachineEvent::Exited`] is the last one.
    fn events(&self) -> broadcast::Receiver<MachineEvent>;

    /// Presses the ACPI power button once. A guest that is still booting loses the press, so the caller repeats it.
    ///
    /// # Errors
    /// The machine does not answer, or has no such button ([`Capabilities::power_button`]).
    async fn power_button(&self) -> Result<(), DriverError>;

    /// Lets a frozen guest continue; no-op for one that runs.
    ///
    /// # Errors
    /// The machine does not answer, or cannot be frozen ([`Capabilities::freeze`]).
    async fn resume(&self) -> Result<(), DriverError>;

    /// Ends the machine without asking the guest; its disks are flushed.
    ///
    /// # Errors
    /// The machine does not answer.
    async fn quit(&self) -> Result<(), DriverError>;

    /// Kills the machine's process and all its descendants; success if they are already gone.
    ///
    /// # Errors
    /// A process is still there after `limit`.
    async fn kill(&self, limit: Duration) -> Result<(), DriverError>;

    /// Waits until the machine is gone and returns how it ended. Safe to cancel.
    async fn exited(&self) -> Exit;
}

/// What the machines of one driver can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// A port of 127.0.0.1 leads to the guest's sshd ([`MachineRecord::ssh_local_port`]).
    pub ssh_port: bool,
    /// The guest agent is reached through [`MachineFiles::agent_socket`].
    pub agent_channel: bool,
    /// The guest can be asked to shut down by [`Machine::power_button`].
    pub power_button: bool,
    /// The machine can freeze the guest, and [`Machine::resume`] continues it.
    pub freeze: bool,
}

/// What a driver needs to start a machine.
#[derive(Debug, Clone, Copy)]
pub struct StartRequest<'a> {
    /// The instance folder.
    pub dir: &'a InstanceDir,
    /// The instance's template, with defaults filled in.
    pub template: &'a Template,
    /// What is known about the instance's image.
    pub hints: &'a BootHints,
    /// The free port of 127.0.0.1 that shall lead to the guest's sshd.
    pub ssh_local_port: u16,
    /// The accelerator that the user insists on; the driver chooses if `None`.
    pub accelerator: Option<Accelerator>,
}
