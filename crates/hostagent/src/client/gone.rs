//! Proving that a hostagent, and its VM, are gone. The proof is the lock, held.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use driver::{Driver, DriverError, MachineFiles, MachineState};
use lima::layout::InstanceDir;
use process::FileLock;
use process::lock::{Holder, LockError, holder};
use process::tree::{Tree, kill_tree_async};

use super::observe::driver_of;

/// Why it could not be proved.
#[derive(Debug, thiserror::Error)]
pub enum GoneError {
    /// The hostagent still holds its lock.
    #[error("the hostagent of {name} (process {pid:?}) is still alive after {} s: {reason}", limit.as_secs())]
    StillAlive {
        /// The instance.
        name: String,
        /// The number of the holder, for people.
        pid: Option<u32>,
        /// The deadline that passed.
        limit: Duration,
        /// What was tried.
        reason: String,
    },
    /// The lock file could not be used.
    #[error("cannot use the lock {}: {reason}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The hostagent is gone, its VM is not.
    #[error("the VM of {name} is still there: {source}")]
    Machine {
        /// The instance.
        name: String,
        /// Why.
        source: DriverError,
    },
}

/// What this process calls itself in a lock that it takes as a proof.
const LABEL: &str = "a check that no hostagent lives";

/// How long a killed process may take to give its lock back: the kernel does it with the exit.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// Waits until no hostagent of `dir` lives and returns its lock, held: while it is, none can start.
/// Says nothing about the VM's process; [`kill`] does.
///
/// # Errors
/// Somebody still holds it after `limit`, or the file cannot be used.
pub async fn wait_gone(dir: &InstanceDir, limit: Duration) -> Result<FileLock, GoneError> {
    take_lock(dir, limit, "it was waited for").await
}

/// [`wait_gone`], and a look for the VM's process while the lock is held: who gets it may change the VM's files. A
/// hostagent may have come, started QEMU and died since the caller looked. Ends nobody.
///
/// # Errors
/// As for [`wait_gone`]; the VM's process lives, or it cannot be told.
pub async fn prove_gone(dir: &InstanceDir, limit: Duration) -> Result<FileLock, GoneError> {
    let lock = wait_gone(dir, limit).await?;
    let files = MachineFiles::of(dir);
    let source = match driver_of(dir).observe(&files).await {
        MachineState::Absent => return Ok(lock),
        MachineState::Alive { identity } => DriverError::NotGone {
            pid: identity.pid(),
            limit,
            reason: "it runs without a hostagent".into(),
        },
        MachineState::Unknown { reason } => DriverError::NotAnswering {
            socket: files.qmp_socket,
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

/// The last resort, for a hostagent that does not answer and for a VM whose hostagent died: ends the hostagent (if
/// its identity can be proved) and all its descendants, then the VM's process, without asking the guest. The returned
/// lock proves that both are gone. Success when they already were.
///
/// # Errors
/// One of them could not be proved gone within `limit` and a little.
pub async fn kill(dir: &InstanceDir, limit: Duration) -> Result<FileLock, GoneError> {
    let deadline = Instant::now() + limit;
    let lock = loop {
        let holder = holder(&dir.ha_lock()).map_err(|error| GoneError::Lock {
            path: dir.ha_lock(),
            reason: error.to_string(),
        })?;
        let tried = match holder {
            Holder::Free => "it was not there at first".to_owned(),
            Holder::Held(None) => "it does not say who it is, so it was not killed".to_owned(),
            // The text of a lock that is held, checked against start time and boot: a stranger is never meant.
            Holder::Held(Some(info)) => {
                let pid = info.identity.pid();
                tracing::warn!(vm = dir.name(), pid, "killing the hostagent");
                match kill_tree_async(&Tree::new(info.identity, info.mark), Duration::ZERO).await {
                    Ok(_) => format!("process {pid} was killed"),
                    Err(error) => format!("process {pid} could not be killed: {error}"),
                }
            }
        };
        // Another one may have started in between; it is the same case again.
        match take_lock(dir, AFTER_KILL, &tried).await {
            Ok(lock) => break lock,
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => {}
        }
    };
    // Nobody can start or adopt the VM while we hold the lock.
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(AFTER_KILL);
    driver_of(dir)
        .destroy(&MachineFiles::of(dir), left)
        .await
        .map_err(|source| GoneError::Machine {
            name: dir.name().to_owned(),
            source,
        })?;
    Ok(lock)
}
