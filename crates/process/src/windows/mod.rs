//! The Windows implementation: handles with creation times, Job Objects, `LockFileEx` beyond the text, named events.
//!
//! | Unix | Windows |
//! |---|---|
//! | pidfd + start time + boot id | process handle + creation time (100 ns since 1601, so the boot id only helps) |
//! | session | process group of its own, no console (`CREATE_NEW_PROCESS_GROUP`, `CREATE_NO_WINDOW`) |
//! | mark in the environment | a Job Object of that name, which the child keeps open |
//! | SIGTERM | a named event (`stop.rs`) |
//! | rename | `MoveFileExW`, retried for a moment while a process reads the old file |

pub(crate) mod capture;
pub(crate) mod child;
pub(crate) mod files;
mod handle;
mod job;
pub(crate) mod lock;
pub(crate) mod start_state;
pub(crate) mod stop;
mod table;

pub(crate) use handle::{Handle, boot_id, die, is_ending, start_time};
pub(crate) use table::{Snapshot, carries, children, own_environment, snapshot};

/// Encodes a name in UTF-16 with a trailing NUL.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain(std::iter::once(0)).collect()
}
