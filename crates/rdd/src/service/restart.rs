//! Replaces the daemon with one of this version, which reads the settings again. The VMs keep running.

use crate::cli::ServeSettings;
use crate::context::Context;
use crate::duration::Timeout;
use crate::service::stop_request::StopRequest;
use crate::service::{start, stop};

/// Stops the daemon, if it runs, without its VMs, and starts a new one. The start lock is held throughout, so no other
/// command starts one in between.
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
        // A command that is killed here leaves VMs without a daemon, as a killed daemon does; the next start adopts them.
        process::crash::point("svc.restart.after-stop");
        // Another daemon can run only if `svc serve` was run by hand at this moment. Replace that one as well.
        match start::start_locked(context, overrides, true, deadline, lock)? {
            start::Started::Ours(_) => return Ok(()),
            start::Started::Another => lock = start::lock(context, deadline)?,
        }
    }
}
