//! Proves that a hostagent, and its VM, are gone. The proof is that the caller holds the hostagent's lock.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use driver::{DriverError, MachineState};
use lima::layout::InstanceDir;
use process::FileLock;
use process::lock::{Holder, LockError, holder};
use process::tree::{Tree, kill_tree_async};

use super::observe::driver_of;

/// Why a hostagent or its VM could not be proved gone.
#[derive(Debug, thiserror::Error)]
pub enum GoneError {
    /// The hostagent still holds its lock.
    #[error("the hostagent of {name} (process {pid:?}) is still alive after {} s: {reason}", limit.as_secs())]
    StillAlive {
        /// The instance.
        name: String,
        /// The PID of the holder, for people.
        pid: Option<u32>,
        /// The deadline that passed.
        limit: Duration,
        /// What was tried.
        reason: String,
    },
    /// The lock file cannot be used.
    #[error("cannot use the lock {}: {reason}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The hostagent is gone, but its VM is not.
    #[error("the VM of {name} is still there: {source}")]
    Machine {
        /// The instance.
        name: String,
        /// Why.
        source: DriverError,
    },
}

/// The label of this process in a lock that it takes as a proof.
const LABEL: &str = "a check that no hostagent lives";

/// How long after SIGKILL the kernel may take to release the lock, which it does when the process exits.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// Waits until no hostagent of `dir` lives and returns its lock; no hostagent can start while the caller holds it.
/// Proves nothing about the VM's process; [`prove_gone`] and [`kill`] do.
///
/// # Errors
/// A process still holds the lock after `limit`, or the file cannot be used.
pub async fn wait_gone(dir: &InstanceDir, limit: Duration) -> Result<FileLock, GoneError> {
    take_lock(dir, limit, "it was waited for").await
}

/// Like [`wait_gone`], and proves that the VM's process is gone too, so that the caller may change the VM's files: since
/// the caller looked, a hostagent may have started the VM and died. Ends no process.
///
/// # Errors
/// As for [`wait_gone`]; or the VM's process lives, or its state is unknown.
pub async fn prove_gone(dir: &InstanceDir, limit: Duration) -> Result<FileLock, GoneError> {
    let lock = wait_gone(dir, limit).await?;
    let source = match driver_of(dir).observe(dir).await {
        MachineState::Absent => return Ok(lock),
        MachineState::Alive { identity } => DriverError::NotGone {
            pid: identity.pid(),
            limit,
            reason: "it runs without a hostagent".into(),
        },
        MachineState::Unknown { reason } => DriverError::NotAnswering {
            socket: dir.path().to_owned(),
            reason,
        },
    };
    Err(GoneError::Machine {
        name: dir.name().to_owned(),
        source,
    })
}

async fn take_lock(dir: &InstanceDir, limit: Duration, tried: &str) -> Result<FileLock, GoneError> {
    match FileLock::acquire_async(&dir.ha_lock(), LABEL, Instant::now() + limit).await {
        Ok(lock) => Ok(lock),
        Err(LockError::TimedOut { holder, .. }) => Err(GoneError::StillAlive {
            name: dir.name().to_owned(),
            pid: match &holder {
                Holder::Held(Some(info)) => Some(info.identity.pid()),
                _ => None,
            },
            limit,
            reason: format!("{tried}; its lock is held by {holder}"),
        }),
        Err(error) => Err(GoneError::Lock {
            path: dir.ha_lock(),
            reason: error.to_string(),
        }),
    }
}

/// The last resort for a hostagent that does not answer and for a VM whose hostagent died: kills the hostagent (if its
/// identity can be proved) with all its descendants, then the VM's process, without asking the guest. The returned lock
/// proves that both are gone. Success if they already were.
///
/// # Errors
/// One of them could not be proved gone within a little more than `limit`.
pub async fn kill(dir: &InstanceDir, limit: Duration) -> Result<FileLock, GoneError> {
    let deadline = Instant::now() + limit;
    let lock = loop {
        let holder = holder(&dir.ha_lock()).map_err(|error| GoneError::Lock {
            path: dir.ha_lock(),
            reason: error.to_string(),
        })?;
        let tried = match holder {
            Holder::Free => "no process held it at first".to_owned(),
            Holder::Held(None) => "its holder is not named, so no process was killed".to_owned(),
            // Written by the holder of the lock, and checked against start time and boot, so no other process is killed.
            Holder::Held(Some(info)) => {
                let pid = info.identity.pid();
                tracing::warn!(vm = dir.name(), pid, "killing the hostagent");
                match kill_tree_async(&Tree::new(info.identity, info.mark), Duration::ZERO).await {
                    Ok(_) => format!("process {pid} was killed"),
                    Err(error) => format!("process {pid} could not be killed: {error}"),
                }
            }
        };
        // Another hostagent may have started in between, and is then killed too.
        match take_lock(dir, AFTER_KILL, &tried).await {
            Ok(lock) => break lock,
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
    };
    // No hostagent can start or adopt the VM while this process holds the lock.
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(AFTER_KILL);
    driver_of(dir)
        .destroy(dir, left)
        .await
        .map_err(|source| GoneError::Machine {
            name: dir.name().to_owned(),
            source,
        })?;
    Ok(lock)
}
