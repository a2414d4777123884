//! A set of tasks, one for each key, for controllers that keep a task for each object.
//!
//! A task that panics is reported with its message and is due again after a pause, so that a defect that one object
//! triggers neither stops the other tasks nor ends its own silently.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinSet};

use crate::back_off::BackOff;
use crate::manager::panic_text;

/// The longest pause before a task that panicked is due again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A task that ran for this time without a panic is not in a crash loop.
const STABLE: Duration = Duration::from_secs(600);

/// What happened to a task.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned.
    Finished,
    /// It panicked, and is due again after `pause`.
    Panicked {
        /// The message of the panic.
        message: String,
        /// Until [`Outcome::Due`].
        pause: Duration,
    },
    /// The pause after a panic is over: spawn it again, if it is still needed.
    Due,
}

#[derive(Default)]
struct Failure {
    back_off: BackOff,
    due: Option<Instant>,
}

/// The tasks. Dropping the set aborts them.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<()>,
    running: HashMap<Id, (String, Instant)>,
    failures: HashMap<String, Failure>,
}

impl Tasks {
    /// Starts a task. The caller makes sure that no other task of this key runs.
    pub fn spawn(&mut self, key: &str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.set.spawn(task).id();
        self.running.insert(id, (key.to_owned(), Instant::now()));
        if let Some(failure) = self.failures.get_mut(key) {
            failure.due = None;
        }
    }

    /// Whether no task runs and none is due again.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.failures.values().all(|failure| failure.due.is_none())
    }

    /// Waits until something happens to a task; for ever while there is none. Cancel safe.
    pub async fn next(&mut self) -> (String, Outcome) {
        loop {
            let failures = self.failures.iter();
            let due = failures
                .filter_map(|(key, failure)| Some((failure.due?, key.clone())))
                .min();
            let sleep = async {
                match &due {
                    Some((at, _)) => tokio::time::sleep_until((*at).into()).await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                Some(ended) = self.set.join_next_with_id() => ended,
                () = sleep => {
                    let key = due.map(|(_, key)| key).unwrap_or_default();
                    if let Some(failure) = self.failures.get_mut(&key) {
                        failure.due = None;
                    }
                    return (key, Outcome::Due);
                }
            };
            let id = match &ended {
                Ok((id, ())) => *id,
                Err(error) => error.id(),
            };
            let Some((key, started)) = self.running.remove(&id) else {
                continue;
            };
            let outcome = match ended.map_err(tokio::task::JoinError::try_into_panic) {
                Err(Ok(panic)) => self.panicked(&key, started, panic_text(panic.as_ref())),
                _ => {
                    self.failures.remove(&key);
                    Outcome::Finished
                }
            };
            return (key, outcome);
        }
    }

    fn panicked(&mut self, key: &str, started: Instant, message: &str) -> Outcome {
        let now = Instant::now();
        let failure = self.failures.entry(key.to_owned()).or_default();
        if now.duration_since(started) >= STABLE {
            failure.back_off.reset();
        }
        let pause = failure.back_off.failed(now, LONGEST_PAUSE);
        failure.due = Some(now + pause);
        Outcome::Panicked {
            message: message.to_owned(),
            pause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[expect(clippy::panic, reason = "the panic is what is tested")]
    async fn task_that_panics_is_reported_and_due_again_with_back_off() {
        let mut tasks = Tasks::default();
        let panics = |tasks: &mut Tasks| tasks.spawn("a", async { panic!("defect {}", 1) });
        let after = |seconds| Outcome::Panicked {
            message: "defect 1".into(),
            pause: Duration::from_secs(seconds),
        };
        panics(&mut tasks);
        assert_eq!(tasks.next().await, ("a".to_owned(), after(1)));
        assert!(!tasks.is_empty(), "it is due again");
        assert_eq!(tasks.next().await, ("a".to_owned(), Outcome::Due));
        panics(&mut tasks);
        assert_eq!(tasks.next().await, ("a".to_owned(), after(2)));
        tasks.spawn("a", async {});
        assert_eq!(tasks.next().await, ("a".to_owned(), Outcome::Finished));
        assert!(tasks.is_empty());
        panics(&mut tasks);
        let forgotten = after(1);
        assert_eq!(tasks.next().await, ("a".to_owned(), forgotten));
    }
}
