//! The store over any log: reads go to the index, writes to the writer thread.

use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use futures::stream::BoxStream;
use tokio::sync::{Semaphore, oneshot};

use crate::contents::Contents;
use crate::database::Database;
use crate::error::Error;
use crate::feed;
use crate::log::Log;
use crate::memory::MemoryLog;
use crate::retention::{Retainer, Retention};
use crate::shared::Shared;
use crate::sqlite::Backups;
use crate::store::{Entry, Event, Page, Quarantined, Store, Write};
use crate::value::Revision;
use crate::watcher;
use crate::writer::{Job, WriteJob, Writer};

/// The bound of the writer's queue, in KiB of values; each write counts as at least one. Beyond it callers wait, so
/// that a disk that does not respond cannot fill the memory.
const QUEUE_KIB: usize = 8 * 1024;

/// The settings of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The limits beyond which the history is compacted automatically; `None`: never.
    pub retention: Option<Retention>,
    /// The shortest time between two [`Event::Progress`] of a watch.
    pub progress_every: Duration,
    /// The wall clock, to which times to live refer.
    pub clock: fn() -> SystemTime,
    /// The periodic backups of a database; `None`: no backups.
    pub backups: Option<Backups>,
    /// The space, in bytes, that a database keeps in reserve for urgent writes on a full disk; 0: none.
    pub reserve_bytes: u64,
}

/// The default reserve: the writes of a few hundred small objects, beside a WAL of 4 MiB.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

impl Default for Options {
    /// The default [`Retention`] and [`Backups`], progress once a minute (as the Kubernetes API server sends its
    /// bookmarks), the system's clock, and a reserve of 8 MiB.
    fn default() -> Self {
        Self {
            retention: Some(Retention::default()),
            progress_every: Duration::from_secs(60),
            clock: SystemTime::now,
            backups: Some(Backups::default()),
            reserve_bytes: RESERVE_BYTES,
        }
    }
}

/// The store: an index in memory over a log. Dropping it closes it as [`Store::close`] does, without waiting.
#[derive(Debug)]
pub struct IndexedStore {
    pub(crate) shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    progress_every: Duration,
    /// Set for a store over a SQLite database.
    pub(crate) database: Option<Database>,
}

/// Closes the store when the writer thread ends, also when it panics: a watch of a store without a writer would
/// stay silent forever.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl IndexedStore {
    /// Returns a store that is lost when it is dropped, for tests.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn memory(options: Options) -> Result<Self, std::io::Error> {
        Self::over(
            Box::new(MemoryLog { newest: 0 }),
            Contents::default(),
            options,
        )
    }

    /// Returns a store over a log, with the contents that the log had when it was opened.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn over(
        mut log: Box<dyn Log>,
        contents: Contents,
        options: Options,
    ) -> Result<Self, std::io::Error> {
        let shared = Arc::new(Shared::new(contents.index));
        let events = log.events();
        // The semaphore is the queue's bound, because the sender must not block a thread and the receiver must wait
        // with a deadline.
        let (jobs, queue) = mpsc::channel();
        let writer = Writer::new(
            Arc::clone(&shared),
            log,
            events.is_some(),
            queue,
            contents.unfinished,
            options.clock,
            options.retention.map(Retainer::new),
        );
        let on_end = CloseOnDrop(Arc::clone(&shared));
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                let _on_end = on_end;
                writer.run();
            })?;
        if let Some(source) = events {
            let on_end = CloseOnDrop(Arc::clone(&shared));
            std::thread::Builder::new()
                .name("store-events".into())
                .spawn(move || feed::run(source, &on_end.0))?;
        }
        Ok(Self {
            shared,
            jobs,
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
            progress_every: options.progress_every,
            database: None,
        })
    }

    /// Asks the writer to delete a quarantined row; returns whether it existed.
    pub(crate) async fn discard_row(&self, id: i64) -> Result<bool, Error> {
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(Job::Discard { id, reply })
            .map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

#[async_trait::async_trait]
impl Store for IndexedStore {
    fn revision(&self) -> Revision {
        self.shared.read().revision()
    }

    async fn wait_for(&self, revision: Revision) -> Result<(), Error> {
        self.shared.wait_for(revision).await
    }

    fn get(&self, key: &str) -> Option<Entry> {
        self.shared.entry(key)
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Error> {
        self.shared.read().list(prefix, after, limit, at)
    }

    fn count(&self, prefix: &str) -> usize {
        self.shared.read().count(prefix)
    }

    async fn write(&self, write: Write) -> Result<Entry, Error> {
        let bytes = match &write {
            Write::Put { key, value, .. } => key.len() + value.size(),
            Write::Delete { key, last, .. } => key.len() + last.size(),
        };
        let cost = (1 + bytes / 1024).min(QUEUE_KIB);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(cost).await;
        let (reply, answer) = oneshot::channel();
        let job = WriteJob {
            write,
            bytes,
            reply,
            room: room.map_err(|_| Error::Closed)?,
        };
        self.jobs.send(Job::Write(job)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        watcher::watch(&self.shared, prefix, after, self.progress_every)
    }

    fn quarantined(&self) -> Vec<Quarantined> {
        self.database
            .as_ref()
            .map_or_else(Vec::new, Database::quarantined)
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Compact {
            to: revision,
            reply,
        };
        self.jobs.send(job).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.jobs.send(Job::Close { reply }).is_ok() {
            // An error means that another caller's close came first.
            let _ = done.await;
        }
    }
}
