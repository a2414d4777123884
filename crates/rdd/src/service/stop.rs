//! Stops the daemon, with its VMs or without them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use process::{Exit, Process};

use crate::context::Context;
use crate::exit::Failure;
use crate::service::client;
use crate::service::state::State;
use crate::service::stop_request::{PATH, StopRequest};

/// How often the lock and the state of the daemon are polled.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long the daemon may take to answer a request. It answers at once unless it hangs.
const ANSWER: Duration = Duration::from_secs(10);

/// HTTP's "not found".
const NOT_FOUND: u16 = 404;

/// Requests the daemon to stop and, with `wait`, waits until it has ended. Returns false if none was running.
///
/// Without a `request` it sends a signal, which works with every version and needs no API. The signalled process is the
/// holder of the daemon's lock: it is opened by its identity, and then the lock is checked again (hazard 6). A PID in a
/// file is never signalled.
pub(crate) fn stop(
    context: &Context,
    request: Option<StopRequest>,
    wait: bool,
    deadline: Instant,
) -> anyhow::Result<bool> {
    let Some(daemon) = open(context, deadline)? else {
        return Ok(false);
    };
    match request {
        None => process::stop::ask(&daemon)?,
        Some(request) => send(context, &daemon, request, deadline)?,
    }
    process::crash::point("svc.stop.after-ask");
    if !wait {
        until_acknowledged(context, &daemon, deadline)?;
        return Ok(true);
    }
    match daemon.wait(deadline) {
        Exit::Exited(_) => Ok(true),
        Exit::TimedOut => Err(not_stopped_in_time(context)),
        Exit::Failed(error) => Err(anyhow::Error::from(error).context(format!(
            "cannot wait for \"{}\" control plane to stop",
            context.instance
        ))),
    }
}

/// Opens the process that holds the lock.
fn open(context: &Context, deadline: Instant) -> anyhow::Result<Option<Process>> {
    loop {
        let state = State::of(&context.paths)?;
        if !state.is_running() {
            return Ok(None);
        }
        if let Some(identity) = state.identity()
            && let Some(daemon) = Process::open(identity)?
            && State::of(&context.paths)?.identity() == Some(identity)
        {
            return Ok(Some(daemon));
        }
        // The lock holder has not written its identity yet, or it has just ended.
        if Instant::now() >= deadline {
            return Err(not_stopped_in_time(context));
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

/// Waits until `ready.json` shows that the daemon is stopping, so that the next command does not use it.
fn until_acknowledged(
    context: &Context,
    daemon: &Process,
    deadline: Instant,
) -> anyhow::Result<()> {
    let answer_by = deadline.min(Instant::now() + ANSWER);
    loop {
        let state = State::of(&context.paths)?;
        if state.identity() != Some(daemon.identity()) || state.is_stopping() {
            return Ok(());
        }
        if Instant::now() >= answer_by {
            return Err(does_not_answer(context, daemon));
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

/// Sends the request to the daemon and waits for the acknowledgement.
fn send(
    context: &Context,
    daemon: &Process,
    request: StopRequest,
    deadline: Instant,
) -> anyhow::Result<()> {
    // The port is known only once the daemon is ready.
    while let State::Starting(_) = State::of(&context.paths)? {
        if Instant::now() >= deadline {
            return Err(not_stopped_in_time(context));
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer_by = deadline.min(Instant::now() + ANSWER);
    let answer = runtime.block_on(async {
        tokio::time::timeout_at(answer_by.into(), post(context, daemon, request)).await
    });
    match answer {
        Ok(Ok(())) => Ok(()),
        // The daemon ended before the request reached it.
        Ok(Err(_)) if !daemon.is_running() => Ok(()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(does_not_answer(context, daemon)),
    }
}

async fn post(context: &Context, daemon: &Process, request: StopRequest) -> anyhow::Result<()> {
    let client = client::open(context).await?;
    let body = serde_json::to_vec(&request)?;
    let post = http::Request::post(PATH)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)?;
    let name = &context.instance;
    match client.request::<StopRequest>(post).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => anyhow::bail!(
            "\"{name}\" control plane is an older version that does not support this request: `rdd svc stop` stops it with its \
             VMs; {}",
            by_hand(daemon)
        ),
        Err(kube::Error::Api(status)) => anyhow::bail!("\"{name}\": {}", status.message),
        Err(error) => Err(error).with_context(|| {
            format!("cannot ask \"{name}\" control plane to stop; `rdd svc status` shows whether it runs")
        }),
    }
}

/// The error for a daemon that does not answer. It names the way to end the daemon that keeps the VMs running.
fn does_not_answer(context: &Context, daemon: &Process) -> anyhow::Error {
    Failure::deadline(format_args!(
        "waiting for \"{}\" control plane (PID {}) to answer the request to stop; if it hangs: {}",
        context.instance,
        daemon.identity().pid(),
        by_hand(daemon)
    ))
    .into()
}

/// How to end the daemon in any case: its VMs keep running when it is killed (hazard 20).
fn by_hand(daemon: &Process) -> String {
    let command = if cfg!(windows) {
        "taskkill /F /PID"
    } else {
        "kill -KILL"
    };
    format!(
        "`{command} {}` ends it, its VMs go on running, and `rdd svc start` takes them over",
        daemon.identity().pid()
    )
}

fn not_stopped_in_time(context: &Context) -> anyhow::Error {
    Failure::deadline(format_args!(
        "waiting for \"{}\" control plane to stop",
        context.instance
    ))
    .into()
}
