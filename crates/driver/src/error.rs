//! What a driver could not do. Every message says what was tried, on what, and what to do.

use std::path::PathBuf;
use std::time::Duration;

/// Why a driver failed.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The program that runs machines is not installed.
    #[error("cannot find {program} in {search_path:?}: install {package}")]
    ProgramMissing {
        /// The program.
        program: String,
        /// The searched folders, as in `PATH`.
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
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The port for the guest's sshd is in use.
    #[error("port {port} of 127.0.0.1 is in use by another program")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// The program could not be started.
    #[error("cannot start {}: {reason}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The program ended, or never answered, right after its start.
    #[error("{} {what}{}", program.display(), tail_text(.tail))]
    StartFailed {
        /// The program.
        program: PathBuf,
        /// What happened, as "ended with exit status 1".
        what: String,
        /// The last lines that it wrote.
        tail: String,
    },
    /// Another process of the same VM lives.
    #[error("a process of this VM still runs: {reason}; stop the VM, then start it again")]
    StillRuns {
        /// The file that the process holds, or that names it.
        lock: PathBuf,
        /// Which process.
        reason: String,
    },
    /// The machine runs but does not answer.
    #[error("the VM behind {} does not answer: {reason}", socket.display())]
    NotAnswering {
        /// Its control socket, or the program that was asked.
        socket: PathBuf,
        /// What was tried and how it failed.
        reason: String,
    },
    /// A system service that runs the machine failed.
    #[error(transparent)]
    Service(Box<dyn std::error::Error + Send + Sync>),
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

impl From<process::file::FileError> for DriverError {
    fn from(error: process::file::FileError) -> Self {
        DriverError::File {
            action: error.action,
            path: error.path,
            source: error.source,
        }
    }
}
