//! Removes the folders of killed preparations.
//!
//! An instance is prepared in `.NAME.tmp` while `_locks/NAME.lock` is held. A process that can take the lock knows that no
//! other process works in the folder.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use process::lock::FileLock;

use super::error::InstanceError;
use crate::layout::{self, LimaHome};

const SUFFIX: &str = ".tmp";

/// How long to wait for another process that prepares the same instance before an error reports it.
const WAIT: Duration = Duration::from_secs(5);

/// Returns the folder in which instance `name` is prepared.
pub(super) fn temporary(home: &LimaHome, name: &str) -> PathBuf {
    home.root.join(format!(".{name}{SUFFIX}"))
}

fn lock_path(home: &LimaHome, name: &str) -> PathBuf {
    home.locks_dir().join(format!("{name}.lock"))
}

/// Takes the lock for preparing or deleting an instance.
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

/// Removes the file of a held lock, when its instance is gone. A process that waits for the lock then locks a new file
/// ([`FileLock`] checks that its file still has the name). Best effort: a file that stays does no harm.
pub(super) fn remove_lock(lock: FileLock) {
    if let Err(error) = std::fs::remove_file(lock.path()) {
        tracing::debug!(%error, "cannot remove {}", lock.path().display());
    }
    drop(lock);
}

/// Removes the folders of killed preparations and returns them. Those of running preparations stay.
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
        let held = FileLock::try_acquire(&lock_path(home, name), "removal of a killed preparation");
        let held = held.map_err(|source| InstanceError::Busy {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
        if let Some(lock) = held {
            std::fs::remove_dir_all(entry.path())
                .map_err(InstanceError::io("remove", &entry.path()))?;
            if !home.root.join(name).exists() {
                remove_lock(lock);
            }
            removed.push(entry.path());
        }
    }
    Ok(removed)
}
