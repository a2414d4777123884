//! `rdd hostagent`: the process of one VM. The daemon starts it, and it outlives the daemon.

use std::path::Path;

use anyhow::Context as _;
use hostagent::{Limits, Options};
use lima::layout::InstanceDir;
use process::stop::{StopReason, StopRequests};

use crate::cli::HostagentArgs;
use crate::context::Context;
use crate::exit::Exit;

/// Threads of the async runtime: one for the guest's events, one for requests on the control socket.
const WORKERS: usize = 2;
/// The most threads for blocking work, such as preparing files. Idle threads end.
const BLOCKING_WORKERS: usize = 4;

/// Runs the VM in this folder until it has ended.
pub(crate) fn run(context: &Context, arguments: &HostagentArgs) -> anyhow::Result<Exit> {
    keep_files_private();
    let dir = &arguments.dir;
    let name = dir
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} does not end in the name of a VM", dir.display()))?;
    let options = Options {
        dir: InstanceDir::at(dir, name),
        config_dir: dir.parent().unwrap_or(Path::new("/")).join("_config"),
        cache_dir: arguments
            .cache_dir
            .clone()
            .unwrap_or_else(|| context.paths.cache_dir.clone()),
        search_path: context.environment.search_path.clone(),
        accelerator: None,
        host: lima::cidata::HostFacts {
            variables: context.environment.proxies.clone(),
            home: context.environment.home.clone(),
        },
        limits: Limits::default(),
        wall_clock: std::time::SystemTime::now,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_WORKERS)
        .enable_all()
        .build()
        .context("cannot start the threads of the hostagent")?;
    let outcome = runtime.block_on(async {
        let mut requests = StopRequests::listen().context("cannot listen for requests to stop")?;
        let stop = async move {
            // A hostagent has no terminal, so SIGHUP has no meaning here.
            while requests.next().await == StopReason::TerminalClosed {}
        };
        hostagent::run(options, stop)
            .await
            .map_err(anyhow::Error::from)
    });
    runtime.shutdown_background();
    Ok(Exit::Remote(outcome?.exit_code()))
}

/// Sets the umask: QEMU creates its sockets and the serial log, and only the owner may read them.
#[cfg(unix)]
fn keep_files_private() {
    use rustix::fs::Mode;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

#[cfg(not(unix))]
fn keep_files_private() {}
