//! `rdd svc create`.

use crate::cli::ServeSettings;
use crate::context::Context;
use crate::service::settings;

/// Saves the settings of a new instance. One that exists keeps what it has.
pub(crate) fn run(context: &Context, wanted: &ServeSettings) -> anyhow::Result<()> {
    if settings::load(&context.paths)?.is_some() {
        context.report("already exists");
        return Ok(());
    }
    settings::save(&context.paths, wanted)?;
    process::crash::point("svc.create.after-settings");
    tracing::info!(target: crate::logging::RESULT, "successfully created \"{}\" control plane", context.instance);
    Ok(())
}
