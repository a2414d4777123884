//! [`Renewal`]: keeps the certificates of a running server valid. They expire under a daemon that runs for years, or
//! whose clock was years behind when it started and was corrected later.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::ServerConfig;
use tokio::sync::watch;

use super::{Pki, PkiError};

/// The certificates of a running server, and the TLS configuration made of them.
pub struct Renewal {
    dir: PathBuf,
    current: Pki,
    tls: watch::Sender<Arc<ServerConfig>>,
}

impl Renewal {
    /// How often [`Renewal::check`] should be called. It costs microseconds while nothing has to be renewed.
    pub const INTERVAL: Duration = Duration::from_secs(60);

    /// Starts with the certificates that were loaded from `dir`.
    ///
    /// # Errors
    /// [`PkiError::Tls`] if rustls refuses the certificates.
    pub fn new(dir: PathBuf, current: Pki) -> Result<Self, PkiError> {
        let tls = watch::Sender::new(current.server_config()?);
        Ok(Self { dir, current, tls })
    }

    /// Returns the TLS configuration for `Server::serve`. It changes with the certificates.
    pub fn tls(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.tls.subscribe()
    }

    /// Issues the certificates that are about to expire at `now`. Returns the new certificates if any changed; clients
    /// then need a new kubeconfig. Reads and writes files only if a certificate is about to expire.
    ///
    /// # Errors
    /// [`PkiError`] if the certificates cannot be issued; the server keeps the old ones.
    pub fn check(&mut self, now: SystemTime) -> Result<Option<&Pki>, PkiError> {
        if self.current.is_valid_for_long(now) {
            return Ok(None);
        }
        let new = Pki::load_or_create(&self.dir, now)?;
        if new == self.current {
            return Ok(None);
        }
        self.tls.send_replace(new.server_config()?);
        self.current = new;
        tracing::info!(dir = %self.dir.display(), "renewed the certificates of the API server");
        Ok(Some(&self.current))
    }
}
