//! Assembles the parts of the daemon, runs them, and stops them in reverse order.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use apiserver::pki::{Pki, Renewal};
use apiserver::{Config as ServerConfig, ReadyCheck, Server, User};
use controller_kit::discovery::{EMBEDDED_MANAGER, NAMESPACE as SYSTEM_NAMESPACE};
use controller_kit::{Config as ManagerConfig, Controller, Manager, Shutdown};
use kube::CustomResourceExt as _;
use lima_controllers::{Config as LimaConfig, HostagentCommand, LimaVmController};
use process::Identity;
use process::stop::{StopReason, StopRequests};
use rdd_controllers::{NotaryController, ReplicaSetController};
use store::{IndexedStore, Store};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::certificates::{self, Kubeconfig};
use super::decision::{Decision, StopEndpoint};
use super::{Readiness, admission, check, port, write_plain};
use crate::cli::ServeSettings;
use crate::context::Context;
use crate::service::check_request;
use crate::service::state::Ready;
use crate::service::stop_request::{PATH, StopRequest};

/// The user name of the controllers.
const CONTROLLERS_USER: &str = "system:rdd:controllers";

/// How long guests may take to shut down when the daemon stops, unless the request says otherwise.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// How much longer the controllers may take to switch off the remaining VMs and write their status.
const STOP_MARGIN: Duration = Duration::from_secs(15);
/// How long in-flight requests may take to end.
const SERVER_STOP: Duration = Duration::from_secs(5);

/// How often the files by which commands find the daemon are checked.
const RESTORE: Duration = Duration::from_secs(1);

/// How many backups of a VM's logs are kept, as many as of the daemon's.
const KEPT_LOGS: usize = 5;

