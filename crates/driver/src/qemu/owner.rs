//! Which process is the VM: the one that holds `qemu.lock`.
//!
//! The lock is taken before QEMU is started and handed to it as an open descriptor, so the kernel knows from the fork
//! to the last exit whether a QEMU of this VM lives, whoever of us dies in between and whatever happens to sockets and
//! records. Two QEMUs for one VM cannot be, and a process that does not hold the lock is nobody that we may end: not
//! one whose number stands in a file, nor one that listens on a socket of ours.

use std::path::Path;
use std::time::{Duration, Instant};

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

#[cfg(target_os = "linux")]
fn find(lock: &Path, likely: Option<&Identity>) -> std::io::Result<Option<Identity>> {
    let lock = std::fs::canonicalize(lock)?;
    if let Some(likely) = likely
        && likely.is_of_this_boot().unwrap_or(false)
        && let Some(found) = identified(likely.pid(), &lock)
    {
        return Ok(Some(found));
    }
    let mut found: Vec<Identity> = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        // A start of ours, which holds it until QEMU does.
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| identified(pid, &lock))
        .collect();
    // QEMU itself before what it may have started.
    found.sort_by_key(Identity::start_time);
    Ok(found.into_iter().next())
}

/// The process `pid`, if it holds the lock. Its identity is taken before and checked after the look.
#[cfg(target_os = "linux")]
fn identified(pid: u32, lock: &Path) -> Option<Identity> {
    let identity = Identity::of(pid).ok()??;
    if !holds(pid, lock) {
        return None;
    }
    let process = process::Process::open(&identity).ok()??;
    process.is_running().then_some(identity)
}

/// The kernel's own word: `lock: 1: OFDLCK ADVISORY WRITE …` in the fdinfo of a descriptor of this file
/// (`proc_pid_fdinfo(5)`). Whose descriptors we may not see is no process of ours.
#[cfg(target_os = "linux")]
fn holds(pid: u32, lock: &Path) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        std::fs::read_link(descriptor.path()).is_ok_and(|file| file == lock)
            && std::fs::read_to_string(format!(
                "/proc/{pid}/fdinfo/{}",
                descriptor.file_name().to_string_lossy()
            ))
            .is_ok_and(|info| {
                info.lines()
                    .any(|line| line.starts_with("lock:") && line.contains("OFDLCK"))
            })
    })
}

/// Elsewhere the kernel does not say who holds a lock. The record's process is checked against start time and boot.
#[cfg(not(target_os = "linux"))]
fn find(_lock: &Path, likely: Option<&Identity>) -> std::io::Result<Option<Identity>> {
    let Some(likely) = likely else {
        return Ok(None);
    };
    let process = process::Process::open(likely).map_err(std::io::Error::other)?;
    Ok(process.map(|process| process.identity().clone()))
}
