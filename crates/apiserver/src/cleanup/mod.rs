//! The server's own background work, all of it level-triggered: a wake-up says "look again".
//!
//! [`content`] empties namespaces and custom resources that are being deleted; [`garbage`] deletes what has lost
//! its owners.

mod content;
mod garbage;
mod owners;

use std::{sync::Arc, time::Duration};

use crate::server::Inner;

/// How soon work that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Starts the tasks; they end when the server closes.
pub(crate) fn start(server: &Arc<Inner>) {
    let mut closing = server.closing();
    let inner = Arc::clone(server);
    tokio::spawn(async move {
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => {}
            () = content::run(&inner) => {}
        }
    });
    let mut closing = server.closing();
    let inner = Arc::clone(server);
    tokio::spawn(async move {
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => {}
            () = garbage::run(&inner) => {}
        }
    });
}
