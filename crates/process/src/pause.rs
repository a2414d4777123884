//! The only sleep of this crate.

use std::time::{Duration, Instant};

/// The poll interval for what has no event: another process's file lock, the end of a process tree. Short enough that a
/// person does not notice, long enough to cost nothing.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Sleeps for [`POLL_INTERVAL`], at most until `deadline`. Returns false if the deadline has passed.
#[expect(
    clippy::disallowed_methods,
    reason = "the callers poll with a deadline, because the kernel has no event for what they wait for"
)]
pub(crate) fn until_next_look(deadline: Instant) -> bool {
    let now = Instant::now();
    if now >= deadline {
        return false;
    }
    std::thread::sleep(POLL_INTERVAL.min(deadline - now));
    true
}
