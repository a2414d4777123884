//! The one thread that writes.
//!
//! Each turn: take what is queued (group commit), decide it against the index, make it durable in one
//! transaction, publish, answer, wake. What is not urgent (compaction, freeing space, expired leases) is done in
//! bounded steps between batches, and in a wait without end when there is none of it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::batch::Batch;
use crate::index::Shared;
use crate::lease::{Leases, milliseconds};
use crate::log::{Contents, Failure, Log};
use crate::retention::Retainer;
use crate::{Entry, Error, Revision, Write};

/// Writes in one transaction. Far beyond what a disk's sync needs to be shared well, and few enough that the first
/// one in a batch does not wait noticeably for the last.
const BATCH_WRITES: usize = 512;
/// Bytes of values in one transaction, so that a batch of large ones stays within SQLite's cache and a small WAL.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// How long to wait for as many writes as the last batch had. Clients that were just answered come back within
/// this time; without it every second batch would hold one write and cost a sync all the same.
const GATHER: Duration = Duration::from_micros(300);
/// Expired keys that go in one batch.
const EXPIRE_AT_ONCE: usize = 256;
/// The longest nap while there are leases, because the clock that they refer to may be set, or go on while the
/// machine sleeps.
const LEASE_NAP: Duration = Duration::from_secs(30);
/// After a failure (a full disk), work that nobody waits for is tried again this much later.
const RETRY: Duration = Duration::from_secs(1);

