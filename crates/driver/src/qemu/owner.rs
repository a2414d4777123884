//! Which process is the VM: the one that holds `qemu.lock`.
//!
//! The hostagent takes the lock before it starts QEMU and passes it to QEMU as an open descriptor. So the kernel knows
//! from the fork to the last exit whether a QEMU of this VM lives, even if the hostagent dies in between and even if
//! sockets and records are lost. There is never a second QEMU for one VM, and a process that does not hold the lock is
//! never killed: neither one whose number is in a file, nor one that listens on the VM's socket.

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

use super::files::QemuFiles;
use crate::error::DriverError;

/// How long the threads of a QEMU that has ended may still hold its files.
const LAST_EXIT: Duration = Duration::from_secs(1);

/// The holder of the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// No process: no QEMU of this VM lives.
    None,
    /// This process, as proved by the kernel and not read from a file.
    Process(Identity),
    /// A process that cannot be identified, and why not.
    Unclear(String),
}

/// Takes the lock for a QEMU that is about to start.
///
/// # Errors
/// A QEMU of this VM already runs, or the file cannot be used.
pub(super) async fn take(files: &QemuFiles, vm: &str) -> Result<FileLock, DriverError> {
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

/// Returns the holder of the lock. `likely` is checked first, which usually saves a look at every process.
pub(super) fn of(lock: &Path, likely: Option<&Identity>) -> Owner {
    match holder(lock) {
        Ok(Holder::Free) => Owner::None,
        Ok(Holder::Held(_)) => match find(lock, likely) {
            Ok(Some(identity)) => Owner::Process(identity),
            Ok(None) => match holder(lock) {
                // The process ended meanwhile.
                Ok(Holder::Free) => Owner::None,
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
    async fn h16_start_waits_for_the_last_exit_of_the_previous_qemu() {
        let folder = tempfile::tempdir().unwrap();
        let files = QemuFiles::of(&InstanceDir::at(folder.path(), "vm"));
        let held = FileLock::try_acquire(&files.lock, "the previous QEMU")
            .unwrap()
            .unwrap();
        // The first attempt finds the lock held; only then is it released.
        let (taken, ()) = tokio::join!(take(&files, "vm"), async { drop(held) });
        assert_eq!(taken.unwrap().path(), files.lock);
    }
}
