//! What this process inherited from the program that started it, and should not depend on.

use crate::sys;

/// Gives this process the default actions for the signals that it depends on (SIGCHLD, SIGTERM, SIGALRM, SIGXFSZ), unblocks
/// all signals, and lifts the soft limit on the size of files. Call it first in `main`. No-op on Windows.
///
/// Children of [`crate::spawn`] get the same and more without it.
pub fn reset() {
    sys::start_state::set_in_this_process();
}
