//! `rdd svc stop`.

use lima::layout::LimaHome;
use process::lock::{self, Holder};

use crate::cli::{Grace, VmWait};
use crate::context::Context;
use crate::logging::RESULT;
use crate::service::stop;
use crate::service::stop_request::StopRequest;

/// Stops the daemon, with its VMs unless `keep_vms` is set.
pub(crate) fn run(
    context: &Context,
    keep_vms: bool,
    grace: Grace,
    wait: VmWait,
) -> anyhow::Result<()> {
    if !context.paths.dir.exists() {
        context.report("does not exist");
        return Ok(());
    }
    let request = if keep_vms {
        Some(StopRequest::Keep {})
    } else {
        grace.chosen().map(StopRequest::within)
    };
    let ran = stop::stop(context, request, wait.wait, wait.timeout.deadline())?;
    context.report(match (ran, wait.wait, keep_vms) {
        (false, ..) => "is already stopped",
        (true, true, false) => "has stopped",
        (true, true, true) => "has stopped, its VMs go on running",
        (true, false, _) => "is stopping",
    });
    if !ran {
        warn_of_kept_vms(context)?;
    }
    Ok(())
}

/// Warns of VMs that run without a daemon, because they were kept or their daemon was killed.
fn warn_of_kept_vms(context: &Context) -> anyhow::Result<()> {
    let home = LimaHome::new(context.paths.lima_home());
    let mut kept = Vec::new();
    for vm in lima::instance::list(&home)? {
        if lock::holder(&vm.ha_lock())? != Holder::Free {
            kept.push(vm.name().to_owned());
        }
    }
    if !kept.is_empty() {
        tracing::warn!(
            target: RESULT,
            "VMs go on running without a control plane: {}; to stop them, too: `rdd svc start`, which takes them over, \
             and `rdd svc stop`",
            kept.join(", ")
        );
    }
    Ok(())
}
