//! The index, shared by the writer, the event source, readers and watchers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

use crate::change::{Arrival, Change, Record};
use crate::error::Error;
use crate::index::{Index, Snapshot};
use crate::store::Entry;
use crate::value::Revision;

#[derive(Debug)]
pub(crate) struct Shared {
    index: RwLock<Index>,
    /// Signals tasks that the revision has moved, or that the store was closed.
    moved: watch::Sender<()>,
    /// The same for threads. The mutex protects nothing but the wait.
    waiting: Mutex<()>,
    moved_thread: Condvar,
    /// Signals threads that the store was closed.
    closed: Condvar,
}

impl Shared {
    pub(crate) fn new(index: Index) -> Self {
        Self {
            index: RwLock::new(index),
            moved: watch::Sender::new(()),
            waiting: Mutex::new(()),
            moved_thread: Condvar::new(),
            closed: Condvar::new(),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read()
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write()
    }

    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        self.read()
            .get(key)
            .map(|(key, version)| version.entry(key))
    }

    /// Makes committed changes visible, and returns them with the wake-ups that are due. The caller answers the
    /// writes first, so that a writer does not wait for a thousand watchers.
    pub(crate) fn publish(&self, records: Vec<Record>) -> Published<'_> {
        let arrivals: Vec<Arrival> = records.into_iter().map(Arrival::from).collect();
        let mut index = self.write();
        let changes: Vec<_> = arrivals
            .into_iter()
            .filter_map(|arrival| index.apply(arrival))
            .collect();
        let wake = index.wakers(&changes);
        drop(index);
        Published {
            shared: self,
            changes,
            wake,
        }
    }

    /// The current state, for a backup.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let index = self.read();
        let rows = index.current();
        Snapshot {
            revision: index.revision(),
            rows: rows
                .map(|(key, version, expires)| (Arc::clone(key), version.clone(), expires))
                .collect(),
        }
    }

    /// Ends the watches and refuses new ones.
    pub(crate) fn close(&self) {
        let wake = self.write().close();
        for watchers in wake {
            watchers.send_replace(());
        }
        self.signal();
        self.closed.notify_all();
    }

    /// Pauses the thread; returns early, with true, when the store is closed.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        let deadline = Instant::now() + duration;
        let mut waiting = self.waiting.lock();
        while !self.read().is_closed() {
            let expired = self.closed.wait_until(&mut waiting, deadline);
            if expired.timed_out() {
                return self.read().is_closed();
            }
        }
        true
    }

    fn signal(&self) {
        self.moved.send_replace(());
        drop(self.waiting.lock());
        self.moved_thread.notify_all();
    }

    /// Whether the revision is reached; an error when the store is closed and it never will be.
    fn reached(&self, revision: Revision) -> Result<bool, Error> {
        let index = self.read();
        if index.revision() >= revision {
            Ok(true)
        } else if index.is_closed() {
            Err(Error::Closed)
        } else {
            Ok(false)
        }
    }

    /// Waits until the newest revision is at least `revision`.
    pub(crate) async fn wait_for(&self, revision: Revision) -> Result<(), Error> {
        let mut moved = self.moved.subscribe();
        while !self.reached(revision)? {
            // It cannot fail: the sender is in `self`.
            let _ = moved.changed().await;
        }
        Ok(())
    }

    /// The same on a thread, for at most `limit`. Returns whether the revision was reached.
    pub(crate) fn block_until(&self, revision: Revision, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut waiting = self.waiting.lock();
        loop {
            match self.reached(revision) {
                Ok(true) => return true,
                Err(_) => return false,
                Ok(false) => {}
            }
            let expired = self.moved_thread.wait_until(&mut waiting, deadline);
            if expired.timed_out() {
                return self.reached(revision).unwrap_or(false);
            }
        }
    }
}

/// Changes that are visible, whose watchers have not been woken yet. Dropping it wakes them.
pub(crate) struct Published<'a> {
    shared: &'a Shared,
    pub(crate) changes: Vec<Arc<Change>>,
    wake: Vec<watch::Sender<()>>,
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        for watchers in self.wake.drain(..) {
            watchers.send_replace(());
        }
        self.shared.signal();
    }
}
