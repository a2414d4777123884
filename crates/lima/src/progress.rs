//! How a long call tells what it does, and how it is told to stop.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a long call is doing at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Somebody else works on the same thing; the figures are theirs where they are known.
    Waiting,
    /// Bytes arrive from the network.
    Downloading,
    /// A digest is computed over a file.
    Verifying,
    /// A compressed image is unpacked.
    Decompressing,
    /// A file is copied because it could not be linked.
    Copying,
    /// The instance's own disk is made.
    CreatingDisk,
}

/// A sink for progress. Called from the working thread, at most a few times a second and once at the end of a phase;
/// it must not block.
pub trait Progress: Send + Sync {
    /// `subject` is the URL or path worked on, `done` and `total` are bytes.
    fn report(&self, phase: Phase, subject: &str, done: u64, total: Option<u64>);

    /// Something that the user should know and that does not stop the work.
    fn warn(&self, message: &str) {
        tracing::warn!("{message}");
    }
}

/// Progress that nobody looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Phase, _: &str, _: u64, _: Option<u64>) {}
}

/// A token that tells every holder to stop. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Token>);

#[derive(Default)]
struct Token {
    flag: AtomicBool,
    hooks: Mutex<Hooks>,
    changed: Condvar,
}

/// What is to be done at the moment of the cancel, by number.
#[derive(Default)]
struct Hooks {
    next: u64,
    calls: BTreeMap<u64, Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("cancelled", &self.flag)
            .finish_non_exhaustive()
    }
}

/// Takes the call of [`Cancel::on_cancel`] back when dropped.
pub(crate) struct Hook<'a> {
    token: &'a Token,
    number: u64,
}

impl Drop for Hook<'_> {
    fn drop(&mut self) {
        self.token.hooks().calls.remove(&self.number);
    }
}

impl Token {
    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancel {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells every holder to stop. Cannot be taken back.
    pub fn cancel(&self) {
        let calls = {
            // The lock makes sure that nobody is between its check and its wait.
            let mut hooks = self.0.hooks();
            self.0.flag.store(true, Ordering::SeqCst);
            self.0.changed.notify_all();
            std::mem::take(&mut hooks.calls)
        };
        for call in calls.into_values() {
            call();
        }
    }

    /// Whether [`Cancel::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.flag.load(Ordering::SeqCst)
    }

    /// Calls `call` at the moment of the cancel, from the thread that cancels, as long as the returned value lives; at
    /// once when it has been. For what blocks without looking at the token.
    pub(crate) fn on_cancel(&self, call: impl FnOnce() + Send + 'static) -> Hook<'_> {
        let mut hooks = self.0.hooks();
        let number = hooks.next;
        hooks.next += 1;
        if self.is_cancelled() {
            drop(hooks);
            call();
        } else {
            hooks.calls.insert(number, Box::new(call));
        }
        Hook {
            token: &self.0,
            number,
        }
    }

    /// Waits for at most `limit`; returns early, with true, once cancelled.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut guard = self.0.hooks();
        while !self.is_cancelled() {
            let Some(left) = end
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
            else {
                return false;
            };
            guard = self
                .0
                .changed
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

/// Lets a figure through at most every [`Throttle::EVERY`], so that a fast copy does not drown its reader.
#[derive(Debug)]
pub(crate) struct Throttle(Option<Instant>);

impl Throttle {
    /// Ten a second is what an eye follows.
    const EVERY: Duration = Duration::from_millis(100);

    pub(crate) fn new() -> Self {
        Self(None)
    }

    pub(crate) fn ready(&mut self) -> bool {
        let now = Instant::now();
        let ready = self
            .0
            .is_none_or(|last| now.duration_since(last) >= Self::EVERY);
        if ready {
            self.0 = Some(now);
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_wait_ends_at_once() {
        let cancel = Cancel::new();
        assert!(
            !cancel.wait(Duration::from_millis(1)),
            "nothing cancelled: the wait runs out"
        );
        let other = cancel.clone();
        let waiter = std::thread::spawn(move || other.wait(Duration::from_secs(3600)));
        cancel.cancel();
        assert!(waiter.join().unwrap());
        assert!(cancel.is_cancelled());
    }
}
