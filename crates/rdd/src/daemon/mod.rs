//! The daemon, which combines store, API server and controllers.
//!
//! Its life: take the lock → open the store → certificates, port → API server → controllers → report that it is ready →
//! wait for a request to stop → stop the VMs → stop the API server → close the store → release the lock.

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

/// Threads of the async runtime. With two, an API call does not wait for the JSON of another; more only cost memory.
const WORKERS: usize = 2;
/// The most threads for blocking work, such as downloads and disks. Idle threads end.
const BLOCKING_WORKERS: usize = 16;

/// Runs the daemon until a request to stop. `overrides` take precedence over the saved settings.
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
    // Left by a daemon that was killed. Only the lock holder writes these files.
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
    // A thread that still blocks waits for a hung disk or network; the process ends without it.
    runtime.shutdown_background();
    if let Err(error) = process::file::remove_if_there(&paths.pid_file()) {
        tracing::warn!("{error}");
    }
    // `ready.json` with "stopping" stays: without it, a command that looks before the lock is released would think that
    // this daemon is starting. The file counts only while its daemon runs, and the next daemon replaces it.
    drop(lock);
    result
}

/// The saved settings, overridden by those of this session.
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

/// Writes a small file without making it durable: it has no meaning after a crash of the machine.
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

/// Reports the result of the start to the command that started the daemon, if there is one.
struct Readiness(Option<Notifier>);

impl Readiness {
    fn ready(&mut self) {
        // A parent that does not wait is no error.
        if let Some(notifier) = self.0.take()
            && let Err(error) = notifier.ready("")
        {
            tracing::debug!("no command waits for the daemon to be ready: {error}");
        }
    }

    fn refused(&mut self, reason: &anyhow::Error) {
        if let Some(notifier) = self.0.take()
            && let Err(error) = notifier.refused(&crate::exit::message(reason))
        {
            tracing::debug!("no command waits for the daemon to be ready: {error}");
        }
    }
}
