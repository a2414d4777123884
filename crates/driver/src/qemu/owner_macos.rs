//! Who holds a lock, on macOS. The kernel does not say it, but it says who has the file open for writing: a lock is
//! handed over as an open descriptor, and whoever has it and is not us is QEMU, or was forked to become it. Compiled and
//! linted, never run.

use std::path::Path;

use process::Identity;
use process::open_files::{is_writer, writers};

/// Who has the lock open for writing; `likely` is looked at first. Nobody, also when whoever has it may not be looked at.
pub(super) fn find(lock: &Path, likely: Option<&Identity>) -> std::io::Result<Option<Identity>> {
    if let Some(likely) = likely
        && likely.is_of_this_boot().unwrap_or(false)
        && is_writer(likely, lock)?
    {
        return Ok(Some(likely.clone()));
    }
    // QEMU itself before what it may have started.
    Ok(writers(lock)?.into_iter().next())
}
