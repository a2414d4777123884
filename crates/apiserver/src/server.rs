//! [`Server`]: the assembly of all parts. It answers in process ([`Server::service`]) and over HTTPS
//! ([`Server::serve`]).

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    access::user::User,
    admission::{chain::Chain, namespace_lifecycle::NamespaceLifecycle, plugin::AdmissionPlugin},
    bootstrap::{self, BootstrapError},
    codec::body::ResponseBody,
    config::{Config, ReadyCheck},
    controllers,
    http::{
        frontend::Frontend,
        listener,
        mount::{MountedService, Mounts},
        request::{self, Origin},
        tls::Tls,
    },
    kinds::{self, catalog::Catalog},
    registry::backend::Backend,
};

/// Namespaces that every server has.
const SYSTEM_NAMESPACES: [&str; 2] = ["default", "kube-system"];

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An object that the server needs could not be written.
    #[error("cannot write {what} at start: {message}")]
    Bootstrap {
        /// The object, such as `namespace/default`.
        what: String,
        /// The cause.
        message: String,
    },
    /// The store could not be read.
    #[error("cannot load {what} from the store: {message}")]
    Load {
        /// The key or the kind.
        what: String,
        /// The cause.
        message: String,
    },
}

impl From<BootstrapError> for StartError {
    fn from(error: BootstrapError) -> Self {
        Self::Bootstrap {
            what: error.what,
            message: error.message,
        }
    }
}

/// The API server. Cheap to clone; all clones are the same server.
#[derive(Clone)]
pub struct Server {
    frontend: Arc<Frontend>,
}

impl Server {
    /// Assembles a server, creates the namespaces and definitions that it needs, and starts its controllers. Needs a
    /// tokio runtime.
    pub async fn new(config: Config) -> Result<Self, StartError> {
        let system = SYSTEM_NAMESPACES.iter().map(|name| (*name).to_owned());
        let protected: Arc<[String]> = system.chain(config.namespaces).collect();
        let lifecycle = NamespaceLifecycle {
            store: Arc::clone(&config.store),
            protected: Arc::clone(&protected),
        };
        let backend = Arc::new(Backend {
            store: config.store,
            clock: config.clock,
            admission: Chain::new(vec![Box::new(lifecycle)], config.admission),
            kinds: Catalog::new(kinds::built_in()),
        });
        let frontend = Arc::new(Frontend {
            backend: Arc::clone(&backend),
            version: config.version,
            ready_checks: RwLock::new(config.ready_checks),
            mounts: Mounts::default(),
            closing: watch::Sender::new(false),
        });
        let definitions = controllers::definitions::load(&backend);
        let definitions = definitions.map_err(|error| StartError::Load {
            what: "the custom resource definitions".into(),
            message: error.to_string(),
        })?;
        controllers::start_definitions(&backend, frontend.closing(), definitions);
        bootstrap::namespaces(&backend, &protected).await?;
        bootstrap::definitions(&backend, &config.crds).await?;
        controllers::start_cleanup(&backend, &frontend.closing());
        Ok(Self { frontend })
    }

    /// Returns a tower service for requests in process by this user:
    /// `kube::Client::new(server.service(user), "default")`.
    pub fn service(&self, user: User) -> ApiService {
        self.service_of(Some(user))
    }

    /// Returns a tower service for requests of an anonymous client.
    pub fn anonymous_service(&self) -> ApiService {
        self.service_of(None)
    }

    fn service_of(&self, user: Option<User>) -> ApiService {
        let origin = Origin {
            frontend: Arc::clone(&self.frontend),
            user,
            closing: self.frontend.closing(),
        };
        ApiService { origin }
    }

    /// Adds an admission plugin, for plugins that need a client of this server.
    pub fn add_admission(&self, plugin: Arc<dyn AdmissionPlugin>) {
        self.frontend.backend.admission.add(plugin);
    }

    /// Adds a readiness check.
    pub fn add_ready_check(&self, check: ReadyCheck) {
        self.frontend.ready_checks.write().push(check);
    }

    /// Mounts a service at a path prefix without a trailing slash, such as `/rdd/v1`. It answers all paths below the
    /// prefix, for users who may do everything.
    pub fn mount(&self, prefix: &str, service: MountedService) {
        self.frontend.mounts.add(prefix, service);
    }

    /// Serves HTTPS on `listener` until `shutdown` resolves or [`Server::shutdown`] is called. Then ends the watches
    /// of this listener, waits a limited time for other requests, and returns. Watches in process are not affected.
    /// [`crate::pki::Pki::server_config`] makes a TLS configuration, [`crate::pki::Renewal::tls`] one that changes with the
    /// certificates.
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        tls: impl Into<Tls>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> std::io::Result<()> {
        listener::serve(Arc::clone(&self.frontend), listener, tls.into(), shutdown).await
    }

    /// Ends all watches, the listeners and the controllers. Closing the store is left to the caller.
    pub async fn shutdown(&self) {
        self.frontend.closing.send_replace(true);
    }
}

/// A tower service that answers requests in process.
#[derive(Clone)]
pub struct ApiService {
    origin: Origin,
}

impl<B> tower::Service<http::Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    type Response = http::Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let origin = self.origin.clone();
        Box::pin(async move { Ok(request::respond(origin, request).await) })
    }
}
