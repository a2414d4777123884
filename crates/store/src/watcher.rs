//! One watch: a position in the history, a small buffer and a wake-up.
//!
//! The writer never waits for a watcher and never writes to one: it wakes the audience, and each watcher reads the
//! history at its own speed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::change::Change;
use crate::index::{Reading, Shared};
use crate::{Error, Event, Revision};

/// How many changes a watcher takes at a time: enough to make the lock cheap, few enough that a thousand stalled
/// watchers do not keep compacted values alive.
const BUFFER: usize = 64;

struct Watcher {
    shared: Arc<Shared>,
    prefix: Arc<str>,
    wake: watch::Receiver<()>,
    /// Everything up to here has been read into the buffer.
    position: Revision,
    /// Everything up to here has been told to whoever reads the stream.
    told: Revision,
    buffer: VecDeque<Arc<Change>>,
    progress_every: Duration,
    progress: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// A stream of what happens under `prefix` after `after`.
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
        told: after,
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
                self.told = change.revision();
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
            if progress_due && self.position > self.told {
                self.told = self.position;
                return Some(Ok(Event::Progress(self.told)));
            }
            // After the look that follows, because the revision must not be told before an event it covers.
            progress_due = self.wait().await;
        }
    }

    /// Waits until there is a reason to look; true when it is time for a progress event.
    async fn wait(&mut self) -> bool {
        let every = self.progress_every;
        let progress = self
            .progress
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + every)));
        tokio::select! {
            // An error says that the audience is gone, and the next look says so too.
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
