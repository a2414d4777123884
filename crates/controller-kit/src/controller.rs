//! The trait that a controller implements, and what it is given to work with.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use tokio::sync::watch;

use crate::health::Reporter;
use crate::recorder::Recorder;
use crate::webhook::Webhook;

/// A controller: makes the world match the objects of one kind.
#[async_trait::async_trait]
pub trait Controller: Send + Sync + 'static {
    /// Its name in `--controllers` and in the discovery ConfigMap, such as `limavm`.
    fn name(&self) -> &'static str;

    /// The short name of its API group in `--controllers`, such as `lima`.
    fn group(&self) -> &'static str;

    /// The CustomResourceDefinitions that must be served before it runs.
    fn crds(&self) -> Vec<CustomResourceDefinition> {
        Vec::new()
    }

    /// Its admission webhooks; they read the objects that they depend on with `client`.
    fn webhooks(&self, client: &Client) -> Vec<Arc<dyn Webhook>> {
        let _ = client;
        Vec::new()
    }

    /// Runs until [`Context::state`] is no longer [`RunState::Running`] and the shutdown work is done.
    ///
    /// It calls [`Context::ready`] once it knows all objects of its kind. If it returns or panics earlier, the manager
    /// reports that and runs it again after a pause; all its state must therefore be on disk or in the API.
    async fn run(&self, context: Context);
}

/// Whether a controller goes on or shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// The controller runs.
    Running,
    /// The control plane shuts down: stop all workloads (virtual machines, for example) in this time, then return.
    Stopping {
        /// When workloads that are still running are killed. It can become earlier, never later.
        deadline: Instant,
    },
    /// The control plane shuts down: leave the workloads running, for the next controller to adopt, and return.
    Detaching,
}

/// What the manager gives a controller. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Writes events about objects.
    pub recorder: Recorder,
    /// Whether to run on or to shut down.
    pub state: watch::Receiver<RunState>,
    pub(crate) reporter: Reporter,
}

impl Context {
    /// Reports that the controller knows all objects of its kind and works. The daemon is ready once all are.
    pub fn ready(&self) {
        self.reporter.ready();
    }

    /// Waits for the shutdown. Cancel safe.
    pub async fn shutdown(&mut self) -> RunState {
        // An error means that the manager was dropped: nothing may be stopped in its name.
        match self
            .state
            .wait_for(|state| *state != RunState::Running)
            .await
        {
            Ok(state) => *state,
            Err(_) => RunState::Detaching,
        }
    }
}
