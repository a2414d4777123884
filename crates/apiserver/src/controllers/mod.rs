//! The server's own controllers, all level-triggered: a wake-up carries no data, it only causes another look.
//!
//! [`definitions`] serves the kinds that CustomResourceDefinitions declare, [`content`] empties namespaces and
//! definitions that are being deleted, [`garbage`] deletes the objects whose owners are gone.

mod content;
pub(crate) mod definitions;
mod garbage;
mod invalid_owner;
mod owners;

use std::{sync::Arc, time::Duration};

use store::Revision;
use tokio::sync::watch;

use crate::registry::backend::Backend;

/// The pause before work that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Starts to follow the definitions, from the revision at which they were loaded.
pub(crate) fn start_definitions(
    backend: &Arc<Backend>,
    closing: watch::Receiver<bool>,
    loaded: Revision,
) {
    let backend = Arc::clone(backend);
    spawn(closing, async move {
        definitions::run(&backend, loaded).await;
    });
}

/// Starts the controllers that delete objects.
pub(crate) fn start_cleanup(backend: &Arc<Backend>, closing: &watch::Receiver<bool>) {
    let shared = Arc::clone(backend);
    spawn(closing.clone(), async move { content::run(&shared).await });
    let shared = Arc::clone(backend);
    spawn(closing.clone(), async move { garbage::run(&shared).await });
}

/// Runs a controller until the server closes.
fn spawn(
    mut closing: watch::Receiver<bool>,
    controller: impl Future<Output = ()> + Send + 'static,
) {
    tokio::spawn(async move {
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => {}
            () = controller => {}
        }
    });
}
