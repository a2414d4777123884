//! Why WSL failed, and what to do.

use std::path::PathBuf;
use std::time::Duration;

/// Why a command of WSL failed.
#[derive(Debug, thiserror::Error)]
pub enum WslError {
    /// A command did not end: WSL's service hangs, and every later command would hang too.
    #[error(
        "{command} did not end within {} s: WSL's service hangs. Restart it as an administrator with \
         `Restart-Service WSLService` (`LxssManager` on Windows 10), or restart Windows; this also ends the other WSL \
         distributions, so rdd does not do it by itself",
        limit.as_secs()
    )]
    ServiceHangs {
        /// The command line.
        command: String,
        /// Its limit.
        limit: Duration,
    },
    /// A command that works inside the distribution, or on its disk, did not end; the service may be healthy.
    #[error("{command} did not end within {} s: killed it", limit.as_secs())]
    TimedOut {
        /// The command line.
        command: String,
        /// Its limit.
        limit: Duration,
    },
    /// A command ended with an error.
    #[error("{command} failed ({status}): {output}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it printed on stdout and stderr.
        output: String,
    },
    /// `wsl.exe` does not exist, so there is no distribution.
    #[error("{reason}; is WSL installed (`wsl --install`)?")]
    NotInstalled {
        /// What was tried.
        reason: String,
    },
    /// `wsl.exe` could not be run.
    #[error("{reason}; is WSL installed (`wsl --install`)?")]
    Run {
        /// What was tried and why it failed.
        reason: String,
    },
    /// A command reported success, but its effect is missing.
    #[error("{command} succeeded, but the distribution {name} {instead}")]
    NotDone {
        /// The command line.
        command: String,
        /// The distribution.
        name: String,
        /// What was found.
        instead: &'static str,
    },
    /// A file of the distribution cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl WslError {
    /// Returns whether only a restart of WSL's service helps. A condition offers it; rdd never restarts the service itself.
    #[must_use]
    pub fn offers_service_restart(&self) -> bool {
        matches!(self, WslError::ServiceHangs { .. })
    }
}

impl From<process::file::FileError> for WslError {
    fn from(error: process::file::FileError) -> Self {
        WslError::File {
            action: error.action,
            path: error.path,
            source: error.source,
        }
    }
}
