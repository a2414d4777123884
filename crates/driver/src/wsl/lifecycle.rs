//! From one state of a distribution to another.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use process::crash;
use process::file::{create_private_dir, remove_if_there, write_atomic};
use process::spawn::{Child, Spawn};
use process::tree::kill_tree_async;
use tokio::sync::oneshot;

use super::command::exec;
use super::error::WslError;
use super::{Distro, Wsl};

/// The disk that `--import` makes in the distribution's folder.
const DISK: &str = "ext4.vhdx";
/// There while an import has begun and is not known to have succeeded. Its absence proves nothing of an import, so that
/// losing it loses no disk.
const IMPORTING: &str = "wsl-import.begun";
/// How long the process that keeps a distribution awake may take to end with it.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// What there is of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not registered.
    Absent,
    /// Registered without a disk, or its import did not come to its end: nothing is lost by doing it again.
    Broken,
    /// Registered, and does not run.
    Stopped,
    /// It runs.
    Running,
}

/// Why a distribution no longer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// It ended by itself, or somebody else ended it.
    ByItself,
}

impl Wsl {
    /// What there is of the distribution.
    ///
    /// # Errors
    /// `wsl.exe` does not answer.
    pub async fn state(&self, distro: &Distro) -> Result<State, WslError> {
        if !holds(&self.registered().await?, distro) {
            return Ok(State::Absent);
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

    /// Makes sure that it is registered and has a disk: one without is unregistered and imported again (hazard 41).
    ///
    /// Crash points: `wsl.after-mark`, `wsl.after-import`.
    ///
    /// # Errors
    /// [`WslError`]; what a failed import left is gone, or goes with the next call.
    pub async fn register(&self, distro: &Distro) -> Result<(), WslError> {
        match self.state(distro).await? {
            State::Stopped | State::Running => return Ok(()),
            State::Broken => {
                tracing::warn!(distro = %distro.name, "registered without a whole disk; importing it again");
                self.unregister(distro).await?;
            }
            State::Absent => {}
        }
        create_private_dir(&distro.folder)?;
        write_atomic(&mark(distro), b"", 0o600)?;
        crash::point("wsl.after-mark");
        // Of an import that never came to be registered: nobody's, as no distribution of this name is there.
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

    /// Runs the distribution until `stop` resolves or it ends by itself, and leaves it terminated however this ends:
    /// by either of these, by an error, or by being cancelled (hazard 40). `ready` is told once it has booted.
    ///
    /// # Errors
    /// It could not be registered, booted, or terminated.
    pub async fn run(
        &self,
        distro: &Distro,
        ready: oneshot::Sender<()>,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, WslError> {
        // Its end, also by being dropped with a caller that is cancelled, is the request to stop. The task goes on.
        let (keep, asked) = oneshot::channel();
        let (wsl, owned) = (self.clone(), distro.clone());
        let mut task = tokio::spawn(async move { wsl.run_until(&owned, ready, asked).await });
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = stop => {
                drop(keep);
                task.await
            }
        };
        ended.unwrap_or_else(|error| {
            Err(WslError::Run {
                reason: format!("the task of {} ended early: {error}", distro.name),
            })
        })
    }

    async fn run_until(
        &self,
        distro: &Distro,
        ready: oneshot::Sender<()>,
        asked: oneshot::Receiver<()>,
    ) -> Result<Ended, WslError> {
        let ended = match self.register(distro).await {
            Ok(()) => self.boot_and_hold(distro, ready, asked).await,
            Err(error) => Err(error),
        };
        // After a failure too: it may have been running before, or have hung while it booted.
        let terminated = self.terminate(distro).await;
        // The first failure is the one that tells, unless the distribution runs on.
        terminated.and(ended)
    }

    async fn boot_and_hold(
        &self,
        distro: &Distro,
        ready: oneshot::Sender<()>,
        mut asked: oneshot::Receiver<()>,
    ) -> Result<Ended, WslError> {
        // Cancelling a command kills it; that the distribution ends too is the caller's part.
        tokio::select! {
            booted = self.boot(distro) => booted?,
            _ = &mut asked => return Ok(Ended::Stopped),
        }
        let mut holder = self.hold(distro)?;
        // Nobody may wait for it.
        let _ = ready.send(());
        let ended = tokio::select! {
            _ = holder.ended() => Ok(Ended::ByItself),
            _ = asked => Ok(Ended::Stopped),
        };
        if let Err(error) = kill_tree_async(&holder.tree(), Duration::ZERO).await {
            tracing::warn!(distro = %distro.name, %error, "cannot end what kept it awake");
        }
        let _ = holder.wait_async(Instant::now() + LAST_BREATH).await;
        ended
    }

    /// WSL ends a distribution in which nothing was started from outside; this keeps it awake.
    fn hold(&self, distro: &Distro) -> Result<Child, WslError> {
        let spawn = Spawn::new(&self.program).args(exec(distro, &["sleep", "infinity"]));
        spawn.spawn().map_err(|error| WslError::Run {
            reason: error.to_string(),
        })
    }

    /// Ends it, and looks whether it did. One that does not run, or is not there, is success.
    ///
    /// # Errors
    /// It hangs: nothing that follows would do better. Or it still runs.
    pub async fn terminate(&self, distro: &Distro) -> Result<(), WslError> {
        // Always, without a look before: what begins to run after a look would go on.
        match self.end(distro).await {
            Ok(()) => {}
            Err(error @ (WslError::ServiceHangs { .. } | WslError::Run { .. })) => {
                return Err(error);
            }
            // Unknown to WSL, most likely; the list says.
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
                instead: "runs on",
            });
        }
        Ok(())
    }

    /// Terminates it, then has WSL forget it and delete its disk (hazard 39). One that is not there is success.
    ///
    /// # Errors
    /// It could not be terminated, and was then left registered; or it is still there.
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
