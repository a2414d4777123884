//! What the hostagent reports: the current [`Info`], and an [`Event`] at each change, to `ha.stdout.log` and to the
//! clients of `ha.sock`.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::stages;
use crate::status::{Event, Info, LimaStatus, StageName};

/// Events kept for a slow receiver. A receiver that lags loses old events, but each event has the whole status.
const EVENT_BACKLOG: usize = 64;

/// The most errors in an [`Info`]; the first ones are kept.
const ERRORS: usize = 8;

/// The status of the VM. It is changed here only.
#[derive(Debug)]
pub(crate) struct Report {
    info: watch::Sender<Info>,
    events: broadcast::Sender<Event>,
    closed: watch::Sender<bool>,
    // Events are rare and short, so writing them blocks no task for long.
    log: Mutex<Option<File>>,
    stage_since: Mutex<Option<Instant>>,
}

impl Report {
    /// Starts with `info`; events are also written to `log`.
    pub(crate) fn new(info: Info, log: Option<File>) -> Report {
        Report {
            info: watch::Sender::new(info),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            closed: watch::Sender::new(false),
            log: Mutex::new(log),
            stage_since: Mutex::new(None),
        }
    }

    /// Returns the current status.
    pub(crate) fn info(&self) -> Info {
        self.info.borrow().clone()
    }

    /// Returns the current status as an event, and all events after it. Ends with [`Report::close`].
    pub(crate) fn subscribe(&self) -> impl Stream<Item = Event> + Send + Sync + 'static {
        let later = self.events.subscribe();
        let current = event_of(&self.info(), None);
        let closed = self.closed.subscribe();
        stream::once(std::future::ready(current)).chain(stream::unfold(
            (later, closed),
            |(mut later, mut closed)| {
                async move {
                    loop {
                        let received = tokio::select! {
                            // `biased`: the last event is received before the end.
                            biased;
                            received = later.recv() => received,
                            _ = closed.wait_for(|closed| *closed) => return None,
                        };
                        match received {
                            Ok(event) => return Some((event, (later, closed))),
                            // Newer events follow, and each has the whole status.
                            Err(broadcast::error::RecvError::Lagged(_)) => {}
                            Err(broadcast::error::RecvError::Closed) => return None,
                        }
                    }
                }
            },
        ))
    }

    /// Ends the streams of all subscribers, after the events that they have not read yet.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Changes the status. Publishes an event if the part that Lima's status has changed, or if there is a `reason`.
    pub(crate) fn update(&self, reason: Option<&str>, change: impl FnOnce(&mut Info)) {
        let mut event = None;
        self.info.send_modify(|info| {
            let before = (
                info.phase,
                LimaStatus::of(info.phase, &info.errors, info.ssh_local_port),
            );
            change(info);
            info.errors.truncate(ERRORS);
            let after = (
                info.phase,
                LimaStatus::of(info.phase, &info.errors, info.ssh_local_port),
            );
            if before != after || reason.is_some() {
                event = Some(event_of(info, reason));
            }
        });
        if let Some(event) = event {
            self.publish(event);
        }
    }

    /// Begins a stage of the VM's life, and ends the one before it.
    pub(crate) fn begin(&self, name: StageName) {
        let mut since = self.stage_since.lock();
        self.info
            .send_modify(|info| stages::begin(&mut info.stages, &mut since, name, Instant::now()));
    }

    /// Ends the open stage.
    pub(crate) fn end_stage(&self) {
        let mut since = self.stage_since.lock();
        self.info
            .send_modify(|info| stages::end(&mut info.stages, &mut since, Instant::now()));
    }

    /// Returns the open stage.
    pub(crate) fn stage(&self) -> Option<StageName> {
        stages::open(&self.info.borrow().stages)
    }

    fn publish(&self, event: Event) {
        tracing::info!(
            phase = ?event.phase,
            reason = event.reason.as_deref().unwrap_or_default(),
            errors = ?event.status.errors,
            "the VM's status changed"
        );
        let mut log = self.log.lock();
        if let Some(file) = log.as_mut()
            && let Ok(mut line) = serde_json::to_vec(&event)
        {
            line.push(b'\n');
            // A full disk must not stop the VM. Later events are written once there is space again.
            if let Err(error) = file.write_all(&line) {
                tracing::warn!(%error, "cannot write an event to ha.stdout.log");
            }
        }
        drop(log);
        // Sending fails only if there is no subscriber.
        let _ = self.events.send(event);
    }
}

fn event_of(info: &Info, reason: Option<&str>) -> Event {
    Event {
        time: jiff::Timestamp::now().to_string(),
        status: LimaStatus::of(info.phase, &info.errors, info.ssh_local_port),
        phase: Some(info.phase),
        reason: reason.map(str::to_owned),
        ended: info.ended,
        stages: info.stages.clone(),
    }
}
