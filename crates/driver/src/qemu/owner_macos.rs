//! Which process holds a lock, on macOS. The kernel does not report it, but it reports which processes have the file open
//! for writing. The lock is passed as an open descriptor, so any other process that has it open is QEMU, or was forked to
//! become QEMU. Compiled and linted, never run.

use std::path::Path;

use process::Identity;
use process::open_files::{is_writer, writers};

/// Returns the process that has the lock open for writing; `likely` is checked first. `None` also if this user may not
/// inspect that process.
pub(super) fn find(lock: &Path, likely: Option<&Identity>) -> std::io::Result<Option<Identity>> {
    if let Some(likely) = likely
        && likely.is_of_this_boot().unwrap_or(false)
        && is_writer(likely, lock)?
    {
        return Ok(Some(likely.clone()));
    }
    // QEMU is older than any process that it may have started.
    Ok(writers(lock)?.into_iter().next())
}