/// Runs the daemon's parts until a signal or a request stops it.
pub(super) async fn run(
    context: &Context,
    settings: &ServeSettings,
    enabled: BTreeSet<String>,
    background: bool,
    identity: Identity,
    readiness: &mut Readiness,
) -> anyhow::Result<()> {
    let mut requests = StopRequests::listen().context("cannot listen for requests to stop")?;
    let started_at = jiff::Timestamp::now();
    let paths = &context.paths;
    // In parallel: for a new instance each of them writes to disk a dozen times.
    let (database, tls_dir) = (paths.database(), paths.tls_dir());
    let (store, pki) = tokio::join!(
        tokio::task::spawn_blocking(move || IndexedStore::sqlite(
            &database,
            store::Options::default()
        )),
        tokio::task::spawn_blocking(move || Pki::load_or_create(&tls_dir, SystemTime::now())),
    );
    let store = Arc::new(store.context("opening the database broke")??);
    let pki = pki.context("making the certificates broke")??;
    process::crash::point("daemon.after-store");
    let listener = port::listen(&context.instance, settings.secure_port)?;
    let port = listener
        .local_addr()
        .context("cannot find out the port of the API")?
        .port();
    listener
        .set_nonblocking(true)
        .context("cannot prepare the port of the API")?;
    let listener = tokio::net::TcpListener::from_std(listener)
        .context("cannot prepare the port of the API")?;

    let mut config = ServerConfig::new(Arc::clone(&store) as Arc<dyn Store>);
    // LimaVMs are served even without their controller. The controllers of the other kinds install their definitions.
    config.crds = [api::LimaVM::crd()]
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()?;
    config.namespaces = vec![SYSTEM_NAMESPACE.to_owned()];
    let server = Server::new(config).await?;
    let client = kube::Client::new(server.service(User::master(CONTROLLERS_USER)), "default");
    let lima_home = lima::layout::LimaHome::new(paths.lima_home());
    check::log_opening(&store, &lima_home);
    server.mount(check_request::PATH, check::service(Arc::clone(&store)));
    check::publish_events(&store, &client, SYSTEM_NAMESPACE).await;
    let lima_controller = LimaVmController::new(LimaConfig {
        lima_home,
        image_cache: paths.cache_dir.clone(),
        kept_logs: context.environment.keep_logs.then(|| paths.kept_vm_logs()),
        hostagent: hostagent_command(context)?,
        stop_grace: STOP_GRACE,
    });
    let available: Vec<Arc<dyn Controller>> = vec![
        Arc::new(lima_controller),
        Arc::new(NotaryController),
        Arc::new(ReplicaSetController),
    ];
    // The rules of a kind hold also while its controller is disabled.
    for controller in &available {
        for webhook in controller.webhooks(&client) {
            server.add_admission(admission::plugin(webhook));
        }
    }
    let decision = Decision::new();
    let kubeconfig = Kubeconfig::of(context, port);
    kubeconfig.write(&pki)?;
    let renewal = Renewal::new(paths.tls_dir(), pki)?;
    process::crash::point("daemon.after-kubeconfig");

    let (stop_serving, serving_stopped) = oneshot::channel::<()>();
    let mut serving: JoinHandle<std::io::Result<()>> = tokio::spawn({
        let server = server.clone();
        let tls = renewal.tls();
        async move {
            server
                .serve(listener, tls, async { drop(serving_stopped.await) })
                .await
        }
    });

    let renewing = tokio::spawn(certificates::keep_valid(renewal, kubeconfig));

    let manager = Manager::new(
        client,
        ManagerConfig {
            instance: context.instance.suffix().to_owned(),
            manager_name: EMBEDDED_MANAGER.to_owned(),
            started_at,
            after_grace: controller_kit::manager::AFTER_GRACE,
        },
        available
            .into_iter()
            .filter(|controller| enabled.contains(controller.name()))
            .collect(),
    );
    let stop = StopEndpoint {
        decision: decision.clone(),
        grace_limit: manager.grace_limit(),
        default_grace: STOP_GRACE,
    };
    server.mount(PATH, stop.into_service());
    let mut controllers_ready = manager.ready();
    let health = manager.health();
    server.add_ready_check(ReadyCheck {
        name: "controllers".to_owned(),
        check: Arc::new(move || health.check()),
    });
    let (stop_controllers, controllers_stopped) = oneshot::channel::<Shutdown>();
    let mut controlling = tokio::spawn(manager.run(async move {
        // A dropped sender means that the task failed: leave the VMs running.
        controllers_stopped.await.unwrap_or(Shutdown::KeepWorkloads)
    }));

    let outcome = async {
        tokio::select! {
            ready = controllers_ready.wait_for(|ready| *ready) => {
                if ready.is_err() {
                    // The manager has ended; its own error has the reason.
                    return ended("the controllers", (&mut controlling).await.map(|result| result.map_err(anyhow::Error::from)));
                }
            }
            ended_early = &mut serving => return ended("the API server", ended_early.map(|result| result.map_err(anyhow::Error::from))),
            reason = requests.next() => {
                tracing::info!(?reason, "asked to stop while starting");
                return Ok(decision.decide(StopRequest::BY_SIGNAL));
            }
            request = decision.made() => return Ok(request),
        }
        let ready = Ready::of(identity.clone(), port, paths);
        let ready = serde_json::to_string(&ready)?;
        write_plain(&paths.ready_file(), &ready)?;
        tracing::info!(port, "Marked control plane as ready");
        process::crash::point("daemon.after-ready");
        // Read before any command can find the daemon, and so before one can damage the file.
        let config = std::fs::read_to_string(paths.config()).unwrap_or_default();
        readiness.ready();
        tokio::select! {
            () = stop_requested(&mut requests, background) => Ok(decision.decide(StopRequest::BY_SIGNAL)),
            request = decision.made() => Ok(request),
            result = &mut serving => ended("the API server", result.map(|result| result.map_err(anyhow::Error::from))),
            result = &mut controlling => ended("the controllers", result.map(|result| result.map_err(anyhow::Error::from))),
            never = restore_files(context, &ready, port, config) => match never {},
        }
    }
    .await;

    // In reverse order: the controllers need the API to write the final status of the VMs.
    let grace = match outcome {
        Ok(request) => request.grace(STOP_GRACE),
        // After an error of the daemon the VMs keep running.
        Err(_) => None,
    };
    // A command that needs a running daemon waits for the next one.
    let stopping = Ready {
        stopping: true,
        ..Ready::of(identity, port, paths)
    };
    if let Err(error) = serde_json::to_vec(&stopping)
        .map_err(anyhow::Error::from)
        .and_then(|text| {
            Ok(process::file::write_atomic(
                &paths.ready_file(),
                &text,
                0o600,
            )?)
        })
    {
        tracing::warn!("cannot record that the daemon is stopping: {error}");
    }
    let _ = stop_controllers.send(grace.map_or(Shutdown::KeepWorkloads, |grace| {
        Shutdown::StopWorkloads { grace }
    }));
    if !controlling.is_finished() {
        let limit = grace.unwrap_or_default().saturating_add(STOP_MARGIN);
        tokio::select! {
            result = tokio::time::timeout(limit, &mut controlling) => match result {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::error!("the controllers ended with an error: {error}"),
                Ok(Err(error)) => tracing::error!("the controllers panicked: {error}"),
                Err(_) => tracing::error!("the controllers have not ended after {limit:?}; leaving them"),
            },
            () = second_interrupt(&mut requests, background) => tracing::warn!("interrupted again: not waiting for the VMs"),
        }
    }
    process::crash::point("daemon.stop.after-controllers");
    renewing.abort();
    drop(stop_serving);
    if !serving.is_finished() && tokio::time::timeout(SERVER_STOP, serving).await.is_err() {
        tracing::warn!("requests are still in flight after {SERVER_STOP:?}; ending without them");
    }
    server.shutdown().await;
    store.close().await;
    tracing::info!("the control plane has stopped");
    outcome.map(|_| ())
}

