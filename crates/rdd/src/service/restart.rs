//! Replaces the daemon: by one of this program's version, with its settings read anew. The VMs notice nothing.

use crate::cli::ServeSettings;
use crate::context::Context;
use crate::duration::Timeout;
use crate::service::stop_request::StopRequest;
use crate::service::{start, stop};

/// Stops the daemon without its VMs, if it runs, and starts one. Nobody else starts one in between.
pub(crate) fn restart(
    context: &Context,
    overrides: &ServeSettings,
    timeout: Timeout,
) -> anyhow::Result<()> {
    let deadline = timeout.deadline();
    let mut lock = start::lock(context, deadline)?;
    loop {
        if stop::stop(context, Some(StopRequest::Keep {}), true, deadline)? {
            context.report("has stopped, its VMs go on running");
        }
        // Who dies here leaves VMs without a daemon, as a daemon that was killed does; the next start adopts them.
        process::crash::point("svc.restart.after-stop");
        // Another one can only be there when `svc serve` was run by hand at this moment; it is replaced like the first.
        match start::start_locked(context, overrides, true, deadline, lock)? {
            start::Started::Ours(_) => return Ok(()),
            start::Started::Another => lock = start::lock(context, deadline)?,
        }
    }
}
