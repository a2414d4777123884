//! Which process is meant: its number, when it started, in which boot of the host.
//!
//! The three together never name a second process. They can be written to a file and compared later; to *act* on the
//! process they name, open it as a [`crate::Process`], which checks them again while it is held.

use std::io;

use serde::{Deserialize, Serialize};

use crate::sys;

/// Names one process of one boot of this host, for ever. Serializes as
/// `{"pid":123,"start_time":456,"boot_id":"…"}`; text with a PID that can be nobody's (0, 1, negative) is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Identity {
    pid: u32,
    start_time: u64,
    boot_id: String,
}

/// What a file may claim, before it is checked.
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

/// A number that names no process we could mean: 0 is "my group", -1 "everybody", 1 is init.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0} is not the PID of a process that rdd could have started (0, 1 and negative numbers never are)"
)]
pub struct InvalidPid(pub i64);

/// The PID as a number that is safe to look up. Errors for 0, 1, negative numbers and those beyond 31 bits.
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
        "this program is process 1 of its container, where nobody could end it or care for what it leaves: start it \
         below an init, for example with `docker run --init`"
    )]
    FirstProcess,
    /// The host does not say which boot this is.
    #[error("cannot read the boot id of this host: {0}")]
    BootId(#[source] io::Error),
    /// The process exists, but the system does not let us look at it.
    #[error("cannot look at process {pid}: {source}")]
    Inspect {
        /// Whose look-up failed.
        pid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The process is ours to hold, but the signal was refused.
    #[error("cannot send {signal:?} to process {pid}: {source}")]
    Signal {
        /// To whom.
        pid: u32,
        /// What was to be sent.
        signal: crate::Signal,
        /// What the system said.
        source: io::Error,
    },
}

impl Identity {
    /// The identity of the calling process. Fails as PID 1 (the first process of a container has no parent to adopt
    /// what it leaves, and its number is nobody's name).
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

    /// The identity of whoever has this PID at this moment; `None` when nobody has. Only for a PID that cannot change
    /// hands meanwhile: a child of ours that we have not reaped.
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

    /// The number, for people and for logs. Never signal it; open a [`crate::Process`].
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// When the process started, in a unit of the system (Linux: clock ticks since boot; macOS: microseconds and
    /// Windows: 100 ns, both since their epoch). Only good for comparing.
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.start_time
    }

    /// The boot of the host in which the process started.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Whether the process belongs to the present boot. When not, it is gone, whatever its number means today
    /// (hazard 28).
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

/// Names the present boot of this host. Another value than the one that was stored means that nothing that was running
/// then is running now.
pub fn boot_id() -> Result<String, Error> {
    static BOOT_ID: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    if let Some(id) = BOOT_ID.get() {
        return Ok(id.clone());
    }
    let id = sys::boot_id().map_err(Error::BootId)?;
    Ok(BOOT_ID.get_or_init(|| id).clone())
}
