//! The folder that a build works in, and clearing what killed builds left.
//!
//! It is not in the cache: in a user namespace mmdebstrap acts under other user ids, for whom a home folder is closed,
//! and apt's download user is another one too. So it is in a folder that everybody may pass through. A lock inside says
//! that its build lives; a folder whose lock is free is garbage, and the next build removes it.

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
/// Removing a few ten thousand files takes seconds.
const REMOVE_LIMIT: Duration = Duration::from_secs(300);
/// A killed process is gone at once, unless its disk hangs.
const END_LIMIT: Duration = Duration::from_secs(10);

/// A folder that goes when this value goes.
#[derive(Debug)]
pub struct WorkFolder {
    path: PathBuf,
    privilege: Privilege,
    _lock: FileLock,
}

impl WorkFolder {
    /// Makes a folder in `parent`, after removing those of dead builds of the same user.
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
            // Somebody cleared the folder in the instant before it had its lock.
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

/// Others may pass through, and see nothing: the names inside are known to the build only.
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
        // A folder without a lock file is that of a build between its first two steps; the next build will see.
        let lock = entry.path().join(LOCK);
        if lock.is_file() && matches!(FileLock::try_acquire(&lock, "clearing"), Ok(Some(_))) {
            remove(&entry.path(), privilege);
        }
    }
}

#[cfg(unix)]
fn is_own_folder(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // Not following links: the parent is a folder where everybody may put them.
    fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == rustix::process::getuid().as_raw())
}

#[cfg(not(unix))]
fn is_own_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Removes a work folder; what cannot be removed stays for the next build, and the log says so.
fn remove(path: &Path, privilege: Privilege) {
    end_left_overs(path);
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
        // Files of other user ids, which are ours in a namespace only.
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

/// Ends what a killed build started: the kernel forgets to end a helper with its parent once the helper has changed its
/// credentials, as it does for a user namespace. The processes are those that name the work folder, whose name is random,
/// in their command line; `unshare` takes its whole process namespace with it.
fn end_left_overs(path: &Path) {
    let mark = [b"--wd=", path.as_os_str().as_encoded_bytes()].concat();
    let is_left_over = |pid: u32| {
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
        if !is_left_over(pid) {
            continue;
        }
        // Held first, looked at again, and only then signalled: the number may be another process by now.
        let Ok(Some(identity)) = Identity::of(pid) else {
            continue;
        };
        let Ok(Some(held)) = Process::open(&identity) else {
            continue;
        };
        if is_left_over(pid) && held.signal(Signal::Kill).is_ok() {
            let _ = held.wait(Instant::now() + END_LIMIT);
        }
    }
}

/// mmdebstrap mounts in a namespace of its own; should one of its mounts ever be seen here, then removing the folder
/// would remove what is mounted.
fn has_mount_below(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Blanks are written as \040; our names have none, and a parent with blanks is compared in the same form.
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
    fn a_folder_goes_with_its_value_and_those_of_dead_builds_go_too() {
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
