//! The writer thread.
//!
//! Each turn takes the queued writes (group commit), checks their conditions against the index, commits them in one
//! transaction, publishes the changes, answers the callers and wakes the watchers. Work that is not urgent
//! (compaction, returning free space, expired leases) is done in bounded steps between batches. Without any such
//! work the thread sleeps until the next write.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::batch::{Added, Batch, conflict};
use crate::change::{Arrival, Record};
use crate::error::Error;
use crate::lease::milliseconds;
use crate::log::{Log, LogError, Outcome, Proposal};
use crate::retention::Retainer;
use crate::shared::Shared;
use crate::store::{Entry, Expect, Write};
use crate::value::Revision;

/// Writes in one transaction. Enough to share the disk's sync well, and few enough that the first write of a batch
/// does not wait noticeably for the last.
const BATCH_WRITES: usize = 512;
/// Bytes of values in one transaction, so that a batch of large values fits in SQLite's cache and in a small WAL.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// How long to wait for as many writes as the last batch had. Clients that were just answered send their next write
/// within this time; without the wait every second batch would have one write, at the cost of a whole sync.
const GATHER: Duration = Duration::from_micros(300);
/// Expired keys that are deleted in one batch.
const EXPIRE_AT_ONCE: usize = 256;
/// The longest sleep while there are leases, because the clock may be set, and it continues while the machine
/// sleeps.
const LEASE_NAP: Duration = Duration::from_secs(30);
/// The pause before background work is retried after a failure (a full disk).
const RETRY: Duration = Duration::from_secs(1);
/// How long a write waits until the event source of the log delivers it. Beyond this the source counts as broken.
const EVENT_DEADLINE: Duration = Duration::from_secs(10);

