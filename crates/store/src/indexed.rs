//! The store over any log: reads go to the index, writes to the writer thread.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use futures::stream::BoxStream;
use tokio::sync::{Semaphore, oneshot};

use crate::index::{Index, Shared};
use crate::log::{Contents, Log};
use crate::memory::MemoryLog;
use crate::retention::{Retainer, Retention};
use crate::watcher;
use crate::writer::{Job, WriteJob, Writer};
use crate::{Entry, Error, Event, OpenError, Page, Revision, Store, Write, sqlite};

/// What may wait for the writer, in KiB of values; each write counts as one at least. Beyond it callers wait: a
/// disk that stands still must not fill the memory.
const QUEUE_KIB: usize = 8 * 1024;

/// How a store behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is compacted without being asked; `None`: nothing.
    pub retention: Option<Retention>,
    /// How often at most a watcher is told that nothing else has happened ([`Event::Progress`]).
    pub progress_every: Duration,
    /// The wall clock, which times to live refer to.
    pub clock: fn() -> SystemTime,
}

impl Default for Options {
    /// The default [`Retention`], progress once a minute (as the Kubernetes API server sends its bookmarks), the
    /// system's clock.
    fn default() -> Self {
        Self {
            retention: Some(Retention::default()),
            progress_every: Duration::from_secs(60),
            clock: SystemTime::now,
        }
    }
}

/// The store: an index in memory over a log. Dropping it closes it as [`Store::close`] does, without waiting.
#[derive(Debug)]
pub struct IndexedStore {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    progress_every: Duration,
}

/// Ends the watches when the writer ends, also when it panics: a watch of a store that nobody writes to any more
/// would be silent for ever.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        for audience in self.0.write().close() {
            audience.send_replace(());
        }
    }
}

impl IndexedStore {
    /// Opens the SQLite database at `path`, or creates it (mode 0600; its folder has to exist). Blocks for as long
    /// as it takes to read it.
    ///
    /// # Errors
    /// When the database is in use, is not ours, was written by a newer version, is damaged, or cannot be read.
    pub fn sqlite(path: &Path, options: Options) -> Result<Self, OpenError> {
        let (log, contents) = sqlite::open(path)?;
        Self::start(Box::new(log), contents, options).map_err(|source| OpenError::Failed {
            path: path.to_owned(),
            doing: "starting the writer thread",
            source: Box::new(source),
        })
    }

    /// A store that is gone when it is dropped, for tests.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn memory(options: Options) -> Result<Self, std::io::Error> {
        Self::start(Box::new(MemoryLog), Contents::default(), options)
    }

    pub(crate) fn start(
        log: Box<dyn Log>,
        mut contents: Contents,
        options: Options,
    ) -> Result<Self, std::io::Error> {
        let index = Index::new(
            std::mem::take(&mut contents.current),
            std::mem::take(&mut contents.history),
        );
        let shared = Arc::new(Shared::new(index));
        // Its bound is the semaphore, because this side must not block a thread and the other has to wait with a
        // deadline.
        let (jobs, queue) = mpsc::channel();
        let writer = Writer::new(
            Arc::clone(&shared),
            log,
            queue,
            contents,
            options.clock,
            options.retention.map(Retainer::new),
        );
        let ended = Ended(Arc::clone(&shared));
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                let _ended = ended;
                writer.run();
            })?;
        Ok(Self {
            shared,
            jobs,
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
            progress_every: options.progress_every,
        })
    }
}

#[async_trait::async_trait]
impl Store for IndexedStore {
    fn revision(&self) -> Revision {
        self.shared.read().revision()
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
            Write::Put { key, value, .. } => key.len() + value.len(),
            Write::Delete { key, last, .. } => key.len() + last.len(),
        };
        let cost = (1 + bytes / 1024).min(QUEUE_KIB);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(cost).await;
        let (reply, answer) = oneshot::channel();
        let job = WriteJob {
            write,
            bytes,
            reply,
            _room: room.map_err(|_| Error::Closed)?,
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
            // An error says that another caller's close came first.
            let _ = done.await;
        }
    }
}
