//! The identity of a process: its PID, its start time, and the boot id of the host.
//!
//! Together they never name a second process. They can be written to a file and compared later. To *act* on the process,
//! open it as a [`crate::Process`], which checks them again while it holds the process.

use std::io;

use serde::{Deserialize, Serialize};

use crate::sys;

/// Names one process of one boot of this host. Serializes as `{"pid":123,"start_time":456,"boot_id":"…"}`; text with a PID
/// that no child can have (0, 1, negative) is rejected.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Identity {
    pid: u32,
    start_time: u64,
    boot_id: String,
}

/// The identity as in a file, not yet validated.
#[derive(Deserialize)]
struct Raw {
    pid: i64,
    start_time: u64,
    boot_id: String,
}

impl TryFrom<Raw> for Identity {
    type Error = InvalidPid;

    fn try_from(raw: Raw) -> Result<Self, InvalidPid> {
        Ok(Identity {
            pid: check_pid(raw.pid)?,
            start_time: raw.start_time,
            boot_id: raw.boot_id,
        })
    }
}

/// A PID that must not be used: for `kill`, 0 is the caller's group and -1 every process; 1 is init.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0} is not the PID of a process that rdd could have started (0, 1 and negative numbers never are)"
)]
pub struct InvalidPid(pub i64);

/// Returns the PID if it is safe to use. Fails for 0, 1, negative numbers and numbers beyond 31 bits.
pub fn check_pid(pid: i64) -> Result<u32, InvalidPid> {
    if pid <= 1 || pid > i64::from(i32::MAX) {
        return Err(InvalidPid(pid));
    }
    u32::try_from(pid).map_err(|_| InvalidPid(pid))
}

/// Why a process could not be identified or acted upon.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`InvalidPid`].
    #[error(transparent)]
    InvalidPid(#[from] InvalidPid),
    /// The calling process is the first of a container.
    #[error(
        "this program is process 1 of its container, where no other process can end it or reap its orphans: start it \
         below an init, for example with `docker run --init`"
    )]
    FirstProcess,
    /// The boot id cannot be read.
    #[error("cannot read the boot id of this host: {0}")]
    BootId(#[source] io::Error),
    /// The process exists, but its state cannot be read.
    #[error("cannot inspect process {pid}: {source}")]
    Inspect {
        /// The PID.
        pid: u32,
        /// The system's error.
        source: io::Error,
    },
    /// The process was opened, but the system refused the signal.
    #[error("cannot send {signal:?} to process {pid}: {source}")]
    Signal {
        /// The PID.
        pid: u32,
        /// The signal.
        signal: crate::Signal,
        /// The system's error.
        source: io::Error,
    },
}

impl Identity {
    /// Returns the identity of the calling process. Fails for PID 1, the first process of a container: it has no parent
    /// that adopts its orphans, and its PID must not be used.
    pub fn of_current() -> Result<Self, Error> {
        if std::process::id() == 1 {
            return Err(Error::FirstProcess);
        }
        let pid = check_pid(i64::from(std::process::id()))?;
        Self::of(pid)?.ok_or_else(|| Error::Inspect {
            pid,
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// Returns the identity of the process that has this PID now; `None` if there is none. Only for a PID that cannot be
    /// reused meanwhile, such as that of a child that is not reaped.
    pub fn of(pid: u32) -> Result<Option<Self>, Error> {
        let pid = check_pid(i64::from(pid))?;
        let start_time = sys::start_time(pid).map_err(|source| Error::Inspect { pid, source })?;
        match start_time {
            Some(start_time) => Ok(Some(Identity {
                pid,
                start_time,
                boot_id: boot_id()?,
            })),
            None => Ok(None),
        }
    }

    /// The PID, for people and for logs. Never signal it; open a [`crate::Process`].
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When the process started, in the system's unit (Linux: clock ticks since boot; macOS: microseconds, Windows: 100 ns,
    /// both since their epoch). Only for comparisons.
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// The boot of the host in which the process started.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Returns whether the process belongs to the current boot. If not, it is gone, and its PID may belong to another
    /// process (hazard 28).
    pub fn is_of_this_boot(&self) -> Result<bool, Error> {
        Ok(self.boot_id == boot_id()?)
    }

    pub(crate) fn from_parts(pid: u32, start_time: u64, boot_id: String) -> Self {
        Identity {
            pid,
            start_time,
            boot_id,
        }
    }
}

/// Returns the id of the current boot of this host. If it differs from a stored one, no process of that time runs any more.
pub fn boot_id() -> Result<String, Error> {
    static BOOT_ID: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    if let Some(id) = BOOT_ID.get() {
        return Ok(id.clone());
    }
    let id = sys::boot_id().map_err(Error::BootId)?;
    Ok(BOOT_ID.get_or_init(|| id).clone())
}
