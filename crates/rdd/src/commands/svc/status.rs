//! `rdd svc status`.

use anyhow::Context as _;
use tracing::info;

use crate::context::Context;
use crate::logging::ANSWER;
use crate::service::state::State;

/// Prints whether the instance exists, whether its daemon runs, and the PID.
pub(crate) fn run(context: &Context) -> anyhow::Result<()> {
    let name = &context.instance;
    // The file is not read, because this command must work when it is damaged.
    let created = context.paths.args_file().exists();
    let state = State::of(&context.paths)?;
    let pid = state.identity().map_or(0, process::Identity::pid);
    info!(target: ANSWER, "\"{name}\" control plane has been created: {created}");
    info!(target: ANSWER, "\"{name}\" control plane has been started: {}", state.is_running());
    info!(target: ANSWER, "\"{name}\" control plane PID is: {pid}");
    if context.environment.developer_mode {
        info!(target: ANSWER, "developer mode is enabled");
    }
    let damaged = store::quarantine_list(&context.paths.database())
        .context("cannot read the list of damaged objects")?;
    for row in damaged {
        info!(target: ANSWER, "damaged object, see `rdd svc check`: {row}");
    }
    if let State::Ready(ready) = state {
        let ready = ready.compatible(name)?;
        if let Some(old) = ready.other_version() {
            tracing::warn!("\"{name}\" control plane {old}");
        }
    }
    Ok(())
}
