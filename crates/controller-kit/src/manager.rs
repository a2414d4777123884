//! Starts, supervises and stops controllers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::back_off::BackOff;
use crate::call::CallError;
use crate::controller::{Context, Controller, RunState};
use crate::health::Health;
use crate::recorder::Recorder;
use crate::webhook::Webhook;
use crate::{discovery, install};

/// How long after the end of the grace period all workloads may take to be gone (hazard 31).
pub const AFTER_GRACE: Duration = Duration::from_secs(10);
/// How long controllers may take to return when they leave their workloads running.
const DETACH_LIMIT: Duration = Duration::from_secs(5);
/// The longest pause before a controller that failed runs again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The configuration of a [`Manager`], from the program that it is part of.
#[derive(Debug, Clone)]
pub struct Config {
    /// The instance of rdd, such as `2`; reported with events.
    pub instance: String,
    /// The key in the discovery ConfigMap: [`discovery::EMBEDDED_MANAGER`] in the daemon.
    pub manager_name: String,
    /// When the control plane started.
    pub started_at: Timestamp,
    /// How long after the end of the grace period controllers may take to return; [`AFTER_GRACE`] unless the host is
    /// known to be overloaded.
    pub after_grace: Duration,
}

/// How the controllers shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Stop all workloads, at once and under one deadline. A workload's own grace period can only shorten it.
    StopWorkloads {
        /// How long they may take before they are killed.
        grace: Duration,
    },
    /// Leave the workloads running, for the next manager to adopt.
    KeepWorkloads,
}

/// Why the manager could not start.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The API server refused a call that the controllers depend on, or did not answer it.
    #[error(transparent)]
    Api(#[from] CallError),
    /// A CustomResourceDefinition was installed and is not served.
    #[error("the API server does not serve {name}: {reason}")]
    NotEstablished {
        /// The name of the definition.
        name: String,
        /// What was observed.
        reason: String,
    },
}

/// Shortens the grace period of a [`Shutdown::StopWorkloads`]. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct GraceLimit(watch::Sender<Option<Instant>>);

impl GraceLimit {
    /// Workloads have at most `grace` from now on. It only ever gets shorter.
    pub fn within(&self, grace: Duration) {
        let Some(deadline) = Instant::now().checked_add(grace) else {
            return;
        };
        self.0.send_if_modified(|before| {
            let sooner = before.is_none_or(|before| deadline < before);
            if sooner {
                *before = Some(deadline);
            }
            sooner
        });
    }

    /// The deadline, if one was set.
    pub fn deadline(&self) -> Option<Instant> {
        *self.0.borrow()
    }
}

/// Runs the controllers of one process.
pub struct Manager {
    client: Client,
    config: Config,
    controllers: Vec<Arc<dyn Controller>>,
    health: Health,
    ready: watch::Sender<bool>,
    grace_limit: GraceLimit,
}

impl Manager {
    /// A manager of these controllers. It does nothing before [`Manager::run`].
    pub fn new(client: Client, config: Config, controllers: Vec<Arc<dyn Controller>>) -> Manager {
        let health = Health::new(controllers.iter().map(|controller| controller.name()));
        Manager {
            client,
            config,
            controllers,
            health,
            ready: watch::Sender::new(false),
            grace_limit: GraceLimit::default(),
        }
    }

    /// Turns true once every controller has its CRDs established, is announced in discovery and works.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Which controllers work.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Shortens the grace period after `shutdown` has resolved.
    pub fn grace_limit(&self) -> GraceLimit {
        self.grace_limit.clone()
    }

    /// The admission webhooks of its controllers.
    pub fn webhooks(&self) -> Vec<Arc<dyn Webhook>> {
        let controllers = self.controllers.iter();
        controllers
            .flat_map(|controller| controller.webhooks(&self.client))
            .collect()
    }

