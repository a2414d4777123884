//! The one place of this crate that lets time pass.

use std::time::{Duration, Instant};

/// How often something that has no event to wait for is looked at again: another process's file lock, the end of a
/// process tree. Short enough for a person not to notice, long enough to cost nothing.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Sleeps for [`LOOK_AGAIN`], at most until `deadline`. False when the deadline has passed.
#[expect(
    clippy::disallowed_methods,
    reason = "the callers poll with a deadline; the kernel has no event for what they wait for"
)]
pub(crate) fn until_next_look(deadline: Instant) -> bool {
    let now = Instant::now();
    if now >= deadline {
        return false;
    }
    std::thread::sleep(LOOK_AGAIN.min(deadline - now));
    true
}
