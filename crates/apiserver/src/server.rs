//! A server: made once, then asked in process ([`Server::service`]) and over HTTPS ([`Server::serve`]).

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::{
    Clock, Config, ReadyCheck, User, VersionInfo,
    admission::AdmissionPlugin,
    bootstrap, cleanup,
    endpoint::Endpoint,
    http::{self, Origin, ResponseBody},
    kinds,
    registry::Registry,
};

/// Namespaces that every server has.
const SYSTEM_NAMESPACES: [&str; 2] = ["default", "kube-system"];

/// Why a server could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An object that the server needs could not be written.
    #[error("cannot write {what} at start: {message}")]
    Bootstrap {
        /// `namespace/default`, `customresourcedefinition/…`
        what: String,
        /// why
        message: String,
    },
    /// What the store holds cannot be read.
    #[error("cannot load {what} from the store: {message}")]
    Load {
        /// key or kind
        what: String,
        /// why
        message: String,
    },
}

/// The API server. Cheap to clone; all clones are the same server.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

/// What all requests share.
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn store::Store>,
    pub(crate) registry: Registry,
    pub(crate) version: VersionInfo,
    pub(crate) clock: Clock,
    admission: RwLock<Vec<Arc<dyn AdmissionPlugin>>>,
    ready_checks: RwLock<Vec<ReadyCheck>>,
    endpoints: RwLock<Vec<Arc<dyn Endpoint>>>,
    closing: watch::Sender<bool>,
    /// Wakes the clean-up of namespaces and definitions.
    pub(crate) cleanup: Notify,
    openapi_revision: AtomicU64,
}

impl Inner {
    /// The time, as it stands in objects.
    pub(crate) fn now(&self) -> String {
        (self.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub(crate) fn admission(&self) -> Vec<Arc<dyn AdmissionPlugin>> {
        let plugins = self.admission.read();
        plugins.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn ready_checks(&self) -> Vec<ReadyCheck> {
        let checks = self.ready_checks.read();
        checks.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn endpoint(&self, path: &str) -> Option<Arc<dyn Endpoint>> {
        let endpoints = self.endpoints.read();
        let endpoints = endpoints.unwrap_or_else(PoisonError::into_inner);
        let found = endpoints.iter().find(|endpoint| endpoint.path() == path);
        found.cloned()
    }

    /// Becomes true when the server stops.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    pub(crate) fn wake_cleanup(&self) {
        self.cleanup.notify_one();
    }

    /// Changes whenever the OpenAPI documents may have.
    pub(crate) fn openapi_revision(&self) -> u64 {
        self.openapi_revision.load(Ordering::Relaxed)
    }

    pub(crate) fn forget_openapi(&self) {
        self.openapi_revision
            .fetch_max(self.store.revision(), Ordering::Relaxed);
    }
}

impl Server {
    /// Writes what must exist (namespaces, CRDs), loads the custom resources and starts the background work
    /// (garbage collection, namespace deletion). Needs a tokio runtime.
    pub async fn new(config: Config) -> Result<Self, StartError> {
        let system = SYSTEM_NAMESPACES.iter().map(|name| (*name).to_owned());
        let protected: Arc<[String]> = system.chain(config.namespaces).collect();
        let inner = Arc::new(Inner {
            registry: Registry::default(),
            version: config.version,
            clock: config.clock,
            admission: RwLock::new(config.admission),
            ready_checks: RwLock::new(config.ready_checks),
            endpoints: RwLock::default(),
            closing: watch::Sender::new(false),
            cleanup: Notify::new(),
            openapi_revision: AtomicU64::new(config.store.revision()),
            store: config.store,
        });
        let built_in = kinds::all(Arc::clone(&protected));
        inner.registry.change(|resources| *resources = built_in);
        bootstrap::load_definitions(&inner)?;
        bootstrap::namespaces(&inner, &protected).await?;
        bootstrap::definitions(&inner, &config.crds).await?;
        cleanup::start(&inner);
        Ok(Self { inner })
    }

    /// A tower service for requests in process, as this user: `kube::Client::new(server.service(user), "default")`.
    pub fn service(&self, user: User) -> ApiService {
        self.from(Some(user))
    }

    /// A service for somebody who has not said who they are.
    pub fn anonymous_service(&self) -> ApiService {
        self.from(None)
    }

    fn from(&self, user: Option<User>) -> ApiService {
        let origin = Origin {
            server: Arc::clone(&self.inner),
            user,
            closing: self.inner.closing(),
        };
        ApiService { origin }
    }

    /// Adds in-process admission, for plugins that need a client of this server.
    pub fn add_admission(&self, plugin: Arc<dyn AdmissionPlugin>) {
        let plugins = self.inner.admission.write();
        plugins.unwrap_or_else(PoisonError::into_inner).push(plugin);
    }

    /// Adds a condition of readiness.
    pub fn add_ready_check(&self, check: ReadyCheck) {
        let checks = self.inner.ready_checks.write();
        checks.unwrap_or_else(PoisonError::into_inner).push(check);
    }

    /// Adds a path that is no part of the Kubernetes API.
    pub fn add_endpoint(&self, endpoint: Arc<dyn Endpoint>) {
        let endpoints = self.inner.endpoints.write();
        endpoints
            .unwrap_or_else(PoisonError::into_inner)
            .push(endpoint);
    }

    /// Serves HTTPS on `listener` until `shutdown` resolves or [`Server::shutdown`] is called; then ends the watches
    /// of this listener (those in process go on), lets requests under way finish (bounded) and returns. TLS as made by [`crate::pki::Pki::server_config`].
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        tls: Arc<rustls::ServerConfig>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        http::listener::serve(Arc::clone(&self.inner), listener, tls, shutdown).await
    }

    /// Ends all watches, the listeners and the background work. The store is the caller's to close.
    pub async fn shutdown(&self) {
        self.inner.close();
    }
}

/// A tower service that answers requests in process.
#[derive(Clone)]
pub struct ApiService {
    origin: Origin,
}

impl<B> tower::Service<::http::Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    type Response = ::http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: ::http::Request<B>) -> Self::Future {
        let origin = self.origin.clone();
        Box::pin(async move { Ok(http::respond(origin, request).await) })
    }
}
