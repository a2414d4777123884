//! Deletes an instance folder.

use process::lock::FileLock;

use super::error::InstanceError;
use super::stale;
use crate::layout::{InstanceDir, LimaHome};

/// Deletes an instance folder and its file in `_locks`. The held `lock` proves that no hostagent is alive; it is released at
/// the end, when its file is gone. The caller must have proved that no driver is alive (hazard 21). A missing folder is no
/// error.
///
/// # Errors
/// The lock is not the instance's, the instance is protected, or a file cannot be removed.
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
    // The folder is renamed first, so that a crash leaves no partial instance (hazard 23). A renamed folder is removed like
    // one of a killed preparation.
    let preparing = stale::lock(home, dir.name())?;
    let aside = stale::temporary(home, dir.name());
    remove(&aside)?;
    // Windows renames no folder with an open file, so the lock is released first. A process that takes it before the rename
    // makes the rename fail by the same rule, and the caller retries.
    let lock = (!cfg!(windows)).then_some(lock);
    match process::file::rename_folder(dir.path(), &aside) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            stale::remove_lock(preparing);
            return Ok(());
        }
        renamed => renamed.map_err(InstanceError::io("rename", dir.path()))?,
    }
    process::crash::point("instance.delete.after-rename");
    process::file::sync_folder(&home.root)?;
    drop(lock);
    remove(&aside)?;
    stale::remove_lock(preparing);
    Ok(())
}

/// Returns whether an interrupted deletion or preparation of `name` has left a folder. Also true while one is in progress.
pub fn has_remains(home: &LimaHome, name: &str) -> bool {
    stale::temporary(home, name).exists()
}

/// Deletes the folder that [`has_remains`] finds, if there is one.
///
/// # Errors
/// Another process is preparing or deleting the instance, or a file cannot be removed.
pub fn delete_remains(home: &LimaHome, name: &str) -> Result<(), InstanceError> {
    let preparing = stale::lock(home, name)?;
    remove(&stale::temporary(home, name))?;
    stale::remove_lock(preparing);
    Ok(())
}

fn remove(folder: &std::path::Path) -> Result<(), InstanceError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(InstanceError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
