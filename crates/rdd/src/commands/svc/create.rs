//! `rdd svc create`.

use crate::cli::ServeSettings;
use crate::context::Context;
use crate::service::{ownership, settings};

/// Saves the settings of a new instance. An existing instance keeps its settings.
pub(crate) fn run(context: &Context, wanted: &ServeSettings) -> anyhow::Result<()> {
    ownership::claim(context)?;
    if settings::load(&context.paths)?.is_some() {
        context.report("already exists");
        if wanted.controllers.is_some() || wanted.secure_port.is_some() {
            tracing::warn!(
                target: crate::logging::RESULT,
                "the settings that were saved when it was created are in {} and stay unchanged; the same flags on \
                 `rdd svc start` apply to one session",
                context.paths.args_file().display()
            );
        }
        return Ok(());
    }
    settings::save(&context.paths, wanted)?;
    process::crash::point("svc.create.after-settings");
    tracing::info!(target: crate::logging::RESULT, "successfully created \"{}\" control plane", context.instance);
    Ok(())
}
