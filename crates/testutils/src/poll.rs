//! Polling with a deadline.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The interval of polls: short compared with anything that a test waits for.
const INTERVAL: Duration = Duration::from_millis(20);

/// Calls `look` until it returns `Ok`, and returns its value. After `timeout` it panics with `what` and the last error of
/// `look`. Choose a generous timeout: only a failing test reaches it.
///
/// ```
/// # use std::time::Duration;
/// let mut looks = 0;
/// let seen = testutils::poll(Duration::from_secs(5), "the third look", || {
///     looks += 1;
///     if looks == 3 { Ok(looks) } else { Err(format!("only {looks} looks")) }
/// });
/// assert_eq!(seen, 3);
/// ```
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the poll with a deadline that all other code uses instead"
)]
pub fn poll<T, S: Display>(
    timeout: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, S>,
) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(state) if Instant::now() >= deadline => time_out(timeout, what, &state),
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

/// [`poll()`] for an async `look`. A call is cancelled at the deadline.
pub async fn poll_async<T, S: Display>(
    timeout: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, S>,
) -> T {
    let deadline = tokio::time::Instant::now() + timeout;
    let mut last = None;
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(seen)) => return seen,
            // A call that returns at once is never cancelled by the timeout above.
            Ok(Err(state)) if tokio::time::Instant::now() >= deadline => {
                time_out(timeout, what, &state)
            }
            Ok(Err(state)) => last = Some(state.to_string()),
            Err(_elapsed) => {
                let last = last.unwrap_or_else(|| "the first call did not return".to_owned());
                time_out(timeout, what, &last)
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[track_caller]
fn time_out(timeout: Duration, what: &str, state: &dyn Display) -> ! {
    panic!("waited {timeout:?} in vain for {what}; last seen: {state}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "in vain for the moon; last seen: dark")]
    fn timeout_reports_the_last_state() {
        poll(Duration::ZERO, "the moon", || Err::<(), _>("dark"));
    }

    #[tokio::test]
    #[should_panic(expected = "last seen: dark")]
    async fn timeout_ends_calls_that_return_at_once() {
        poll_async(Duration::from_millis(1), "the moon", async || {
            Err::<(), _>("dark")
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "the first call did not return")]
    async fn timeout_ends_a_call_that_hangs() {
        poll_async(Duration::from_millis(1), "nothing", async || {
            std::future::pending::<Result<(), String>>().await
        })
        .await;
    }
}
