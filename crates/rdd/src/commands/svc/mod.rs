//! `rdd svc`: the daemon of this instance.

mod check;
mod create;
mod paths;
mod status;
mod stop;

use crate::cli::{LogsArgs, Svc};
use crate::context::Context;
use crate::exit::Exit;
use crate::logging::RESULT;
use crate::service::check_request::CheckRequest;
use crate::service::remove::Removal;
use crate::service::{client, ownership, remove, restart, settings, start};
use crate::{daemon, output, tail};

/// Runs a command of `rdd svc`.
pub(crate) fn run(command: Svc, context: &Context) -> anyhow::Result<Exit> {
    match command {
        Svc::Create(settings) => create::run(context, &settings)?,
        Svc::Start { wait, settings } => {
            start::start(context, &settings, wait.wait, wait.timeout)?;
        }
        Svc::Stop {
            keep_vms,
            grace,
            wait,
        } => stop::run(context, keep_vms, grace, wait)?,
        Svc::Restart { timeout, settings } => restart::restart(context, &settings, timeout)?,
        Svc::Status => status::run(context)?,
        Svc::Check {
            restore,
            delete,
            timeout,
        } => check::run(context, &CheckRequest { restore, delete }, timeout)?,
        Svc::Delete { timeout } => {
            if ownership::exists(context)? {
                let removal = remove::delete(context, timeout)?;
                report_removal(&removal);
                context.report("has been deleted");
            } else {
                context.report("does not exist");
            }
        }
        Svc::Reset { timeout } => {
            if settings::load(&context.paths)?.is_none() {
                context.report("does not exist");
            } else {
                let was_running = remove::reset(context, timeout)?;
                context.report("has been reset");
                if was_running {
                    start::ensure(context)?;
                }
            }
        }
        Svc::Config => {
            start::ensure(context)?;
            output::print(&client::kubeconfig(context)?)?;
        }
        Svc::Paths { key, output } => paths::run(context, key.as_deref(), output)?,
        Svc::Logs(arguments) => logs(context, arguments)?,
        Svc::Serve {
            settings,
            background,
        } => daemon::serve(context, &settings, background)?,
    }
    Ok(Exit::Success)
}

/// Lists what was removed, and what was left because rdd did not make it.
fn report_removal(removal: &Removal) {
    for path in &removal.removed {
        tracing::info!(target: RESULT, "removed {}", path.display());
    }
    for path in &removal.left {
        tracing::warn!(target: RESULT, "left {}, because it holds files that rdd did not make", path.display());
    }
}

fn logs(context: &Context, arguments: LogsArgs) -> anyhow::Result<()> {
    let log = if arguments.stdout {
        context.paths.stdout_log()
    } else {
        context.paths.stderr_log()
    };
    if !log.exists() {
        anyhow::bail!(
            "\"{}\" control plane has no log at {}: it was never started",
            context.instance,
            log.display()
        );
    }
    tail::print(&log, arguments.follow)
}
