//! Ends a VM, whatever its guest does (hazard 17).
//!
//! ```text
//! power button, repeated every second ──┬─▶ quit ──▶ kill the process tree
//!   └─ guest agent: poweroff, every 3 s ┘    3 s          5 s
//! └─────────────── grace ───────────────┘
//! ```
//! Each step has its own limit, so the whole takes at most the grace period and ten seconds. A step that fails is logged,
//! and the next one follows. A guest that cannot be asked gets no grace period.

use std::sync::Arc;
use std::time::{Duration, Instant};

use driver::{DriverError, Exit, Machine};
use guestagent::protocol::Request;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::control::Command;
use crate::guest_channel::GuestChannel;

/// Between two presses of the power button. A press before the guest listens is lost.
const PRESS_INTERVAL: Duration = Duration::from_secs(1);
/// How long only the power button is used, before the agent inside is asked too: a guest may ignore the button.
const AGENT_AFTER: Duration = Duration::from_secs(1);
/// Between two requests to the agent. A request before the agent listens is lost, too.
const AGENT_INTERVAL: Duration = Duration::from_secs(3);
/// From the request to quit to the end of the process, which flushes the disks.
const QUIT_LIMIT: Duration = Duration::from_secs(3);
/// From SIGKILL to the end of the process.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// What is stopped, and how its guest can be asked.
pub(crate) struct Stopping<'a> {
    pub(crate) machine: &'a Arc<dyn Machine>,
    pub(crate) guest: Option<&'a GuestChannel>,
    pub(crate) power_button: bool,
    /// The grace period of a further request that names none.
    pub(crate) default_grace: Duration,
}

impl Stopping<'_> {
    /// Ends the machine within `grace` and ten seconds of `since`. A further request can shorten the grace period.
    pub(crate) async fn run(
        &self,
        since: Instant,
        grace: Duration,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Exit, DriverError> {
        let askable = self.power_button || self.guest.is_some();
        let grace = if askable { grace } else { Duration::ZERO };
        if let Some(exit) = self.gracefully(since, grace, commands).await {
            return Ok(exit);
        }
        tracing::info!("the guest has not shut down: ending its process");
        process::crash::point("hostagent.stop.after-grace");
        match timeout(QUIT_LIMIT, self.quit()).await {
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) => {}
            Err(_) => tracing::warn!("the VM's process was asked to quit and did not: killing it"),
        }
        self.machine.kill(KILL_LIMIT).await?;
        // The task that watches the machine needs a moment to notice its end.
        Ok(timeout(QUIT_LIMIT, self.machine.exited())
            .await
            .unwrap_or_else(|_| Exit {
                guest_powered_off: false,
                reason: "the VM's process was killed".into(),
            }))
    }

    async fn quit(&self) -> Option<Exit> {
        if let Err(error) = self.machine.quit().await {
            tracing::warn!(%error, "cannot ask the VM's process to quit: killing it");
            return None;
        }
        Some(self.machine.exited().await)
    }

    /// Asks the guest to shut down, until it is gone or the grace period is over.
    async fn gracefully(
        &self,
        since: Instant,
        grace: Duration,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Option<Exit> {
        let mut deadline = since + grace;
        let mut commands_open = true;
        let mut agent_at = since + AGENT_AFTER.min(grace / 2);
        let mut press_at = since;
        while Instant::now() < deadline {
            let wake = press_at.min(agent_at).min(deadline);
            tokio::select! {
                exit = self.machine.exited() => return Some(exit),
                command = commands.recv(), if commands_open => match command {
                    Some(Command::Stop(sooner)) => {
                        let grace = sooner.unwrap_or(self.default_grace);
                        deadline = deadline.min(Instant::now() + grace);
                    }
                    // Ignored: the VM is being stopped, so there will be no VM to leave running.
                    Some(Command::Detach) => {}
                    None => commands_open = false,
                },
                () = sleep_until(wake.into()) => {
                    let now = Instant::now();
                    if now >= press_at {
                        press_at = now + PRESS_INTERVAL;
                        self.press();
                    }
                    if now >= agent_at {
                        agent_at = now + AGENT_INTERVAL;
                        self.ask_agent();
                    }
                }
            }
        }
        // The guest may have ended at the last instant.
        timeout(Duration::ZERO, self.machine.exited()).await.ok()
    }

    /// Sends the request to the agent without waiting for the answer. An agent that is not ready yet does not answer, so
    /// the request is repeated.
    fn ask_agent(&self) {
        let Some(guest) = self.guest.cloned() else {
            return;
        };
        tokio::spawn(async move {
            match guest.ask(Request::Poweroff).await {
                Ok(_) => tracing::debug!("the guest agent shuts the guest down"),
                Err(error) => tracing::debug!(%error, "cannot ask the guest agent to shut down"),
            }
        });
    }

    /// Presses the power button without waiting for the answer: a machine that hangs must not keep a shorter grace period
    /// from taking effect. The driver bounds each press.
    fn press(&self) {
        if !self.power_button {
            return;
        }
        let machine = self.machine.clone();
        tokio::spawn(async move {
            if let Err(error) = machine.power_button().await {
                tracing::debug!(%error, "cannot press the power button");
            }
        });
    }
}
