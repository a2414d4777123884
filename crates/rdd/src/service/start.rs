//! Starts the daemon and waits until it is ready.
//!
//! The daemon reports it on a pipe that it inherits, so the command returns at once and need not poll. Meanwhile the
//! command holds `start.lock`: of several commands that start the same instance, one starts it and the others wait.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use process::FileLock;
use process::spawn::{Child, Spawn, Start};

use crate::cli::ServeSettings;
use crate::context::Context;
use crate::duration::Timeout;
use crate::environment::READY_VARIABLE;
use crate::exit::Failure;
use crate::service::state::{Ready, State};
use crate::service::{other_daemon, ownership, settings};
use crate::{log_file, logging, output, tail};

/// How long commands that need the daemon wait for it, regardless of their own timeout, so that a daemon that cannot
/// start is reported soon.
const AUTOMATIC_START: Timeout = Timeout(Some(Duration::from_secs(90)));

/// How long a new daemon may take to acquire its lock, which is one of its first steps.
const TAKES_LOCK: Duration = Duration::from_secs(10);

/// How often a daemon that another process starts is polled.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How many lines of a dead daemon's log are shown: enough for a panic message and its context.
const SHOWN_LINES: usize = 20;

/// Makes sure that the daemon is ready, for a command that talks to it.
pub(crate) fn ensure(context: &Context) -> anyhow::Result<Ready> {
    if let State::Ready(ready) = State::of(&context.paths)? {
        let ready = ready.compatible(&context.instance)?;
        ready.warn_of_another_cache(&context.paths);
        return Ok(ready);
    }
    let ready = start(context, &ServeSettings::default(), true, AUTOMATIC_START)?;
    ready.with_context(|| format!("\"{}\" control plane is not ready", context.instance))
}

/// Starts the daemon unless it runs; with `wait`, returns once it is ready. In this session `overrides` take precedence
/// over the saved settings.
pub(crate) fn start(
    context: &Context,
    overrides: &ServeSettings,
    wait: bool,
    timeout: Timeout,
) -> anyhow::Result<Option<Ready>> {
    let deadline = timeout.deadline();
    ownership::claim(context)?;
    create_if_missing(context)?;
    wait_while_stopping(context, deadline)?;
    if State::of(&context.paths)?.is_running()
        && let Joined::Runs(ready) = join(context, wait, deadline)?
    {
        return Ok(ready);
    }
    // No daemon runs, or one failed to start.
    let lock = lock(context, deadline)?;
    // Another command may have started it while this one waited for the lock.
    let joined = if State::of(&context.paths)?.is_running() {
        drop(lock);
        join(context, wait, deadline)?
    } else {
        match start_locked(context, overrides, wait, deadline, lock)? {
            Started::Ours(ready) => return Ok(ready),
            Started::Another => join(context, wait, deadline)?,
        }
    };
    match joined {
        Joined::Runs(ready) => Ok(ready),
        Joined::Ended => bail!(
            "\"{}\" control plane ended while it was starting; `rdd svc logs` shows why",
            context.instance
        ),
    }
}

/// The result of waiting for a daemon that another process started.
enum Joined {
    /// It runs; it is ready, if that was waited for.
    Runs(Option<Ready>),
    /// It has ended.
    Ended,
}

/// The result of a start.
pub(crate) enum Started {
    /// The daemon was started; it is ready, if that was waited for.
    Ours(Option<Ready>),
    /// `rdd svc serve` was run by hand at the same moment and has the daemon's lock.
    Another,
}

/// Acquires the lock that a command holds while it starts the daemon.
pub(crate) fn lock(context: &Context, deadline: Instant) -> anyhow::Result<FileLock> {
    ownership::claim(context)?;
    let label = format!("a command that starts {}", context.instance);
    match FileLock::acquire(&context.paths.start_lock(), &label, deadline) {
        Ok(lock) => Ok(lock),
        Err(process::lock::LockError::TimedOut { .. }) => Err(not_ready_in_time(context)),
        Err(error) => Err(error.into()),
    }
}

/// Starts the daemon under the lock, which is released when the daemon is ready.
pub(crate) fn start_locked(
    context: &Context,
    overrides: &ServeSettings,
    wait: bool,
    deadline: Instant,
    lock: FileLock,
) -> anyhow::Result<Started> {
    create_if_missing(context)?;
    other_daemon::refuse(context)?;
    other_daemon::name_its_databases(&context.paths);
    let mut child = spawn(context, overrides)?;
    process::crash::point("svc.start.after-spawn");
    tracing::info!(target: logging::RESULT, "starting \"{}\" control plane", context.instance);
    if !wait {
        until_locked(context, &mut child)?;
        context.report("is starting");
        return Ok(Started::Ours(None));
    }
    let readiness = child
        .readiness()
        .context("the daemon has no pipe to report that it is ready")?;
    match readiness.wait(deadline) {
        Start::Ready(_) => {}
        Start::TimedOut => return Err(not_ready_in_time(context)),
        Start::Refused(_) if is_another(context, &child)? => return Ok(Started::Another),
        Start::Refused(reason) => bail!(
            "\"{}\" control plane cannot start: {reason}",
            context.instance
        ),
        Start::Died => return Err(died(context, &mut child)),
        Start::Failed(error) => {
            return Err(error).with_context(|| {
                format!(
                    "cannot find out whether \"{}\" control plane is ready",
                    context.instance
                )
            });
        }
    }
    context.report("is ready");
    drop(lock);
    match State::of(&context.paths)? {
        State::Ready(ready) => Ok(Started::Ours(Some(ready))),
        _ => Err(died(context, &mut child)),
    }
}

