//! The work folder of a build, and the removal of those of killed builds.
//!
//! The work folder is not in the cache, because in a user namespace mmdebstrap acts under other user ids, and so does apt's
//! download user. These cannot traverse a home folder. A build holds a lock inside its work folder. If the lock is free, the
//! build is dead, and the next build removes the folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::command::Run;
use process::lock::FileLock;
use process::{Identity, Process, Signal};

use crate::error::BuildError;
use crate::tools::Privilege;

const PREFIX: &str = "rdd-image-build.";
const LOCK: &str = "lock";
/// The limit for removing a few ten thousand files, which takes seconds.
const REMOVE_LIMIT: Duration = Duration::from_secs(300);
/// The limit for the exit of a killed process, which is immediate unless the disk hangs.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A work folder. Dropping the value removes it.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    privilege: Privilege,
    _lock: FileLock,
}

impl WorkFolder {
    /// Makes a folder in `parent`, after removing those of the same user's dead builds.
    ///
    /// # Errors
    /// `parent` cannot be written to.
    pub fn create(parent: &Path, privilege: Privilege) -> Result<Self, BuildError> {
        remove_stale(parent, privilege);
        let path = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(parent)
            .map_err(BuildError::io("make a folder in", parent))?
            .keep();
        let lock = match FileLock::try_acquire(&path.join(LOCK), "image build") {
            Ok(Some(lock)) => lock,
            // Another build removed the folder before this one took the lock.
            Ok(None) => return Err(BuildError::Cancelled),
            Err(error) => {
                remove(&path, privilege);
                return Err(error.into());
            }
        };
        let folder = Self {
            path,
            privilege,
            _lock: lock,
        };
        open_for_passage(&folder.path).map_err(BuildError::io("open", &folder.path))?;
        Ok(folder)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        remove(&self.path, self.privilege);
    }
}

/// Lets other users traverse the folder without listing it.
#[cfg(unix)]
fn open_for_passage(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o711))
}

#[cfg(not(unix))]
fn open_for_passage(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn remove_stale(parent: &Path, privilege: Privilege) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours =
            entry.file_name().to_string_lossy().starts_with(PREFIX) && is_own_folder(&entry.path());
        if !is_ours {
            continue;
        }
        // A folder without a lock file belongs to a build between its first two steps, so it stays.
        let lock = entry.path().join(LOCK);
        if lock.is_file() && matches!(FileLock::try_acquire(&lock, "clearing"), Ok(Some(_))) {
            remove(&entry.path(), privilege);
        }
    }
}

#[cfg(unix)]
fn is_own_folder(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // Does not follow links: any user can make links in the parent.
    fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::getuid().as_raw())
}

#[cfg(not(unix))]
fn is_own_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Removes a work folder. Files that cannot be removed are logged and stay for the next build.
fn remove(path: &Path, privilege: Privilege) {
    kill_orphans(path);
    if has_mount_below(path) {
        tracing::warn!(
            "{} is not removed: something is still mounted in it",
            path.display()
        );
        return;
    }
    if fs::remove_dir_all(path).is_ok() || !path.exists() {
        return;
    }
    if privilege == Privilege::UserNamespace {
        // Files of subordinate user ids can be removed in a user namespace only.
        let (program, words) = (privilege.namespace()[0], &privilege.namespace()[1..]);
        let command = Run::new(program, REMOVE_LIMIT)
            .args(words)
            .args(["rm", "-rf", "--"])
            .arg(path);
        if let Err(error) = command.run() {
            tracing::warn!(%error, "cannot remove the files of other user ids in {}", path.display());
        }
    }
    if let Err(error) = fs::remove_dir_all(path)
        && path.exists()
    {
        tracing::warn!(%error, "cannot remove {}; the next build will try again", path.display());
    }
}

/// Kills the orphans of a killed build. The kernel does not kill a helper with its parent once the helper has changed its
/// credentials, as it does for a user namespace. Orphans have the work folder, whose name is random, in their command line.
/// The death of `unshare` ends its whole process namespace.
fn kill_orphans(path: &Path) {
    let mark = [b"--wd=", path.as_os_str().as_encoded_bytes()].concat();
    let is_orphan = |pid: u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == mark)
    };
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if !is_orphan(pid) {
            continue;
        }
        // Opened first and then checked again, because the PID may belong to another process by now.
        let Ok(Some(identity)) = Identity::of(pid) else {
            continue;
        };
        let Ok(Some(held)) = Process::open(&identity) else {
            continue;
        };
        if is_orphan(pid) && held.signal(Signal::Kill).is_ok() {
            let _ = held.wait(Instant::now() + END_LIMIT);
        }
    }
}

/// Whether something is mounted in the folder. mmdebstrap mounts in a namespace of its own; if one of its mounts were visible
/// here, removing the folder would remove the mounted files.
fn has_mount_below(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // mountinfo writes blanks as \040, which only the parent's path can have.
    let escaped = path.to_string_lossy().replace(' ', "\\040");
    mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|point| point.starts_with(&escaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parent: &Path) -> Vec<PathBuf> {
        fs::read_dir(parent)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    #[test]
    fn folders_are_removed_on_drop_and_after_dead_builds() {
        let parent = tempfile::tempdir().unwrap();
        let dead = parent.path().join(format!("{PREFIX}dead"));
        fs::create_dir_all(dead.join("rootfs/etc")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let foreign = parent.path().join("something-else");
        fs::create_dir(&foreign).unwrap();
        let first = WorkFolder::create(parent.path(), Privilege::Root).unwrap();
        assert!(!dead.exists());
        let second = WorkFolder::create(parent.path(), Privilege::Root).unwrap();
        assert!(first.path().exists(), "a living build keeps its folder");
        fs::write(second.path().join("rootfs.tar"), "x").unwrap();
        drop((first, second));
        assert_eq!(names(parent.path()), [foreign]);
    }
}
