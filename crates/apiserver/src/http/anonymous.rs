//! [`AnonymousPool`]: the connections whose user is not known: those in the TLS handshake and those without a client
//! certificate. Any process on the machine, and any guest, can open them, so they cannot take the places of the
//! owner's connections: they are counted apart, and a new one replaces the oldest if there are too many.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The open anonymous connections.
pub(super) struct AnonymousPool {
    /// By age, the oldest first. Dropping the sender evicts the connection.
    open: Mutex<BTreeMap<u64, oneshot::Sender<()>>>,
    next: AtomicU64,
    limit: usize,
}

/// The place of one connection, which it leaves by dropping this.
pub(super) struct AnonymousPlace {
    id: u64,
    pool: Arc<AnonymousPool>,
    evicted: oneshot::Receiver<()>,
}

impl AnonymousPool {
    /// A pool for at most `limit` connections.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::new(BTreeMap::new()),
            next: AtomicU64::new(0),
            limit,
        })
    }

    /// Adds a connection. If the pool is full, evicts the oldest one.
    pub(super) fn enter(self: &Arc<Self>) -> AnonymousPlace {
        let (evict, evicted) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock();
        while open.len() >= self.limit {
            open.pop_first();
        }
        open.insert(id, evict);
        AnonymousPlace {
            id,
            pool: Arc::clone(self),
            evicted,
        }
    }

    /// Evicts the oldest connection, to free its file descriptor.
    pub(super) fn evict_oldest(&self) {
        self.open.lock().pop_first();
    }
}

impl AnonymousPlace {
    /// Waits until the connection is evicted.
    pub(super) async fn evicted(&mut self) {
        // The sender never sends; it is dropped.
        let _ = (&mut self.evicted).await;
    }
}

impl Drop for AnonymousPlace {
    fn drop(&mut self) {
        self.pool.open.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn full_pool_evicts_the_oldest_connection() {
        let pool = AnonymousPool::new(2);
        let mut places: Vec<_> = (0..4).map(|_| pool.enter()).collect();
        let evicted = |place: &mut AnonymousPlace| place.evicted().now_or_never().is_some();
        let found: Vec<bool> = places.iter_mut().map(evicted).collect();
        assert_eq!(found, [true, true, false, false]);
        // A connection that leaves makes room without an eviction.
        drop(places.pop());
        let mut new = pool.enter();
        assert!(!evicted(&mut places[2]) && !evicted(&mut new));
        pool.evict_oldest();
        assert!(evicted(&mut places[2]) && !evicted(&mut new));
    }
}