    /// Runs until `shutdown` resolves, then shuts the controllers down as it says.
    ///
    /// # Errors
    /// The controllers could not be started. Later failures are reported in [`Manager::health`] and retried.
    pub async fn run(
        self,
        shutdown: impl Future<Output = Shutdown> + Send,
    ) -> Result<(), ManagerError> {
        let mut shutdown = std::pin::pin!(shutdown);
        tokio::select! {
            prepared = self.prepare() => prepared?,
            // No controller runs yet, so there is nothing to shut down.
            _ = &mut shutdown => return Ok(()),
        }
        let (state, receiver) = watch::channel(RunState::Running);
        let mut writers = JoinSet::new();
        let mut tasks = JoinSet::new();
        for controller in &self.controllers {
            let (recorder, writer) = Recorder::new(
                self.client.clone(),
                format!("{}-controller", controller.name()),
                self.config.instance.clone(),
            );
            writers.spawn(writer);
            let context = Context {
                client: self.client.clone(),
                recorder,
                state: receiver.clone(),
                reporter: self.health.reporter(controller.name()),
            };
            tasks.spawn(supervise(Arc::clone(controller), context));
        }
        let announce = async {
            self.health.all_ready().await;
            discovery::mark_ready(&self.client, &self.config).await?;
            self.ready.send_replace(true);
            std::future::pending::<Result<(), ManagerError>>().await
        };
        let how = tokio::select! {
            how = &mut shutdown => how,
            failed = announce => return failed,
        };
        self.shut_down(how, &state, tasks).await;
        Ok(())
    }

    async fn prepare(&self) -> Result<(), ManagerError> {
        for controller in &self.controllers {
            for crd in controller.crds() {
                install::install(&self.client, &crd).await?;
            }
        }
        let names = self.controllers.iter().map(|controller| controller.name());
        discovery::register(&self.client, &self.config, names).await?;
        Ok(())
    }

    /// Tells the controllers to shut down and waits until they have, within the deadline.
    async fn shut_down(
        &self,
        how: Shutdown,
        state: &watch::Sender<RunState>,
        mut tasks: JoinSet<()>,
    ) {
        let mut limit_changes = self.grace_limit.0.subscribe();
        let mut deadline = match how {
            Shutdown::StopWorkloads { grace } => Some(later(Instant::now(), grace)),
            Shutdown::KeepWorkloads => None,
        };
        loop {
            let limit = *limit_changes.borrow_and_update();
            deadline = deadline.map(|deadline| limit.map_or(deadline, |limit| limit.min(deadline)));
            let (next, give_up) = match deadline {
                Some(deadline) => (
                    RunState::Stopping { deadline },
                    later(deadline, self.config.after_grace),
                ),
                None => (RunState::Detaching, later(Instant::now(), DETACH_LIMIT)),
            };
            state.send_replace(next);
            let ended = async { while tasks.join_next().await.is_some() {} };
            tokio::select! {
                ended = tokio::time::timeout_at(give_up.into(), ended) => {
                    if ended.is_err() {
                        tracing::error!("controllers have not stopped their workloads in time; leaving them behind");
                        tasks.abort_all();
                    }
                    return;
                }
                Ok(()) = limit_changes.changed(), if deadline.is_some() => {}
            }
        }
    }
}

/// `start + wait`, or a day from `start` for a time that is beyond the clock's range.
fn later(start: Instant, wait: Duration) -> Instant {
    start
        .checked_add(wait)
        .unwrap_or(start + Duration::from_secs(24 * 3600))
}

/// Runs a controller until the shutdown, and again with back-off whenever it panics or returns before.
async fn supervise(controller: Arc<dyn Controller>, context: Context) {
    let mut back_off = BackOff::default();
    let mut state = context.state.clone();
    loop {
        let started = Instant::now();
        let result = AssertUnwindSafe(controller.run(context.clone()))
            .catch_unwind()
            .await;
        if *state.borrow() != RunState::Running {
            return;
        }
        if started.elapsed() > LONGEST_PAUSE {
            back_off.reset();
        }
        let pause = back_off.failed(Instant::now(), LONGEST_PAUSE);
        let cause = match &result {
            Ok(()) => "it returned before the shutdown".to_owned(),
            Err(panic) => format!("it panicked: {}", panic_text(panic.as_ref())),
        };
        let reason = format!("{cause}; running it again in {} s", pause.as_secs());
        tracing::error!(
            controller = controller.name(),
            "the controller failed: {reason}"
        );
        context.reporter.failed(reason);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = state.wait_for(|state| *state != RunState::Running) => return,
        }
    }
}

/// The message of a panic.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
