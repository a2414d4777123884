//! The revision with which a new database starts.
//!
//! Revisions must never repeat under the address of an instance, or a client that watches from a revision of an
//! earlier database would miss changes without an error. So a new database starts at the number of microseconds since
//! the Unix epoch: no store commits a million writes a second, so that number is larger than all revisions of an
//! earlier database. The removal of a database records its newest revision as well, for the case that the clock was
//! set back in between. The numbers stay below 2^53 until the year 2255.

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::files::{self, Files};
use crate::value::Revision;

/// The revisions that are skipped after a database lost an unknown number of its newest changes: more than a
/// database writes between two syncs of the disk.
const MARGIN: Revision = 1_000_000;
/// The largest integer that JavaScript represents exactly.
const LARGEST: Revision = (1 << 53) - 1;

/// The revision at which a database starts that must not repeat `issued` or any revision of its predecessors.
pub(super) fn start(files: &Files, now: SystemTime, issued: Revision) -> Revision {
    let clock = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let clock = u64::try_from(clock.as_micros()).unwrap_or(0);
    let floor = fs::read_to_string(files.floor())
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let beyond = |issued: Revision| if issued == 0 { 0 } else { issued + MARGIN };
    // A clock far in the future, or a damaged number, must not use up the numbers.
    [clock, beyond(floor), beyond(issued)]
        .into_iter()
        .filter(|start| *start <= LARGEST / 2)
        .max()
        .unwrap_or(0)
}

/// Records the newest revision of a database that is about to be removed.
pub(super) fn record(files: &Files, newest: Revision) -> io::Result<()> {
    files::replace(&files.floor(), format!("{newest}\n").as_bytes())
}
