//! One running distribution.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use process::Identity;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::distro::{Distro, Wsl};
use super::driver::end;
use super::lifecycle::State;
use crate::error::DriverError;
use crate::interface::Machine;
use crate::machine::{Exit, MachineEvent, MachineRecord, RunStatus};
use crate::watched::Watched;

/// Events kept for a slow receiver. A distribution has one event, its end.
const EVENT_BACKLOG: usize = 4;

/// A distribution that runs, or ran.
#[derive(Debug)]
pub(super) struct WslMachine {
    wsl: Wsl,
    distro: Distro,
    keeper: Identity,
    record: MachineRecord,
    events: broadcast::Sender<MachineEvent>,
    exit: watch::Receiver<Option<Exit>>,
    /// Whether its end was requested through this value.
    requested: Arc<AtomicBool>,
    watcher: JoinHandle<()>,
}

impl WslMachine {
    pub(super) fn new(
        wsl: Wsl,
        distro: Distro,
        mut keeper: Watched,
        record: MachineRecord,
    ) -> WslMachine {
        let identity = keeper.identity().clone();
        let events = broadcast::Sender::new(EVENT_BACKLOG);
        let (exit_sender, exit) = watch::channel(None);
        let requested = Arc::new(AtomicBool::new(false));
        let watcher = tokio::spawn({
            let (wsl, distro) = (wsl.clone(), distro.clone());
            let (events, requested) = (events.clone(), requested.clone());
            async move {
                keeper.ended().await;
                // The keeper can end alone, and a machine that has ended must not run (hazard 40).
                let terminated = wsl.terminate(&distro).await;
                let mut reason = if requested.load(Ordering::SeqCst) {
                    format!("the distribution {} was terminated on request", distro.name)
                } else {
                    format!("the distribution {} ended by itself", distro.name)
                };
                if let Err(error) = terminated {
                    reason = format!("{reason}; {error}");
                }
                let exit = Exit {
                    guest_powered_off: false,
                    reason,
                };
                exit_sender.send_replace(Some(exit.clone()));
                // Sending fails only if there is no subscriber.
                let _ = events.send(MachineEvent::Exited(exit));
            }
        });
        WslMachine {
            wsl,
            distro,
            keeper: identity,
            record,
            events,
            exit,
            requested,
            watcher,
        }
    }

    async fn end(&self) -> Result<(), DriverError> {
        self.requested.store(true, Ordering::SeqCst);
        Ok(end(&self.wsl, &self.distro, Some(&self.keeper)).await?)
    }

    fn unsupported(&self, what: &str) -> DriverError {
        DriverError::Unsupported {
            field: "vmType".into(),
            reason: format!("wsl2 VMs have no {what}"),
        }
    }
}

impl Drop for WslMachine {
    fn drop(&mut self) {
        // The distribution keeps running; only the task that watches it ends.
        self.watcher.abort();
    }
}

#[async_trait]
impl Machine for WslMachine {
    fn identity(&self) -> &Identity {
        &self.keeper
    }

    fn record(&self) -> &MachineRecord {
        &self.record
    }

    async fn status(&self) -> Result<RunStatus, DriverError> {
        match self.wsl.state(&self.distro).await? {
            State::Running => Ok(RunStatus::Running),
            State::Absent | State::Broken | State::Stopped => Ok(RunStatus::Broken),
        }
    }

    fn events(&self) -> broadcast::Receiver<MachineEvent> {
        self.events.subscribe()
    }

    async fn power_button(&self) -> Result<(), DriverError> {
        Err(self.unsupported("power button"))
    }

    async fn resume(&self) -> Result<(), DriverError> {
        Err(self.unsupported("frozen state"))
    }

    async fn quit(&self) -> Result<(), DriverError> {
        self.end().await
    }

    async fn kill(&self, limit: Duration) -> Result<(), DriverError> {
        let ended = tokio::time::timeout(limit, self.end()).await;
        ended.unwrap_or_else(|_| {
            Err(DriverError::NotGone {
                pid: self.keeper.pid(),
                limit,
                reason: format!("`wsl --terminate {}` did not end", self.distro.name),
            })
        })
    }

    async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| exit.clone());
        ended.unwrap_or_else(|| Exit {
            guest_powered_off: false,
            reason: "the distribution's end was not observed".into(),
        })
    }
}