/// Saves the default settings if the instance does not exist yet.
fn create_if_missing(context: &Context) -> anyhow::Result<()> {
    if settings::load(&context.paths)?.is_none() {
        settings::save(&context.paths, &ServeSettings::default())?;
        tracing::info!(target: logging::RESULT, "successfully created \"{}\" control plane", context.instance);
    }
    Ok(())
}

/// Waits until a daemon that is stopping has ended.
fn wait_while_stopping(context: &Context, deadline: Instant) -> anyhow::Result<()> {
    let mut reported = false;
    while State::of(&context.paths)?.is_stopping() {
        if !std::mem::replace(&mut reported, true) {
            context.report("is stopping; it is started again once it has stopped");
        }
        if Instant::now() >= deadline {
            return Err(Failure::deadline(format_args!(
                "waiting for \"{}\" control plane to stop, to start it again",
                context.instance
            ))
            .into());
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
    Ok(())
}

/// Waits for a daemon that another process started.
fn join(context: &Context, wait: bool, deadline: Instant) -> anyhow::Result<Joined> {
    context.report("is already running");
    if !wait {
        return Ok(Joined::Runs(None));
    }
    loop {
        match State::of(&context.paths)? {
            State::Ready(ready) => {
                let ready = ready.compatible(&context.instance)?;
                if let Some(old) = ready.other_version() {
                    tracing::warn!(target: logging::RESULT, "\"{}\" control plane {old}", context.instance);
                }
                context.report("is ready");
                return Ok(Joined::Runs(Some(ready)));
            }
            State::Stopped => return Ok(Joined::Ended),
            State::Starting(_) | State::Ending(_) if Instant::now() >= deadline => {
                return Err(not_ready_in_time(context));
            }
            State::Starting(_) | State::Ending(_) => std::thread::park_timeout(LOOK_AGAIN),
        }
    }
}

fn spawn(context: &Context, overrides: &ServeSettings) -> anyhow::Result<Child> {
    let environment = &context.environment;
    let title = environment.log_title.as_deref();
    let stdout = log_file::start_new(&context.paths.stdout_log(), environment.keep_logs, title)?;
    let stderr = log_file::start_new(&context.paths.stderr_log(), environment.keep_logs, title)?;
    let program = std::env::current_exe()
        .context("cannot find the program that is running, to start it as a daemon")?;
    let mut spawn = Spawn::new(program)
        .arg(format!("--instance={}", context.instance.suffix()))
        .args(["svc", "serve", "--background=true"])
        .args(settings::as_arguments(overrides))
        .args(["--log-format", context.logging.format.name()])
        .cwd(&context.paths.dir)
        .long_lived()
        .stdout(stdout)
        .stderr(stderr)
        .readiness(READY_VARIABLE)
        // glibc reserves a heap for each thread; with one heap for all threads an idle daemon is a third smaller.
        .env("MALLOC_ARENA_MAX", "1");
    if context.logging.explicit {
        spawn = spawn.args(["--log-level", &context.logging.level.to_string()]);
    }
    spawn.spawn().map_err(Into::into)
}

/// Waits until the daemon holds its lock, so that the next command sees it.
fn until_locked(context: &Context, child: &mut Child) -> anyhow::Result<()> {
    let deadline = Instant::now() + TAKES_LOCK;
    while !State::of(&context.paths)?.is_running() {
        if !child.process().is_running() {
            return Err(died(context, child));
        }
        if Instant::now() >= deadline {
            return Err(not_ready_in_time(context));
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
    Ok(())
}

fn is_another(context: &Context, child: &Child) -> anyhow::Result<bool> {
    let state = State::of(&context.paths)?;
    Ok(state.is_running() && state.identity() != Some(child.identity()))
}

fn not_ready_in_time(context: &Context) -> anyhow::Error {
    Failure::deadline(format_args!(
        "waiting for \"{}\" control plane to be ready",
        context.instance
    ))
    .into()
}

/// The error for a daemon that ended before it was ready. Prints the last lines of its log.
fn died(context: &Context, child: &mut Child) -> anyhow::Error {
    let status = match child.wait(Instant::now() + LOOK_AGAIN) {
        process::Exit::Exited(Some(status)) => format!(" ({status})"),
        _ => String::new(),
    };
    let log = context.paths.stderr_log();
    let lines = tail::last_lines(&log, SHOWN_LINES);
    for line in &lines {
        output::print_error(&format!("{line}\n"));
    }
    let hint = if lines.is_empty() {
        "its log is empty"
    } else {
        "the lines above are the end of its log"
    };
    anyhow::anyhow!(
        "\"{}\" control plane ended while it was starting{status}; {hint}, {}",
        context.instance,
        log.display()
    )
}
