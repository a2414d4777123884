//! The compute pool: two threads for work that takes long or needs a deep stack, so that it never delays the async
//! workers, on which all other requests are served.
//!
//! Everything about the pool is bounded: its threads, their stacks, the queue, and the time of each job. A job whose
//! client has left or whose time is over learns it from its [`Token`] and stops. The threads start with the first job
//! and end after a while without one, so that an idle server does not keep their stacks.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::status::ApiError;

/// Two, so that one long job does not delay every other one.
const THREADS: usize = 2;
/// The stack of a thread in bytes. The CEL parser and evaluator recurse; [`crate::schema`] limits their depth so that
/// half of this suffices in a debug build. The memory is only reserved until it is used.
pub(crate) const STACK: usize = 64 << 20;
/// The most jobs that wait. Each can hold two objects of 1.5 MiB.
const QUEUE: usize = 32;
/// How long a job may wait and run together.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How long a thread waits for a job before it ends.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// Tells a job when to stop.
#[derive(Clone)]
pub(crate) struct Token {
    cancelled: Arc<AtomicBool>,
    deadline: Instant,
}

impl Token {
    /// A token that never stops a job, for tests.
    #[cfg(test)]
    pub(crate) fn unlimited() -> Self {
        Self {
            cancelled: Arc::default(),
            deadline: Instant::now() + Duration::from_secs(3600),
        }
    }

    /// Whether the client has left or the time is over.
    pub(crate) fn is_stopped(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || Instant::now() >= self.deadline
    }
}

/// Stops the job when the future that waits for it is dropped.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Job = Box<dyn FnOnce() + Send>;

struct Pool {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static POOL: Pool = Pool {
    state: Mutex::new(State {
        jobs: VecDeque::new(),
        threads: 0,
        idle: 0,
    }),
    changed: Condvar::new(),
};

/// Runs `work` on the pool and returns its result.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce(&Token) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let cancel = CancelOnDrop(Arc::default());
    let token = Token {
        cancelled: Arc::clone(&cancel.0),
        deadline: Instant::now() + TIME_LIMIT,
    };
    let (sender, receiver) = tokio::sync::oneshot::channel();
    POOL.submit(Box::new(move || {
        if token.is_stopped() {
            return;
        }
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| work(&token)));
        // The receiver is gone if the client has left.
        let _ = sender.send(result);
    }))?;
    match receiver.await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(panic)) => {
            let why = panic_text(panic.as_ref());
            tracing::error!(why, "a job of the compute pool panicked");
            Err(ApiError::internal(
                "the request caused a fault in the server",
            ))
        }
        Err(_) => Err(timed_out()),
    }
}

/// The refusal of a request whose work did not end in time.
pub(crate) fn timed_out() -> ApiError {
    let message = format!(
        "Timeout: the object needs more than {} seconds of computing, which is the limit",
        TIME_LIMIT.as_secs()
    );
    ApiError::new(504, "Timeout", message)
}

/// The text of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&'static self, job: Job) -> Result<(), ApiError> {
        let mut state = self.lock();
        if state.jobs.len() >= QUEUE {
            return Err(ApiError::too_many_requests());
        }
        if state.idle <= state.jobs.len() && state.threads < THREADS {
            let thread = std::thread::Builder::new()
                .name("compute".into())
                .stack_size(STACK)
                .spawn(|| self.work());
            match thread {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    return Err(ApiError::internal(format!(
                        "cannot start a thread of the compute pool: {error}"
                    )));
                }
                // The running thread takes the job later.
                Err(_) => {}
            }
        }
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let waited = self.changed.wait_timeout(state, IDLE_LIMIT);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn job_stops_when_its_client_leaves_and_a_panic_is_an_error() {
        let (started, ready) = tokio::sync::oneshot::channel();
        let (ended, end) = tokio::sync::oneshot::channel();
        let job = tokio::spawn(run(move |token| {
            let _ = started.send(());
            while !token.is_stopped() {
                std::thread::yield_now();
            }
            let _ = ended.send(());
        }));
        ready.await.expect("the job starts");
        job.abort();
        end.await.expect("the job stops");

        let error = run(|_| -> () { panic!("a fault") })
            .await
            .expect_err("panics");
        assert_eq!(error.code, 500);
        assert_eq!(run(|_| 5).await.expect("the pool goes on"), 5);
    }
}
