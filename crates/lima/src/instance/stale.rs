//! What a killed preparation leaves, and its removal.
//!
//! An instance is prepared in `.NAME.tmp` while `_locks/NAME.lock` is held. Who can take the lock knows that nobody
//! works in the folder any more.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use process::lock::FileLock;

use super::error::InstanceError;
use crate::layout::{self, LimaHome};

const SUFFIX: &str = ".tmp";

/// Somebody who prepares the same instance is most likely about to fail or to be done; who waits longer should tell.
const WAIT: Duration = Duration::from_secs(5);

/// Where instance `name` is prepared.
pub(super) fn temporary(home: &LimaHome, name: &str) -> PathBuf {
    home.root.join(format!(".{name}{SUFFIX}"))
}

fn lock_path(home: &LimaHome, name: &str) -> PathBuf {
    home.locks_dir().join(format!("{name}.lock"))
}

/// Takes the right to prepare or delete an instance.
pub(super) fn lock(home: &LimaHome, name: &str) -> Result<FileLock, InstanceError> {
    process::file::create_private_dir(&home.locks_dir())?;
    FileLock::acquire(
        &lock_path(home, name),
        "preparation of an instance",
        Instant::now() + WAIT,
    )
    .map_err(|source| InstanceError::Busy {
        name: name.to_owned(),
        source: Box::new(source),
    })
}

/// Removes the folders of preparations that were killed, and says which. Those of living ones stay.
///
/// # Errors
/// A folder cannot be removed.
pub fn remove_stale(home: &LimaHome) -> Result<Vec<PathBuf>, InstanceError> {
    let Ok(entries) = std::fs::read_dir(&home.root) else {
        return Ok(Vec::new());
    };
    let mut removed = Vec::new();
    for entry in entries.flatten() {
        let Ok(file_name) = entry.file_name().into_string() else {
            continue;
        };
        let name = file_name
            .strip_prefix('.')
            .and_then(|name| name.strip_suffix(SUFFIX));
        let Some(name) = name.filter(|name| layout::validate_name(name).is_ok()) else {
            continue;
        };
        process::file::create_private_dir(&home.locks_dir())?;
        let held = FileLock::try_acquire(&lock_path(home, name), "removal of what was left");
        let held = held.map_err(|source| InstanceError::Busy {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
        if held.is_some() {
            std::fs::remove_dir_all(entry.path())
                .map_err(InstanceError::io("remove", &entry.path()))?;
            removed.push(entry.path());
        }
    }
    Ok(removed)
}
