//! What the hostagent tells the world: the present [`Info`], and an [`Event`] at each change of it, to
//! `ha.stdout.log` and to whoever listens on `ha.sock`.

use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures::{Stream, StreamExt, stream};
use tokio::sync::{broadcast, watch};

use crate::stages;
use crate::status::{Event, Info, LimaStatus, StageName};

/// Events kept for a listener that is slow. One that misses some is sent the present status instead.
const EVENT_BACKLOG: usize = 64;

/// The errors that an [`Info`] carries at most; the newest stay.
const ERRORS: usize = 8;

/// The one place where the status changes.
#[derive(Debug)]
pub(crate) struct Report {
    info: watch::Sender<Info>,
    events: broadcast::Sender<Event>,
    closed: watch::Sender<bool>,
    // Events are rare and short, so writing them blocks nobody.
    log: Mutex<Option<File>>,
    stage_since: Mutex<Option<Instant>>,
}

impl Report {
    /// Starts with `info`; events go to `log` too.
    pub(crate) fn new(info: Info, log: Option<File>) -> Report {
        Report {
            info: watch::Sender::new(info),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            closed: watch::Sender::new(false),
            log: Mutex::new(log),
            stage_since: Mutex::new(None),
        }
    }

    /// The present status.
    pub(crate) fn info(&self) -> Info {
        self.info.borrow().clone()
    }

    /// The present status as an event, and the events after it; none is lost in between. Ends with [`Report::close`].
    pub(crate) fn listen(&self) -> impl Stream<Item = Event> + Send + Sync + 'static {
        let later = self.events.subscribe();
        let present = event(&self.info(), None);
        let closed = self.closed.subscribe();
        stream::once(std::future::ready(present)).chain(stream::unfold(
            (later, closed),
            |(mut later, mut closed)| {
                async move {
                    loop {
                        let received = tokio::select! {
                            // The last event is sent before the end.
                            biased;
                            received = later.recv() => received,
                            _ = closed.wait_for(|closed| *closed) => return None,
                        };
                        match received {
                            Ok(event) => return Some((event, (later, closed))),
                            // Newer ones follow, and each carries the whole status, so nothing is missing.
                            Err(broadcast::error::RecvError::Lagged(_)) => {}
                            Err(broadcast::error::RecvError::Closed) => return None,
                        }
                    }
                }
            },
        ))
    }

    /// Ends the streams of all listeners, after what they have not read yet.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Changes the status. What Lima's status shows of it is told as an event, `reason` with it; the rest is there for
    /// who asks.
    pub(crate) fn update(&self, reason: Option<&str>, change: impl FnOnce(&mut Info)) {
        let mut told = None;
        self.info.send_modify(|info| {
            let before = (
                info.phase,
                LimaStatus::of(info.phase, &info.errors, info.ssh_local_port),
            );
            change(info);
            let excess = info.errors.len().saturating_sub(ERRORS);
            info.errors.drain(..excess);
            let after = (
                info.phase,
                LimaStatus::of(info.phase, &info.errors, info.ssh_local_port),
            );
            if before != after || reason.is_some() {
                told = Some(event(info, reason));
            }
        });
        if let Some(event) = told {
            self.tell(event);
        }
    }

    /// A stretch of the VM's life begins, and the one before it ends.
    pub(crate) fn begin(&self, name: StageName) {
        let mut since = self
            .stage_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.info
            .send_modify(|info| stages::begin(&mut info.stages, &mut since, name, Instant::now()));
    }

    /// The stretch that is going on ends.
    pub(crate) fn end_stage(&self) {
        let mut since = self
            .stage_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.info
            .send_modify(|info| stages::end(&mut info.stages, &mut since, Instant::now()));
    }

    /// The stretch that is going on.
    pub(crate) fn stage(&self) -> Option<StageName> {
        stages::open(&self.info.borrow().stages)
    }

    fn tell(&self, event: Event) {
        tracing::info!(
            phase = ?event.phase,
            reason = event.reason.as_deref().unwrap_or_default(),
            errors = ?event.status.errors,
            "the VM's status changed"
        );
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = log.as_mut()
            && let Ok(mut line) = serde_json::to_vec(&event)
        {
            line.push(b'\n');
            // A full disk must not stop the VM. Say it once: the next line would fail as well.
            if let Err(error) = file.write_all(&line) {
                tracing::warn!(%error, "cannot write ha.stdout.log; events are no longer kept");
                *log = None;
            }
        }
        drop(log);
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}

fn event(info: &Info, reason: Option<&str>) -> Event {
    Event {
        time: jiff::Timestamp::now().to_string(),
        status: LimaStatus::of(info.phase, &info.errors, info.ssh_local_port),
        phase: Some(info.phase),
        reason: reason.map(str::to_owned),
        stages: info.stages.clone(),
    }
}
