//! [`Tls`]: the TLS configuration of a listener, which can change while the listener runs.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

/// The TLS configuration of a listener. Each new connection uses the configuration of that moment.
#[derive(Clone)]
pub struct Tls(watch::Receiver<Arc<ServerConfig>>);

impl Tls {
    /// Returns the configuration for a new connection.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.borrow())
    }
}

impl From<watch::Receiver<Arc<ServerConfig>>> for Tls {
    fn from(receiver: watch::Receiver<Arc<ServerConfig>>) -> Self {
        Self(receiver)
    }
}

/// A configuration that never changes.
impl From<Arc<ServerConfig>> for Tls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self(watch::channel(config).1)
    }
}
