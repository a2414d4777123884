//! Starts and ends the controllers.

use std::time::{Duration, Instant};

use kube::Client;
use tokio::sync::watch;

use crate::api_call::CallError;
use crate::events::Recorder;
use crate::limavm::{self, Leave};
use crate::{Config, Shutdown, discovery, install};

/// The names of all controllers, each with the group that `--controllers` knows it by.
pub const CONTROLLERS: [(&str, &str); 1] = [(api::lima::CONTROLLER, "lima")];

/// Hazard 31: all VMs are gone in one grace period and this.
pub const AFTER_GRACE: Duration = Duration::from_secs(10);
/// For actors that need no more than to notice.
const KEEP_LIMIT: Duration = Duration::from_secs(5);

/// Why the controllers could not run.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The API server refused something that the controllers cannot do without, or did not answer.
    #[error("{0}")]
    Api(String),
    /// A kind cannot be used.
    #[error("the API server does not serve {name}: {reason}")]
    NotEstablished {
        /// The definition.
        name: String,
        /// What was seen.
        reason: String,
    },
}

impl From<CallError> for ManagerError {
    fn from(error: CallError) -> Self {
        ManagerError::Api(error.to_string())
    }
}

/// Runs the controllers of one process.
pub struct Manager {
    client: Client,
    config: Config,
    ready: watch::Sender<bool>,
    sooner: Sooner,
}

/// Makes a [`Shutdown::StopVms`] that is under way end sooner. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sooner(watch::Sender<Option<Instant>>);

impl Sooner {
    /// The guests have no more than `grace` from now on. It only ever gets shorter.
    pub fn within(&self, grace: Duration) {
        let by = Instant::now() + grace;
        self.0.send_if_modified(|before| {
            let sooner = before.is_none_or(|before| by < before);
            if sooner {
                *before = Some(by);
            }
            sooner
        });
    }

    /// When the guests' time is over, if somebody has lost patience.
    pub fn by(&self) -> Option<Instant> {
        *self.0.borrow()
    }
}

impl Manager {
    /// Does nothing yet.
    pub fn new(client: Client, config: Config) -> Manager {
        Manager {
            client,
            config,
            ready: watch::Sender::new(false),
            sooner: Sooner::default(),
        }
    }

    /// Turns true once every enabled controller has its CRDs established and its entry in discovery.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// For whoever loses patience after `shutdown` has resolved.
    pub fn sooner(&self) -> Sooner {
        self.sooner.clone()
    }

    /// Runs until `shutdown` resolves, and then ends as that says.
    ///
    /// # Errors
    /// The controllers could not be started. What fails later is shown in the conditions of the object concerned, and
    /// tried again.
    pub async fn run(
        self,
        shutdown: impl Future<Output = Shutdown> + Send,
    ) -> Result<(), ManagerError> {
        let mut shutdown = std::pin::pin!(shutdown);
        tokio::select! {
            started = self.prepare() => started?,
            // Nothing runs yet, so there is nothing to stop.
            _ = &mut shutdown => return Ok(()),
        }
        let (leave, leaving) = watch::channel(Leave::Stay);
        let (recorder, writing) = Recorder::new(
            self.client.clone(),
            "limavm-controller",
            self.config.instance.clone(),
        );
        let writing = tokio::spawn(writing);
        // The future of a disabled controller ends when it is told to leave, like the others.
        let enabled = self.config.enabled.contains(api::lima::CONTROLLER);
        let (known, mut all_known) = watch::channel(!enabled);
        let mut controllers = tokio::spawn({
            let (client, config) = (self.client.clone(), self.config.clone());
            async move {
                if enabled {
                    let ready = || {
                        known.send_replace(true);
                    };
                    limavm::dispatch(client, config, recorder, leaving, ready).await;
                } else {
                    let mut leaving = leaving;
                    // An error means that the manager is gone.
                    let _ = leaving.wait_for(|leave| *leave != Leave::Stay).await;
                }
            }
        });
        let announce = async {
            if all_known.wait_for(|known| *known).await.is_ok() {
                discovery::mark_ready(&self.client, &self.config).await?;
                self.ready.send_replace(true);
            }
            std::future::pending::<Result<(), ManagerError>>().await
        };
        let how = tokio::select! {
            how = &mut shutdown => how,
            failed = announce => return failed,
            ended = &mut controllers => {
                let reason = ended.err().map_or_else(|| "it ended".into(), |error| error.to_string());
                return Err(ManagerError::Api(format!("the LimaVM controller broke off: {reason}")));
            }
        };
        let mut sooner = self.sooner.0.subscribe();
        let mut deadline = match how {
            Shutdown::StopVms { grace } => Some(Instant::now() + grace),
            Shutdown::KeepVms => None,
        };
        loop {
            let wanted = *sooner.borrow_and_update();
            deadline =
                deadline.map(|deadline| wanted.map_or(deadline, |wanted| wanted.min(deadline)));
            let (tell, limit) = match deadline {
                Some(deadline) => (
                    Leave::StopVms { deadline },
                    deadline + self.config.after_grace,
                ),
                None => (Leave::KeepVms, Instant::now() + KEEP_LIMIT),
            };
            leave.send_replace(tell);
            tokio::select! {
                ended = tokio::time::timeout_at(limit.into(), &mut controllers) => {
                    if ended.is_err() {
                        tracing::error!("VMs are still being stopped after their time; leaving them to their hostagents");
                        controllers.abort();
                    }
                    break;
                }
                Ok(()) = sooner.changed(), if deadline.is_some() => {}
            }
        }
        writing.abort();
        Ok(())
    }

    async fn prepare(&self) -> Result<(), ManagerError> {
        if self.config.enabled.contains(api::lima::CONTROLLER) {
            for crd in api::crds() {
                install::install(&self.client, &crd).await?;
            }
        }
        discovery::register(&self.client, &self.config).await?;
        Ok(())
    }
}
