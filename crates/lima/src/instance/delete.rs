//! Deleting an instance folder.

use process::lock::FileLock;

use super::error::InstanceError;
use super::stale;
use crate::layout::{InstanceDir, LimaHome};

/// Deletes an instance folder. The lock is the proof that no hostagent is alive; it is released at the end, when its
/// file is gone. That no driver is alive is for the caller to prove first (hazard 21). A folder that is gone is
/// success.
///
/// # Errors
/// The lock is another one, the instance is protected, or a file cannot be removed.
pub fn delete(home: &LimaHome, dir: &InstanceDir, lock: FileLock) -> Result<(), InstanceError> {
    if lock.path() != dir.ha_lock() {
        return Err(InstanceError::NotLocked {
            path: dir.path().to_owned(),
            held: lock.path().to_owned(),
        });
    }
    if dir.protected().exists() {
        return Err(InstanceError::Protected {
            name: dir.name().to_owned(),
            path: dir.protected(),
        });
    }
    // First out of sight in one step: a crash half way must not leave half an instance (hazard 23). What is left then
    // looks like a killed preparation and goes with those.
    let _preparing = stale::lock(home, dir.name())?;
    let aside = stale::temporary(home, dir.name());
    remove(&aside)?;
    // Windows renames no folder in which somebody has a file open, so the lock goes first. Whoever takes it before the
    // rename makes that fail, by the same rule, and the caller tries again.
    let lock = (!cfg!(windows)).then_some(lock);
    match process::file::rename_folder(dir.path(), &aside) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(InstanceError::io("rename", dir.path()))?,
    }
    process::crash::point("instance.delete.after-rename");
    process::file::sync_folder(&home.root)?;
    drop(lock);
    remove(&aside)
}

/// Whether a deletion or a preparation of `name` that broke off has left something beside the instance's place. Also
/// true while one is under way.
pub fn has_remains(home: &LimaHome, name: &str) -> bool {
    stale::temporary(home, name).exists()
}

/// Deletes what [`has_remains`] has found; success when nothing is there.
///
/// # Errors
/// Somebody prepares or deletes the instance just now, or a file cannot be removed.
pub fn delete_remains(home: &LimaHome, name: &str) -> Result<(), InstanceError> {
    let _preparing = stale::lock(home, name)?;
    remove(&stale::temporary(home, name))
}

fn remove(folder: &std::path::Path) -> Result<(), InstanceError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(InstanceError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
