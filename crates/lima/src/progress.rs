//! Progress and cancellation of long calls.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// The work that a long call is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Another process works on the same thing. The figures are its, if they are known.
    Waiting,
    /// Downloading from the network.
    Downloading,
    /// Computing the digest of a file.
    Verifying,
    /// Unpacking a compressed image.
    Decompressing,
    /// Copying a file that could not be linked.
    Copying,
    /// Making the instance's disk.
    CreatingDisk,
}

/// Receives progress from the working thread, a few times a second at most and once at the end of a phase. Must not block.
pub trait Progress: Send + Sync {
    /// Reports the progress on `subject`, a URL or path. `done` and `total` are bytes.
    fn report(&self, phase: Phase, subject: &str, done: u64, total: Option<u64>);

    /// Reports something that the user should know and that does not stop the work.
    fn warn(&self, message: &str) {
        tracing::warn!("{message}");
    }
}

/// Ignores progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Phase, _: &str, _: u64, _: Option<u64>) {}
}

/// A token by which one thread cancels the work of others. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Token>);

#[derive(Default)]
struct Token {
    flag: AtomicBool,
    hooks: Mutex<Hooks>,
    changed: Condvar,
}

/// The calls to make at the moment of the cancel, by number.
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

/// Removes the call of [`Cancel::on_cancel`] when dropped.
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
        self.hooks.lock()
    }
}

impl Cancel {
    /// Returns a token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the work, for good.
    pub fn cancel(&self) {
        let calls = {
            // Under the lock, no waiting thread is between its check and its wait.
            let mut hooks = self.0.hooks();
            self.0.flag.store(true, Ordering::SeqCst);
            self.0.changed.notify_all();
            std::mem::take(&mut hooks.calls)
        };
        for call in calls.into_values() {
            call();
        }
    }

    /// Returns whether [`Cancel::cancel`] has been called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.flag.load(Ordering::SeqCst)
    }

    /// Calls `call` at the moment of the cancel, from the cancelling thread, as long as the returned value lives. Calls it at
    /// once if the token is cancelled already. For operations that block without checking the token.
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

    /// Waits for at most `limit`. Returns true early once the token is cancelled.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut guard = self.0.hooks();
        while !self.is_cancelled() {
            if self.0.changed.wait_until(&mut guard, end).timed_out() {
                return self.is_cancelled();
            }
        }
        true
    }
}

/// Limits reports to one every [`Throttle::EVERY`].
#[derive(Debug)]
pub(crate) struct Throttle(Option<Instant>);

impl Throttle {
    /// A person follows ten figures a second.
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
    fn a_cancel_ends_a_wait_at_once() {
        let cancel = Cancel::new();
        assert!(
            !cancel.wait(Duration::from_millis(1)),
            "without a cancel the wait times out"
        );
        let other = cancel.clone();
        let waiter = std::thread::spawn(move || other.wait(Duration::from_secs(3600)));
        cancel.cancel();
        assert!(waiter.join().unwrap());
        assert!(cancel.is_cancelled());
    }
}
