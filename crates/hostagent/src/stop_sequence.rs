//! Ending a VM, whatever it thinks of that (hazard 17).
//!
//! ```text
//! power button, again every second ─────┬─▶ QMP quit ──▶ kill the process tree
//!   └─ guest agent: poweroff, every 3 s ┘     3 s            5 s
//! └─────────────── grace ───────────────┘
//! ```
//! Each step is bounded by itself, so the whole takes at most the grace period and ten seconds. A step that fails is
//! logged, and the next one follows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use driver::{DriverError, Exit, Machine};
use guestagent::protocol::Request;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::control::Wish;
use crate::guest_channel::GuestChannel;

/// Between two presses of the power button: one that comes before the guest listens is lost.
const PRESS_AGAIN: Duration = Duration::from_secs(1);
/// How long the power button is given alone, before the agent inside is asked as well: a guest may not listen to it.
const AGENT_AFTER: Duration = Duration::from_secs(1);
/// Between two requests to the agent: one that comes before it listens is lost, too.
const AGENT_AGAIN: Duration = Duration::from_secs(3);
/// From QMP's quit to the end of the process: its disks are flushed.
const QUIT_LIMIT: Duration = Duration::from_secs(3);
/// From SIGKILL to the end of the process.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Ends `machine` within `grace` and ten seconds of `since`. Another stop request may shorten the grace period.
pub(crate) async fn stop(
    machine: &Arc<dyn Machine>,
    guest: &GuestChannel,
    since: Instant,
    grace: Duration,
    wishes: &mut mpsc::Receiver<Wish>,
    default_grace: Duration,
) -> Result<Exit, DriverError> {
    if let Some(exit) = gracefully(machine, guest, since, grace, wishes, default_grace).await {
        return Ok(exit);
    }
    tracing::info!("the guest is not asked any longer: ending its process");
    process::crash::point("hostagent.stop.after-grace");
    match timeout(QUIT_LIMIT, quit(&**machine)).await {
        Ok(Some(exit)) => return Ok(exit),
        Ok(None) => {}
        Err(_) => tracing::warn!("QEMU was told to quit and did not: killing it"),
    }
    machine.kill(KILL_LIMIT).await?;
    // The watcher needs a moment to see it.
    Ok(timeout(QUIT_LIMIT, machine.exited())
        .await
        .unwrap_or_else(|_| Exit {
            guest_powered_off: false,
            reason: "QEMU was killed".into(),
        }))
}

async fn quit(machine: &dyn Machine) -> Option<Exit> {
    if let Err(error) = machine.quit().await {
        tracing::warn!(%error, "cannot tell QEMU to quit: killing it");
        return None;
    }
    Some(machine.exited().await)
}

/// Asks the guest until it is gone or its time is over.
async fn gracefully(
    machine: &Arc<dyn Machine>,
    guest: &GuestChannel,
    since: Instant,
    grace: Duration,
    wishes: &mut mpsc::Receiver<Wish>,
    default_grace: Duration,
) -> Option<Exit> {
    let mut deadline = since + grace;
    let mut wishes_open = true;
    let mut agent_at = since + AGENT_AFTER.min(grace / 2);
    let mut press_at = since;
    while Instant::now() < deadline {
        let wake = press_at.min(agent_at).min(deadline);
        tokio::select! {
            exit = machine.exited() => return Some(exit),
            wish = wishes.recv(), if wishes_open => match wish {
                Some(Wish::Stop(sooner)) => deadline = deadline.min(Instant::now() + sooner.unwrap_or(default_grace)),
                // It is being stopped; there will be nothing to leave behind.
                Some(Wish::Detach) => {}
                None => wishes_open = false,
            },
            () = sleep_until(wake.into()) => {
                let now = Instant::now();
                if now >= press_at {
                    press_at = now + PRESS_AGAIN;
                    press(machine);
                }
                if now >= agent_at {
                    agent_at = now + AGENT_AGAIN;
                    // Its answer is not waited for: an agent that is just booting gives none, and is asked again.
                    let guest = guest.clone();
                    tokio::spawn(async move {
                        match guest.ask(Request::Poweroff).await {
                            Ok(_) => tracing::debug!("the guest agent shuts the guest down"),
                            Err(error) => tracing::debug!(%error, "cannot ask the guest agent to shut down"),
                        }
                    });
                }
            }
        }
    }
    // It may have ended in the last instant.
    timeout(Duration::ZERO, machine.exited()).await.ok()
}

/// Presses the power button without waiting for QEMU's answer: one that hangs must not keep a shorter grace period from
/// taking effect. Each press ends by itself, at the control protocol's deadline.
fn press(machine: &Arc<dyn Machine>) {
    let machine = machine.clone();
    tokio::spawn(async move {
        if let Err(error) = machine.power_button().await {
            tracing::debug!(%error, "cannot press the power button");
        }
    });
}
