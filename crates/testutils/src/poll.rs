//! Waiting without sleep-and-hope.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Between two looks: short beside anything that a test waits for.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `look` gives `Ok`, and returns what it gave. After `timeout` it panics with what it waited for and with
/// the last state that `look` gave as its error. Give a generous limit: it is only reached by a test that fails.
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
    reason = "this is the poll with a deadline that everybody else uses instead"
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
            Err(state) if Instant::now() >= deadline => gave_up(timeout, what, &state),
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

/// [`poll()`] for a look that awaits. One look may not take longer than what is left of the time.
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
            // A look that is done at once never meets the deadline above.
            Ok(Err(state)) if tokio::time::Instant::now() >= deadline => {
                gave_up(timeout, what, &state)
            }
            Ok(Err(state)) => last = Some(state.to_string()),
            Err(_elapsed) => {
                let last = last.unwrap_or_else(|| "the first look never came back".to_owned());
                gave_up(timeout, what, &last)
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[track_caller]
fn gave_up(timeout: Duration, what: &str, state: &dyn Display) -> ! {
    panic!("waited {timeout:?} in vain for {what}; last seen: {state}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "in vain for the moon; last seen: dark")]
    fn giving_up_says_what_was_seen_last() {
        poll(Duration::ZERO, "the moon", || Err::<(), _>("dark"));
    }

    #[tokio::test]
    #[should_panic(expected = "last seen: dark")]
    async fn a_look_that_is_done_at_once_is_given_up_too() {
        poll_async(Duration::from_millis(1), "the moon", async || {
            Err::<(), _>("dark")
        })
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "the first look never came back")]
    async fn a_look_that_hangs_is_given_up_too() {
        poll_async(Duration::from_millis(1), "nothing", async || {
            std::future::pending::<Result<(), String>>().await
        })
        .await;
    }
}
