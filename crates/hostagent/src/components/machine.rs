//! Watches whether the machine executes its guest: takes its events, and reads its status at each health check and after
//! events that may be lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use driver::{Machine, MachineEvent, RunStatus};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Component, Signal, Task};

/// The component.
#[derive(Debug)]
pub(crate) struct MachineWatch {
    machine: Arc<dyn Machine>,
    events: Receiver<MachineEvent>,
    /// Closed once the machine is gone; the supervisor waits for that itself.
    open: bool,
    checks: Interval,
    status: Task<Result<RunStatus, String>>,
    /// Why the guest does not execute, or why the status could not be read.
    halted: Option<String>,
    panicked: bool,
}

impl MachineWatch {
    /// `health`: how often the status is read. The first time is at once.
    pub(crate) fn new(machine: Arc<dyn Machine>, health: Duration) -> MachineWatch {
        let mut checks = interval(health);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        MachineWatch {
            events: machine.events(),
            machine,
            open: true,
            checks,
            status: Task::none(),
            halted: None,
            panicked: false,
        }
    }

    /// Reads the status in a task, so that a machine that does not answer delays nothing else. Bounded by the driver.
    fn read_status(&mut self) {
        let machine = self.machine.clone();
        self.status
            .start(async move { machine.status().await.map_err(|error| error.to_string()) });
    }

    fn handle_event(&mut self, event: Result<MachineEvent, RecvError>) -> Vec<Signal> {
        match event {
            Ok(MachineEvent::Rebooting { reason }) => {
                return vec![Signal::GuestRebooted {
                    reason,
                    boot_id: None,
                }];
            }
            Ok(MachineEvent::Panicked) => self.panicked = true,
            // A status that is being read may be older than the event, so it is read again.
            Ok(MachineEvent::Frozen | MachineEvent::Resumed | MachineEvent::DiskFailed { .. })
            | Err(RecvError::Lagged(_)) => self.read_status(),
            Ok(MachineEvent::ShuttingDown { .. } | MachineEvent::Exited(_)) => {}
            Err(RecvError::Closed) => self.open = false,
        }
        Vec::new()
    }

    fn handle_status(&mut self, status: Result<RunStatus, String>) -> Vec<Signal> {
        self.halted = match &status {
            // The component for the disk space reports that.
            Ok(RunStatus::Running | RunStatus::DiskError) => None,
            Ok(RunStatus::Frozen) => Some("the guest is frozen".into()),
            Ok(RunStatus::Broken) => Some("the guest crashed and cannot continue".into()),
            Err(error) => Some(error.clone()),
        };
        vec![Signal::MachineStatus(status.ok())]
    }
}

#[async_trait]
impl Component for MachineWatch {
    async fn next(&mut self) -> Vec<Signal> {
        tokio::select! {
            event = self.events.recv(), if self.open => self.handle_event(event),
            result = self.status.finished() => {
                self.handle_status(result.unwrap_or_else(|error| Err(error.to_string())))
            }
            _ = self.checks.tick() => {
                if !self.status.is_running() {
                    self.read_status();
                }
                Vec::new()
            }
        }
    }

    fn notify(&mut self, signal: &Signal) -> Vec<Signal> {
        if let Signal::GuestRebooted { .. } = signal {
            self.panicked = false;
            self.halted = None;
        }
        Vec::new()
    }

    fn troubles(&self, _now: Instant) -> Vec<String> {
        let panicked = self
            .panicked
            .then(|| "the guest's kernel panicked".to_owned());
        self.halted.iter().cloned().chain(panicked).collect()
    }

    fn stop(&mut self) {
        self.status.abort();
    }
}
