//! [`Frontend`]: all that requests share above the registry.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::mount::Mounts;
use crate::{
    config::{ReadyCheck, VersionInfo},
    handlers::request::Closing,
    registry::backend::Backend,
};

/// All that requests share above the registry.
pub(crate) struct Frontend {
    pub(crate) backend: Arc<Backend>,
    pub(crate) version: VersionInfo,
    pub(crate) ready_checks: RwLock<Vec<ReadyCheck>>,
    pub(crate) mounts: Mounts,
    /// Becomes true when the server stops.
    pub(crate) closing: watch::Sender<bool>,
}

impl Frontend {
    /// Returns a receiver that becomes true when the server stops.
    pub(crate) fn closing(&self) -> Closing {
        self.closing.subscribe()
    }
}