/// A request to the writer thread.
pub(crate) enum Job {
    Write(WriteJob),
    Compact {
        to: Revision,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Delete a quarantined row.
    Discard {
        id: i64,
        reply: oneshot::Sender<Result<bool, Error>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

pub(crate) struct WriteJob {
    pub(crate) write: Write,
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Result<Entry, Error>>,
    /// Its place in the queue, which is released with the answer.
    pub(crate) room: OwnedSemaphorePermit,
}

/// A caller that waits for the result of a write.
struct Caller {
    reply: oneshot::Sender<Result<Entry, Error>>,
    _room: OwnedSemaphorePermit,
}

impl Caller {
    fn answer(self, result: Result<Entry, Error>) {
        // An error means that the caller no longer waits.
        let _ = self.reply.send(result);
    }
}

/// The jobs of one turn.
#[derive(Default)]
struct Turn {
    writes: Vec<WriteJob>,
    bytes: usize,
    compactions: Vec<(Revision, oneshot::Sender<Result<(), Error>>)>,
    discards: Vec<(i64, oneshot::Sender<Result<bool, Error>>)>,
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
            Job::Discard { id, reply } => self.discards.push((id, reply)),
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

/// The log's reserve for a full disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reserve {
    /// No write has needed to know yet.
    Unknown,
    Taken,
    /// In use: only urgent writes are committed.
    Released,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    log: Box<dyn Log>,
    /// Whether an event source feeds the index, instead of this thread.
    fed: bool,
    jobs: Receiver<Job>,
    /// Writes that wait for the next batch, because the last one changed the same key.
    deferred: VecDeque<WriteJob>,
    clock: fn() -> SystemTime,
    retainer: Option<Retainer>,
    compaction: Compaction,
    tidying: bool,
    last_batch: usize,
    retry_at: Option<Instant>,
    reserve: Reserve,
}

impl Writer {
    /// `unfinished`: an interrupted compaction has to be continued.
    pub(crate) fn new(
        shared: Arc<Shared>,
        log: Box<dyn Log>,
        fed: bool,
        jobs: Receiver<Job>,
        unfinished: bool,
        clock: fn() -> SystemTime,
        retainer: Option<Retainer>,
    ) -> Self {
        let unfinished = unfinished.then(|| shared.read().history().compacted());
        Self {
            shared,
            log,
            fed,
            jobs,
            deferred: VecDeque::new(),
            clock,
            retainer,
            compaction: Compaction {
                to: unfinished,
                waiting: Vec::new(),
            },
            tidying: false,
            last_batch: 0,
            retry_at: None,
            reserve: Reserve::Unknown,
        }
    }

    pub(crate) fn run(mut self) {
        loop {
            let mut turn = Turn::default();
            for job in self.deferred.drain(..) {
                turn.add(Job::Write(job));
            }
            if turn.writes.is_empty() {
                match self.wait() {
                    Ok(job) => turn.add(job),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => turn.close = Some(None),
                }
            }
            self.gather(&mut turn);
            self.write(turn.writes);
            self.compact(turn.compactions);
            for (id, reply) in turn.discards {
                let done = self.log.discard(id);
                let _ =
                    reply.send(done.map_err(|failure| self.failed("changing", failure).error()));
            }
            if let Some(reply) = turn.close {
                while !self.deferred.is_empty() {
                    let jobs = self.deferred.drain(..).collect();
                    self.write(jobs);
                }
                return self.close(reply);
            }
        }
    }

    /// Waits for a job, or until background work is due.
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
            let index = self.shared.read();
            let lease = index.leases().next(milliseconds((self.clock)()));
            let check = self
                .retainer
                .as_ref()
                .and_then(|retainer| retainer.next_check(now, index.history()));
            [lease.map(|lease| lease.min(LEASE_NAP)), check]
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
        let (mut proposals, mut callers) = self.propose(jobs);
        if proposals.is_empty() {
            return;
        }
        if self.reserve != Reserve::Taken
            && let Err(failure) = self.take_reserve()
        {
            self.keep_urgent(&mut proposals, &mut callers, failure);
        }
        let done = match self.commit(&proposals) {
            Err(failure @ LogError::Full(_))
                if proposals.iter().any(|proposal| proposal.urgent) && self.release_reserve() =>
            {
                self.keep_urgent(&mut proposals, &mut callers, failure);
                self.commit(&proposals)
            }
            done => done,
        };
        match done {
            Ok(outcomes) => self.publish(proposals, &outcomes, callers),
            Err(failure) => {
                let failed = self.failed("writing to", failure);
                for caller in callers.into_iter().flatten() {
                    caller.answer(Err(failed.error()));
                }
            }
        }
    }

    fn commit(&mut self, proposals: &[Proposal]) -> Result<Vec<Outcome>, LogError> {
        if proposals.is_empty() {
            return Ok(Vec::new());
        }
        self.log.commit(proposals)
    }

    /// Takes the log's reserve. Fails while there is not enough space for it.
    fn take_reserve(&mut self) -> Result<(), LogError> {
        match self.log.take_reserve() {
            Ok(()) if self.reserve == Reserve::Released => {
                tracing::info!("{} has space again", self.log.place());
            }
            Ok(()) => {}
            Err(full @ LogError::Full(_)) => {
                self.reserve = Reserve::Released;
                return Err(full);
            }
            Err(error) => {
                tracing::warn!(%error, "{} has no reserve for a full disk", self.log.place());
            }
        }
        self.reserve = Reserve::Taken;
        Ok(())
    }

    /// Gives the reserve back to a full disk; returns whether there was any.
    fn release_reserve(&mut self) -> bool {
        let released = self.log.release_reserve().unwrap_or_else(|error| {
            tracing::warn!(%error, "the reserve of {} cannot be released", self.log.place());
            false
        });
        if released {
            tracing::warn!(
                "the disk of {} is full: until it has space again, only writes that free space are committed",
                self.log.place()
            );
            self.reserve = Reserve::Released;
        }
        released
    }

    /// Removes the proposals that are not urgent, and answers their callers.
    fn keep_urgent(
        &mut self,
        proposals: &mut Vec<Proposal>,
        callers: &mut Vec<Option<Caller>>,
        failure: LogError,
    ) {
        if proposals.iter().all(|proposal| proposal.urgent) {
            return;
        }
        let failed = self.failed("writing to", failure);
        let pairs = std::mem::take(proposals).into_iter().zip(callers.drain(..));
        let (urgent, others): (Vec<_>, Vec<_>) = pairs
            .collect::<Vec<_>>()
            .into_iter()
            .partition(|(proposal, _)| proposal.urgent);
        for (_, caller) in others {
            if let Some(caller) = caller {
                caller.answer(Err(failed.error()));
            }
        }
        (*proposals, *callers) = urgent.into_iter().unzip();
    }

    /// Turns writes, and the deletions of expired keys, into the proposals of one batch. Each proposal has its
    /// caller at the same position; a deletion of an expired key has none. Answers the writes that are refused.
    fn propose(&mut self, jobs: Vec<WriteJob>) -> (Vec<Proposal>, Vec<Option<Caller>>) {
        let now = milliseconds((self.clock)());
        let index = self.shared.read();
        let mut batch = Batch::new(&index, !self.fed, now);
        let mut callers = Vec::with_capacity(jobs.len());
        if self.retry_in(Instant::now()).is_zero() {
            for (revision, key) in index.leases().due(now, EXPIRE_AT_ONCE) {
                let Some((_, version)) = index.get(key) else {
                    continue;
                };
                let delete = Write::Delete {
                    key: key.to_string(),
                    expect: Expect::At(revision),
                    last: version.template(),
                };
                if matches!(batch.add(delete), Added::Proposed) {
                    callers.push(None);
                }
            }
        }
        for job in jobs {
            let WriteJob {
                write,
                bytes,
                reply,
                room,
            } = job;
            let caller = |reply, room| Caller { reply, _room: room };
            match batch.add(write) {
                Added::Proposed => callers.push(Some(caller(reply, room))),
                Added::Refused(error) => caller(reply, room).answer(Err(error)),
                Added::Deferred(write) => self.deferred.push_back(WriteJob {
                    write,
                    bytes,
                    reply,
                    room,
                }),
            }
        }
        (batch.finish(), callers)
    }

    /// Makes the committed proposals visible and answers their callers.
    fn publish(
        &mut self,
        proposals: Vec<Proposal>,
        outcomes: &[Outcome],
        callers: Vec<Option<Caller>>,
    ) {
        let mut records = Vec::with_capacity(proposals.len());
        let mut written = Vec::with_capacity(proposals.len());
        for ((proposal, outcome), caller) in proposals.into_iter().zip(outcomes).zip(callers) {
            match outcome {
                Outcome::Written(revision) => {
                    records.push(Record {
                        revision: *revision,
                        key: proposal.key,
                        mutation: proposal.mutation,
                    });
                    written.push(caller);
                }
                Outcome::Refused { actual } => {
                    if let Some(caller) = caller {
                        caller.answer(Err(conflict(&proposal.key, *actual)));
                    }
                }
            }
        }
        if self.fed {
            self.await_events(records, written);
            return;
        }
        let published = self.shared.publish(records);
        debug_assert_eq!(published.changes.len(), written.len());
        for (change, caller) in published.changes.iter().zip(written) {
            if let Some(caller) = caller {
                caller.answer(Ok(change.entry()));
            }
        }
    }

    /// Answers once the event source has delivered the changes.
    fn await_events(&self, records: Vec<Record>, callers: Vec<Option<Caller>>) {
        let Some(newest) = records.iter().map(|record| record.revision).max() else {
            return;
        };
        let delivered = self.shared.block_until(newest, EVENT_DEADLINE);
        for (record, caller) in records.into_iter().zip(callers) {
            let Some(caller) = caller else { continue };
            caller.answer(if delivered {
                Ok(Arrival::from(record).entry())
            } else {
                Err(Error::Backend {
                    doing: format!(
                        "reading back revision {} of {} from {}",
                        record.revision,
                        record.key,
                        self.log.place()
                    ),
                    source: "the write was committed, but its event was not delivered in time"
                        .into(),
                })
            });
        }
    }

    /// Takes new compactions, and does one step of the background work.
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
            let to = retainer.check(Instant::now(), self.shared.read().history());
            self.compaction.to = self.compaction.to.max(to);
        }
        if !self.retry_in(Instant::now()).is_zero() && self.compaction.waiting.is_empty() {
            return;
        }
        if let Some(to) = self.compaction.to {
            match self.log.forget(to) {
                Ok(all) => {
                    // In memory only after it is durable. The changes are freed after the lock is released.
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
                    // The next compaction finds the space again.
                    self.tidying = false;
                    self.failed("freeing space of", failure);
                }
            }
        }
    }

    fn failed(&mut self, what: &str, failure: LogError) -> Failed {
        self.retry_at = Some(Instant::now() + RETRY);
        let doing = format!("{what} {}", self.log.place());
        tracing::warn!(error = %failure, "{doing} failed");
        Failed {
            doing,
            cause: Arc::new(failure),
        }
    }

    fn close(self, reply: Option<oneshot::Sender<()>>) {
        let place = self.log.place().to_owned();
        if let Err(failure) = self.log.close() {
            tracing::warn!(error = %failure, "closing {place} failed");
        }
        self.shared.close();
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }
}

/// A failure that is reported to several callers.
struct Failed {
    doing: String,
    cause: Arc<LogError>,
}

impl Failed {
    fn error(&self) -> Error {
        Error::Backend {
            doing: self.doing.clone(),
            source: Box::new(Arc::clone(&self.cause)),
        }
    }
}
