//! The states, events and records of machines, the same for all drivers.

use std::path::PathBuf;

use process::Identity;
use serde::{Deserialize, Serialize};

use crate::accelerator::Accelerator;

/// What an observer can know about the machine of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineState {
    /// No machine runs.
    Absent,
    /// A machine runs.
    Alive {
        /// Its process, as proved by what the process holds.
        identity: Identity,
    },
    /// A machine may run, but its state could not be read.
    Unknown {
        /// What was tried and why it failed.
        reason: String,
    },
}

/// What was decided when a machine was started; kept in the instance folder for the hostagent that adopts the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// Where the guest's instructions run; `None` if the driver has no choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Accelerator>,
    /// Why the guest does not run on the hardware, if that was tried, and what its emulation lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator_warning: Option<String>,
    /// The port of 127.0.0.1 that leads to the guest's sshd; 0 if there is none.
    pub ssh_local_port: u16,
    /// When the machine was started, in seconds since 1970.
    pub started_at: u64,
    /// The program that runs the machine.
    pub program: PathBuf,
    /// The machine's process; absent between the decision and the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// Whether a guest executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// The guest executes.
    Running,
    /// The guest is frozen by request.
    Frozen,
    /// The guest is frozen because a file behind one of its disks is full or failed on the host. It continues with
    /// [`Machine::resume`](crate::Machine::resume), and the failed requests are then repeated.
    DiskError,
    /// The guest crashed in a way that the machine cannot continue from.
    Broken,
}

/// Something that happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineEvent {
    /// The machine is ending.
    ShuttingDown {
        /// Whether the guest asked for it.
        guest: bool,
        /// The driver's name for the cause, such as QEMU's `guest-shutdown`.
        reason: String,
    },
    /// The guest restarts.
    Rebooting {
        /// The driver's name for the cause.
        reason: String,
    },
    /// The guest is frozen.
    Frozen,
    /// The guest continues.
    Resumed,
    /// The guest's kernel reported a panic.
    Panicked,
    /// A file behind a disk of the guest is full or failed on the host.
    DiskFailed {
        /// The host's error text.
        reason: String,
    },
    /// The machine is gone.
    Exited(Exit),
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Whether the guest powered itself off.
    pub guest_powered_off: bool,
    /// The known cause: the driver's reason, the exit status, the last lines of the logs.
    pub reason: String,
}

/// The files that a driver makes in an instance folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFiles {
    /// The host's end of the guest agent's channel, if the driver has one.
    pub agent_socket: Option<PathBuf>,
    /// Sockets and other files that mean nothing once the machine is gone.
    pub transient: Vec<PathBuf>,
    /// What the machine writes while it runs, opened for appending, so that it may be truncated at any time.
    pub logs: Vec<LogFile>,
}

/// A log of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The name of the writer, for messages: "QEMU", "the guest's console".
    pub writer: &'static str,
    /// The file.
    pub path: PathBuf,
}
