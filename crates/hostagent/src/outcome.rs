//! How a hostagent ended.

use std::path::PathBuf;

/// How a hostagent ended without an error of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A stop was requested, and the VM is gone.
    Stopped,
    /// A detach was requested, and the VM runs on.
    Detached,
    /// The guest powered itself off.
    GuestPoweredOff,
    /// The VM's process ended by itself: it crashed, or another process killed it.
    MachineEnded {
        /// The known cause.
        reason: String,
    },
}

impl Outcome {
    /// Returns the exit code of the process: 0 for what was requested, 10 if the guest powered itself off, 11 if the VM's
    /// process ended by itself. (1 is for errors, as for every command.)
    pub fn exit_code(&self) -> u8 {
        match self {
            Outcome::Stopped | Outcome::Detached => 0,
            Outcome::GuestPoweredOff => 10,
            Outcome::MachineEnded { .. } => 11,
        }
    }
}

/// Why a hostagent failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another hostagent runs this VM.
    #[error("{name} already has a hostagent: {holder}")]
    AlreadyRunning {
        /// The instance.
        name: String,
        /// The holder of the lock.
        holder: String,
    },
    /// A file of the instance cannot be used.
    #[error("cannot {action} {}: {reason}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        reason: String,
    },
    /// The VM's files cannot be prepared.
    #[error("cannot prepare {name}: {reason}")]
    Prepare {
        /// The instance.
        name: String,
        /// What failed.
        reason: String,
    },
    /// The ssh port of the template is taken.
    #[error(
        "port {port} of 127.0.0.1 is in use by another program: set ssh.localPort to another port, or to 0 to have one chosen"
    )]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// This user may not listen on the ssh port of the template.
    #[error(
        "no permission to listen on port {port} of 127.0.0.1: a port below 1024 is privileged; set ssh.localPort to another port, or to 0 to have one chosen"
    )]
    PortForbidden {
        /// The port.
        port: u16,
    },
    /// The driver could not start, adopt or stop the VM.
    #[error(transparent)]
    Driver(#[from] driver::DriverError),
}
