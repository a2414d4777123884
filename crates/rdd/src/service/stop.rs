//! Stops the daemon, and with it the VMs that it keeps.

use std::time::{Duration, Instant};

use process::{Exit, Process};

use crate::context::Context;
use crate::duration::Timeout;
use crate::exit::Failure;
use crate::service::state::State;

/// How often a daemon that has just started is asked who it is.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Asks the daemon to stop and, with `wait`, waits until it is gone. False when none was running.
///
/// The process is the one that holds the daemon's lock, opened by its identity and found to hold the lock still
/// (hazard 6): no number in a file decides who gets a signal.
pub(crate) fn stop(context: &Context, wait: bool, timeout: Timeout) -> anyhow::Result<bool> {
    let deadline = timeout.deadline();
    let Some(daemon) = open(context, deadline)? else {
        return Ok(false);
    };
    process::stop::ask(&daemon)?;
    process::crash::point("svc.stop.after-ask");
    if !wait {
        return Ok(true);
    }
    match daemon.wait(deadline) {
        Exit::Exited(_) => Ok(true),
        Exit::TimedOut => Err(not_stopped_in_time(context)),
        Exit::Failed(error) => Err(anyhow::Error::from(error).context(format!(
            "cannot wait for \"{}\" control plane to stop",
            context.instance
        ))),
    }
}

/// The process that holds the lock.
fn open(context: &Context, deadline: Instant) -> anyhow::Result<Option<Process>> {
    loop {
        let state = State::of(&context.paths)?;
        if !state.is_running() {
            return Ok(None);
        }
        if let Some(identity) = state.identity()
            && let Some(daemon) = Process::open(identity)?
            && State::of(&context.paths)?.identity() == Some(identity)
        {
            return Ok(Some(daemon));
        }
        // It has the lock and has not said yet who it is, or it has just ended.
        if Instant::now() >= deadline {
            return Err(not_stopped_in_time(context));
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

fn not_stopped_in_time(context: &Context) -> anyhow::Error {
    Failure::deadline(format_args!(
        "waiting for \"{}\" control plane to stop",
        context.instance
    ))
    .into()
}