/// What the writer is asked to do.
pub(crate) enum Job {
    Write(WriteJob),
    Compact {
        to: Revision,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

pub(crate) struct WriteJob {
    pub(crate) write: Write,
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Result<Entry, Error>>,
    /// Its place in the queue, given back when it has been answered.
    pub(crate) _room: OwnedSemaphorePermit,
}

/// What is done in one go.
#[derive(Default)]
struct Turn {
    writes: Vec<WriteJob>,
    bytes: usize,
    compactions: Vec<(Revision, oneshot::Sender<Result<(), Error>>)>,
    close: Option<Option<oneshot::Sender<()>>>,
}

impl Turn {
    fn add(&mut self, job: Job) {
        match job {
            Job::Write(job) => {
                self.bytes += job.bytes;
                self.writes.push(job);
            }
            Job::Compact { to, reply } => self.compactions.push((to, reply)),
            Job::Close { reply } => self.close = Some(Some(reply)),
        }
    }

    fn full(&self) -> bool {
        self.close.is_some() || self.writes.len() >= BATCH_WRITES || self.bytes >= BATCH_BYTES
    }
}

/// A compaction in progress.
#[derive(Default)]
struct Compaction {
    /// `None`: there is none.
    to: Option<Revision>,
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    log: Box<dyn Log>,
    jobs: Receiver<Job>,
    leases: Leases,
    clock: fn() -> SystemTime,
    retainer: Option<Retainer>,
    compaction: Compaction,
    tidying: bool,
    last_batch: usize,
    retry_at: Option<Instant>,
}

impl Writer {
    /// `contents` without what has gone into the index.
    pub(crate) fn new(
        shared: Arc<Shared>,
        log: Box<dyn Log>,
        jobs: Receiver<Job>,
        contents: Contents,
        clock: fn() -> SystemTime,
        retainer: Option<Retainer>,
    ) -> Self {
        let mut leases = Leases::default();
        for (revision, lease) in contents.leases {
            leases.grant(revision, lease);
        }
        let unfinished = contents
            .unfinished
            .then(|| shared.read().history().compacted());
        Self {
            shared,
            log,
            jobs,
            leases,
            clock,
            retainer,
            compaction: Compaction {
                to: unfinished,
                waiting: Vec::new(),
            },
            tidying: false,
            last_batch: 0,
            retry_at: None,
        }
    }

    pub(crate) fn run(mut self) {
        loop {
            let mut turn = Turn::default();
            match self.wait() {
                Ok(job) => turn.add(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => turn.close = Some(None),
            }
            self.gather(&mut turn);
            self.write(turn.writes);
            self.compact(turn.compactions);
            if let Some(reply) = turn.close {
                return self.close(reply);
            }
        }
    }

    /// Waits for a job, or until there is something else to do.
    fn wait(&self) -> Result<Job, RecvTimeoutError> {
        match self.idle_for() {
            None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(nap) => self.jobs.recv_timeout(nap),
        }
    }

    fn idle_for(&self) -> Option<Duration> {
        let now = Instant::now();
        let background = if self.compaction.to.is_some() || self.tidying {
            Some(Duration::ZERO)
        } else {
            let lease = self.leases.next(milliseconds((self.clock)()));
            let look = self
                .retainer
                .as_ref()
                .and_then(|retainer| retainer.next_look(now, self.shared.read().history()));
            [lease.map(|lease| lease.min(LEASE_NAP)), look]
                .into_iter()
                .flatten()
                .min()
        };
        background.map(|nap| nap.max(self.retry_in(now)))
    }

    fn retry_in(&self, now: Instant) -> Duration {
        self.retry_at
            .map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    fn gather(&mut self, turn: &mut Turn) {
        if turn.writes.is_empty() {
            return;
        }
        let until = Instant::now() + GATHER;
        while !turn.full() {
            if let Ok(job) = self.jobs.try_recv() {
                turn.add(job);
                continue;
            }
            if turn.writes.len() >= self.last_batch {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.jobs.recv_timeout(left) {
                Ok(job) => turn.add(job),
                Err(_) => break,
            }
        }
        self.last_batch = turn.writes.len();
    }

    fn write(&mut self, jobs: Vec<WriteJob>) {
        let now = milliseconds((self.clock)());
        let expired = if self.retry_in(Instant::now()).is_zero() {
            self.leases.due(now, EXPIRE_AT_ONCE)
        } else {
            Vec::new()
        };
        if jobs.is_empty() && expired.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut answers = Vec::with_capacity(jobs.len());
        let commit = {
            let index = shared.read();
            let mut batch = Batch::new(&index, &self.leases, now);
            let mut stale = Vec::new();
            for (revision, lease) in expired {
                match index.get(&lease.key) {
                    Some((_, version)) if version.revision == revision => {
                        // It cannot be refused: what it expects was looked up just now.
                        let _ = batch.add(lease.expiry(version));
                    }
                    _ => stale.push(revision),
                }
            }
            for job in jobs {
                answers.push((job.reply, batch.add(job.write), job._room));
            }
            let commit = batch.finish();
            for revision in stale {
                self.leases.end(revision);
            }
            commit
        };
        let done = if commit.changes.is_empty() {
            Ok(Vec::new())
        } else {
            self.log.commit(&commit).map(|()| {
                for (revision, lease) in commit.granted {
                    self.leases.grant(revision, lease);
                }
                for revision in commit.ended {
                    self.leases.end(revision);
                }
                self.shared.write().publish(&commit.changes)
            })
        };
        match done {
            Ok(wake) => {
                for (reply, result, _room) in answers {
                    // Whoever has stopped waiting does not want the answer.
                    let _ = reply.send(match result {
                        Ok(change) => Ok(change.entry()),
                        Err(refusal) => Err(refusal.error),
                    });
                }
                for audience in wake {
                    audience.send_replace(());
                }
            }
            Err(failure) => {
                let failed = self.failed("writing to", failure);
                for (reply, result, _room) in answers {
                    let _ = reply.send(Err(match result {
                        Err(refusal) if !refusal.by_batch => refusal.error,
                        _ => failed.error(),
                    }));
                }
            }
        }
    }

    /// Takes up new compactions, and does one step of what is not urgent.
    fn compact(&mut self, asked: Vec<(Revision, oneshot::Sender<Result<(), Error>>)>) {
        for (to, reply) in asked {
            let (oldest, current) = {
                let index = self.shared.read();
                (index.history().compacted(), index.revision())
            };
            if to > current {
                let _ = reply.send(Err(Error::Future { asked: to, current }));
            } else if to <= oldest {
                let _ = reply.send(Ok(()));
            } else {
                self.compaction.to = self.compaction.to.max(Some(to));
                self.compaction.waiting.push(reply);
            }
        }
        if let Some(retainer) = &mut self.retainer {
            let to = retainer.look(Instant::now(), self.shared.read().history());
            self.compaction.to = self.compaction.to.max(to);
        }
        if !self.retry_in(Instant::now()).is_zero() && self.compaction.waiting.is_empty() {
            return;
        }
        if let Some(to) = self.compaction.to {
            match self.log.forget(to) {
                Ok(all) => {
                    // Durably forgotten, so it is forgotten here; freed after the lock is given back.
                    let dropped = self.shared.write().forget(to);
                    drop(dropped);
                    if all {
                        self.compaction.to = None;
                        self.tidying = true;
                        for reply in self.compaction.waiting.drain(..) {
                            let _ = reply.send(Ok(()));
                        }
                    }
                }
                Err(failure) => {
                    let failed = self.failed("compacting", failure);
                    for reply in self.compaction.waiting.drain(..) {
                        let _ = reply.send(Err(failed.error()));
                    }
                }
            }
        } else if self.tidying {
            match self.log.tidy() {
                Ok(all) => self.tidying = !all,
                Err(failure) => {
                    // The space is found again at the next compaction.
                    self.tidying = false;
                    self.failed("freeing space of", failure);
                }
            }
        }
    }

    fn failed(&mut self, what: &str, failure: Failure) -> Failed {
        self.retry_at = Some(Instant::now() + RETRY);
        let doing = format!("{what} {}", self.log.place());
        tracing::warn!(error = %failure, "{doing} failed");
        Failed {
            doing,
            cause: failure.into(),
        }
    }

    fn close(self, reply: Option<oneshot::Sender<()>>) {
        let place = self.log.place().to_owned();
        if let Err(failure) = self.log.close() {
            tracing::warn!(error = %failure, "closing {place} failed");
        }
        for audience in self.shared.write().close() {
            audience.send_replace(());
        }
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }
}

/// A failure that several callers are told of.
struct Failed {
    doing: String,
    cause: Arc<dyn std::error::Error + Send + Sync>,
}

impl Failed {
    fn error(&self) -> Error {
        Error::Backend {
            doing: self.doing.clone(),
            source: Box::new(Cause(Arc::clone(&self.cause))),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(Arc<dyn std::error::Error + Send + Sync>);
