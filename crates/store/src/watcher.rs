//! One watch: a position in the history, a small buffer and a wake-up.
//!
//! The writer never waits for a watcher: it wakes the watchers of a changed prefix, and each one reads the history
//! at its own speed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::change::Change;
use crate::error::Error;
use crate::index::Reading;
use crate::shared::Shared;
use crate::store::Event;
use crate::value::Revision;

/// How many changes a watcher reads at a time: enough that taking the lock costs little, few enough that a thousand
/// stalled watchers do not keep much compacted memory alive.
const BUFFER: usize = 64;

struct Watcher {
    shared: Arc<Shared>,
    prefix: Arc<str>,
    wake: watch::Receiver<()>,
    /// The revision up to which all changes have been read into the buffer.
    position: Revision,
    /// The newest revision that the stream has reported, by an event or by progress.
    reported: Revision,
    buffer: VecDeque<Arc<Change>>,
    progress_every: Duration,
    progress: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// Returns a stream of the changes under `prefix` after the revision `after`.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    prefix: &str,
    after: Revision,
    progress_every: Duration,
) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
    let (prefix, wake) = shared.write().join(prefix, after)?;
    let watcher = Watcher {
        shared: Arc::clone(shared),
        prefix,
        wake,
        position: after,
        reported: after,
        buffer: VecDeque::new(),
        progress_every,
        progress: None,
        ended: false,
    };
    Ok(stream::unfold(watcher, |mut watcher| async move {
        watcher.next().await.map(|event| (event, watcher))
    })
    .boxed())
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<Event, Error>> {
        let mut progress_due = false;
        loop {
            if let Some(change) = self.buffer.pop_front() {
                self.reported = change.revision();
                return Some(Ok(change.event()));
            }
            if self.ended {
                return None;
            }
            let reading =
                self.shared
                    .read()
                    .read(&self.prefix, self.position, BUFFER, &mut self.buffer);
            match reading {
                Reading::More => {}
                Reading::CaughtUp(revision) => self.position = revision,
                Reading::Closed => self.ended = true,
                Reading::Lagged => {
                    self.ended = true;
                    self.buffer.clear();
                    return Some(Err(Error::Lagged));
                }
            }
            if let Some(last) = self.buffer.back() {
                self.position = self.position.max(last.revision());
                continue;
            }
            if self.ended {
                return None;
            }
            if progress_due && self.position > self.reported {
                self.reported = self.position;
                return Some(Ok(Event::Progress(self.reported)));
            }
            // Reported after the read that follows, because an event up to this revision must come first.
            progress_due = self.wait().await;
        }
    }

    /// Waits until there may be something to read; returns true when a progress event is due.
    async fn wait(&mut self) -> bool {
        let every = self.progress_every;
        let progress = self
            .progress
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + every)));
        tokio::select! {
            // An error means that the store dropped the watchers of this prefix; the next read finds that too.
            _ = self.wake.changed() => false,
            () = progress.as_mut() => {
                progress.as_mut().reset(Instant::now() + every);
                true
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.write().leave(&self.prefix);
    }
}
