//! The daemon: the one place where store, API server and controllers meet.
//!
//! Its life: take the lock → open the store → certificates, port → API server → controllers → say that it is ready →
//! wait for a request to stop → stop the VMs → end the API server → close the store → give the lock back.

mod admission;
mod assembly;
mod certificates;
mod check;
mod controllers;
mod decision;
mod limits;
mod port;

use std::path::Path;

use anyhow::{Context as _, bail};
use process::spawn::Notifier;
use process::{FileLock, Identity, lock};

use crate::cli::ServeSettings;
use crate::context::Context;
use crate::service::{other_daemon, ownership, settings, state};

/// Threads for what waits. Two keep an API call from waiting for another one's JSON; more only cost memory.
const WORKERS: usize = 2;
/// Threads for what blocks: downloads, disks. They end when idle.
const BLOCKING_WORKERS: usize = 16;

/// Runs the daemon until it is asked to stop. `overrides` win over the saved settings.
pub(crate) fn serve(
    context: &Context,
    overrides: &ServeSettings,
    background: bool,
) -> anyhow::Result<()> {
    let notifier = match &context.environment.ready_pipe {
        Some(value) => Some(
            Notifier::from_variable(value)
                .context("cannot use the pipe that the parent process gave")?,
        ),
        None => None,
    };
    let mut readiness = Readiness(notifier);
    let result = run(context, overrides, background, &mut readiness);
    if let Err(error) = &result {
        readiness.refused(error);
    }
    result
}

fn run(
    context: &Context,
    overrides: &ServeSettings,
    background: bool,
    readiness: &mut Readiness,
) -> anyhow::Result<()> {
    let paths = &context.paths;
    let settings = merged(context, overrides)?;
    let enabled = controllers::enabled(
        settings
            .controllers
            .as_deref()
            .unwrap_or(settings::ALL_CONTROLLERS),
    )?;
    ownership::claim(context)?;
    let Some(lock) = FileLock::try_acquire(&paths.lock(), &state::lock_label(&context.instance))?
    else {
        bail!(
            "{} is already running: {} holds {}",
            context.instance,
            lock::holder(&paths.lock())?,
            paths.lock().display()
        );
    };
    other_daemon::refuse(context)?;
    let identity = Identity::of_current()?;
    process::crash::point("daemon.after-lock");
    // What a daemon that was killed left behind. Nobody else writes here while the lock is ours.
    process::file::remove_if_there(&paths.ready_file())?;
    process::file::remove_temporaries(&paths.dir)?;
    write_plain(&paths.pid_file(), &format!("{}\n", identity.pid()))?;
    limits::allow_many_files();

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_WORKERS)
        .enable_all()
        .build()
        .context("cannot start the threads of the daemon")?;
    let result = runtime.block_on(assembly::run(
        context, &settings, enabled, background, identity, readiness,
    ));
    process::crash::point("daemon.stop.after-store");
    // What still blocks by now is a read of a hung disk or network; the process ends without it.
    runtime.shutdown_background();
    if let Err(error) = process::file::remove_if_there(&paths.pid_file()) {
        tracing::warn!("{error}");
    }
    // The file that says "stopping" stays: without it, who looks before the lock is free would take this daemon for one
    // that starts. Without its daemon it counts for nothing, and the next one replaces it.
    drop(lock);
    result
}

/// The saved settings, with those of this session on top.
fn merged(context: &Context, overrides: &ServeSettings) -> anyhow::Result<ServeSettings> {
    let saved = match settings::load(&context.paths)? {
        Some(saved) => saved,
        None => {
            settings::save(&context.paths, &ServeSettings::default())?;
            ServeSettings::default()
        }
    };
    Ok(ServeSettings {
        controllers: overrides.controllers.clone().or(saved.controllers),
        secure_port: overrides.secure_port.or(saved.secure_port),
    })
}

/// Writes a small file that means nothing after a crash, and so need not survive one.
fn write_plain(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let write = || {
        process::file::remove_if_there(path).map_err(std::io::Error::other)?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path)?.write_all(text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Tells the command that started the daemon, if there is one, how the start went.
struct Readiness(Option<Notifier>);

impl Readiness {
    fn ready(&mut self) {
        // A parent that did not wait is no error.
        if let Some(notifier) = self.0.take()
            && let Err(error) = notifier.ready("")
        {
            tracing::debug!("nobody waits for the daemon to be ready: {error}");
        }
    }

    fn refused(&mut self, reason: &anyhow::Error) {
        if let Some(notifier) = self.0.take()
            && let Err(error) = notifier.refused(&crate::exit::message(reason))
        {
            tracing::debug!("nobody waits for the daemon to be ready: {error}");
        }
    }
}
