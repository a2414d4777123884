//! Which process is the VM: the one that holds `qemu.lock`.
//!
//! The lock is taken before QEMU is started and handed to it as an open descriptor, so the kernel knows from the fork
//! to the last exit whether a QEMU of this VM lives, whoever of us dies in between and whatever happens to sockets and
//! records. Two QEMUs for one VM cannot be, and a process that does not hold the lock is nobody that we may end: not
//! one whose number stands in a file, nor one that listens on a socket of ours.

#[cfg(target_os = "linux")]
#[path = "owner_linux.rs"]
mod holding;
#[cfg(target_os = "macos")]
#[path = "owner_macos.rs"]
mod holding;
#[cfg(windows)]
#[path = "owner_windows.rs"]
mod holding;

use std::path::Path;
use std::time::{Duration, Instant};

use holding::find;
use process::lock::{Holder, holder};
use process::{FileLock, Identity};

use crate::{DriverError, MachineFiles};

/// How long the threads of a QEMU that has ended may hold on to its files.
const LAST_EXIT: Duration = Duration::from_secs(1);

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody: no QEMU of this VM lives.
    Nobody,
    /// This process. Proved, not read from a file.
    Process(Identity),
    /// Somebody who cannot be named.
    Unclear(String),
}

/// Takes the lock for a QEMU that is about to start.
///
/// # Errors
/// One runs already, or the file cannot be used.
pub(super) async fn take(files: &MachineFiles, vm: &str) -> Result<FileLock, DriverError> {
    let deadline = Instant::now() + LAST_EXIT;
    FileLock::acquire_async(
        &files.lock,
        &format!("QEMU of VM {vm}, started by a hostagent"),
        deadline,
    )
    .await
    .map_err(|error| DriverError::StillRuns {
        lock: files.lock.clone(),
        reason: error.to_string(),
    })
}

/// Who holds the lock. `likely` is looked at first, which saves a look at everybody.
pub(super) fn of(lock: &Path, likely: Option<&Identity>) -> Owner {
    match holder(lock) {
        Ok(Holder::Free) => Owner::Nobody,
        Ok(Holder::Held(_)) => match find(lock, likely) {
            Ok(Some(identity)) => Owner::Process(identity),
            Ok(None) => match holder(lock) {
                // It ended meanwhile.
                Ok(Holder::Free) => Owner::Nobody,
                _ => Owner::Unclear(format!(
                    "a process that cannot be seen holds {}",
                    lock.display()
                )),
            },
            Err(error) => Owner::Unclear(format!(
                "cannot look for the process that holds {}: {error}",
                lock.display()
            )),
        },
        Err(error) => Owner::Unclear(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use lima::layout::InstanceDir;

    use super::*;

    #[tokio::test]
    async fn h16_a_start_waits_for_the_last_exit_of_the_qemu_before() {
        let folder = tempfile::tempdir().unwrap();
        let files = MachineFiles::of(&InstanceDir::at(folder.path(), "vm"));
        let held = FileLock::try_acquire(&files.lock, "the one before")
            .unwrap()
            .unwrap();
        // The first look finds it held; only then is it let go.
        let (taken, ()) = tokio::join!(take(&files, "vm"), async { drop(held) });
        assert_eq!(taken.unwrap().path(), files.lock);
    }
}