/// Resolves when the daemon must stop. A daemon in the background ignores that its terminal was closed.
async fn stop_requested(requests: &mut StopRequests, background: bool) {
    loop {
        let reason = requests.next().await;
        if background && reason == StopReason::TerminalClosed {
            continue;
        }
        tracing::info!(?reason, "asked to stop");
        return;
    }
}

/// Resolves at a second Ctrl-C. A second `svc stop` does not count.
async fn second_interrupt(requests: &mut StopRequests, background: bool) {
    loop {
        if requests.next().await == StopReason::Interrupted && !background {
            return;
        }
    }
}

/// The error for a part that ended before the daemon was asked to stop.
fn ended<T>(
    part: &str,
    result: Result<anyhow::Result<()>, tokio::task::JoinError>,
) -> anyhow::Result<T> {
    match result {
        Ok(Ok(())) => bail!("{part} ended by itself"),
        Ok(Err(error)) => Err(error.context(format!("{part} ended"))),
        Err(error) => Err(error).with_context(|| format!("{part} panicked")),
    }
}

/// Writes `ready.json` and the kubeconfig again when something removed or damaged them: without them no command finds the
/// daemon. The renewal of the certificates changes the kubeconfig as well; its text is then the one to restore.
async fn restore_files(
    context: &Context,
    ready: &str,
    port: u16,
    mut config: String,
) -> Infallible {
    let (ready_file, config_file) = (context.paths.ready_file(), context.paths.config());
    let server = format!("https://127.0.0.1:{port}");
    loop {
        tokio::time::sleep(RESTORE).await;
        let is_right = std::fs::read(&ready_file)
            .is_ok_and(|current| serde_json::from_slice::<Ready>(&current).is_ok());
        let mut restored = if is_right {
            Ok(())
        } else {
            write_plain(&ready_file, ready)
        };
        match std::fs::read_to_string(&config_file) {
            Ok(current) if current.contains(&server) => config = current,
            _ => {
                let written = process::file::write_atomic(&config_file, config.as_bytes(), 0o600);
                restored = restored.and(written.map_err(Into::into));
            }
        }
        if let Err(error) = restored {
            tracing::debug!("cannot restore a file of the control plane: {error:#}");
        }
    }
}

fn hostagent_command(context: &Context) -> anyhow::Result<HostagentCommand> {
    let environment = &context.environment;
    let mut env = vec![("RDD_INSTANCE".into(), context.instance.suffix().into())];
    if context.logging.explicit {
        env.push((
            "RDD_LOG_LEVEL".into(),
            context.logging.level.to_string().into(),
        ));
    }
    Ok(HostagentCommand {
        program: own_program()?,
        args: vec![
            "hostagent".into(),
            "--cache-dir".into(),
            context.paths.cache_dir.clone().into(),
        ],
        env,
        kept_logs: (!environment.keep_logs).then_some(KEPT_LOGS),
        log_title: environment.log_title.clone(),
    })
}

/// The program that is running, to start hostagents. The path stays valid when an upgrade moves or removes the file.
#[cfg(target_os = "linux")]
fn own_program() -> anyhow::Result<PathBuf> {
    Ok(PathBuf::from("/proc/self/exe"))
}

/// The program that is running, to start hostagents.
#[cfg(not(target_os = "linux"))]
fn own_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find the program that is running, to start hostagents")
}
