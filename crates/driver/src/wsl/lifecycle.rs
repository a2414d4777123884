//! The transitions between the states of a distribution.

use std::path::PathBuf;

use process::crash;
use process::file::{create_private_dir, remove_if_there, write_atomic};
use process::spawn::{Child, Spawn};

use super::command::exec;
use super::distro::{Distro, Wsl};
use super::error::WslError;

/// The disk that `--import` makes in the distribution's folder.
const DISK: &str = "ext4.vhdx";
/// A file that exists while an import has begun and is not known to have succeeded. If the file is lost, the disk counts
/// as complete, so that no user's disk is ever discarded.
const IMPORTING: &str = "wsl-import.begun";

/// The state of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not registered.
    Absent,
    /// Registered without a disk, or its import was interrupted: importing again loses no data.
    Broken,
    /// Registered, but not running.
    Stopped,
    /// Running.
    Running,
}

impl Wsl {
    /// Returns the state of the distribution.
    ///
    /// # Errors
    /// `wsl.exe` does not answer.
    pub async fn state(&self, distro: &Distro) -> Result<State, WslError> {
        match self.registered().await {
            Ok(names) if holds(&names, distro) => {}
            Ok(_) | Err(WslError::NotInstalled { .. }) => return Ok(State::Absent),
            Err(error) => return Err(error),
        }
        if !distro.folder.join(DISK).is_file() || mark(distro).exists() {
            return Ok(State::Broken);
        }
        Ok(if holds(&self.running().await?, distro) {
            State::Running
        } else {
            State::Stopped
        })
    }

    /// Makes sure that the distribution is registered and has a disk; one without a disk is unregistered and imported
    /// again (hazard 41).
    ///
    /// Crash points: `wsl.after-mark`, `wsl.after-import`.
    ///
    /// # Errors
    /// [`WslError`]. The next call removes what a failed import left.
    pub async fn register(&self, distro: &Distro) -> Result<(), WslError> {
        match self.state(distro).await? {
            State::Stopped | State::Running => return Ok(()),
            State::Broken => {
                tracing::warn!(distro = %distro.name, "the distribution is registered without a complete disk; importing it again");
                self.unregister(distro).await?;
            }
            State::Absent => {}
        }
        create_private_dir(&distro.folder)?;
        write_atomic(&mark(distro), b"", 0o600)?;
        crash::point("wsl.after-mark");
        // A disk of an import that was never registered: no distribution of this name exists.
        remove_if_there(&distro.folder.join(DISK))?;
        self.import(distro).await?;
        crash::point("wsl.after-import");
        if !distro.folder.join(DISK).is_file() {
            return Err(WslError::NotDone {
                command: format!("wsl --import {}", distro.name),
                name: distro.name.clone(),
                instead: "has no disk in its folder",
            });
        }
        Ok(remove_if_there(&mark(distro))?)
    }

    /// Registers the distribution if necessary, boots it, and starts the process that keeps it awake. A distribution
    /// whose start fails is terminated (hazard 40): it may have been running before, or may hang in its boot.
    ///
    /// Dropping the future may leave the distribution running; [`Wsl::terminate`] ends it.
    ///
    /// # Errors
    /// The distribution could not be registered or booted, or could not be terminated after that.
    pub async fn start(&self, distro: &Distro) -> Result<Child, WslError> {
        let started = async {
            self.register(distro).await?;
            self.boot(distro).await?;
            self.hold(distro)
        };
        match started.await {
            Ok(keeper) => Ok(keeper),
            Err(error) => {
                // The first error has the cause, unless the distribution still runs.
                self.terminate(distro).await?;
                Err(error)
            }
        }
    }

    /// Starts the keeper. WSL ends a distribution in which no process was started from outside.
    pub(super) fn hold(&self, distro: &Distro) -> Result<Child, WslError> {
        let spawn = Spawn::new(&self.program).args(exec(distro, &["sleep", "infinity"]));
        spawn.spawn().map_err(|error| WslError::Run {
            reason: error.to_string(),
        })
    }

    /// Terminates the distribution and verifies that it does not run. Success if it did not run, or does not exist.
    ///
    /// # Errors
    /// The command hangs, so no further command is sent; or the distribution still runs.
    pub async fn terminate(&self, distro: &Distro) -> Result<(), WslError> {
        // Without a look first, because a distribution that starts after the look would be missed.
        match self.end(distro).await {
            Ok(()) => {}
            Err(WslError::NotInstalled { .. }) => return Ok(()),
            Err(error @ (WslError::ServiceHangs { .. } | WslError::Run { .. })) => {
                return Err(error);
            }
            // Most likely WSL does not know the distribution; the list decides.
            Err(error) => {
                return if holds(&self.running().await?, distro) {
                    Err(error)
                } else {
                    Ok(())
                };
            }
        }
        if holds(&self.running().await?, distro) {
            return Err(WslError::NotDone {
                command: format!("wsl --terminate {}", distro.name),
                name: distro.name.clone(),
                instead: "still runs",
            });
        }
        Ok(())
    }

    /// Terminates the distribution, then unregisters it, which deletes its disk (hazard 39). Success if it does not exist.
    ///
    /// # Errors
    /// The distribution could not be terminated, and stays registered; or it is still registered.
    pub async fn unregister(&self, distro: &Distro) -> Result<(), WslError> {
        self.terminate(distro).await?;
        if let Err(error) = self.forget(distro).await
            && (error.offers_service_restart() || holds(&self.registered().await?, distro))
        {
            return Err(error);
        }
        if holds(&self.registered().await?, distro) {
            return Err(WslError::NotDone {
                command: format!("wsl --unregister {}", distro.name),
                name: distro.name.clone(),
                instead: "is still registered",
            });
        }
        Ok(remove_if_there(&mark(distro))?)
    }
}

fn mark(distro: &Distro) -> PathBuf {
    distro.folder.join(IMPORTING)
}

fn holds(names: &[String], distro: &Distro) -> bool {
    names
        .iter()
        .any(|name| name.eq_ignore_ascii_case(&distro.name))
}
