//! A process that is held: while the value lives, its number cannot come to mean a stranger.

use std::io;
use std::process::ExitStatus;
use std::time::Instant;

use crate::identity::{self, Error, Identity};
use crate::sys;

/// What can be sent to a process. Windows knows [`Signal::Kill`] only; to ask for a stop there, use the process's own
/// control channel or [`crate::stop`]'s named event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ask it to end (SIGTERM).
    Terminate,
    /// As Ctrl-C does (SIGINT).
    Interrupt,
    /// The terminal is gone, or: read the settings again (SIGHUP).
    Hangup,
    /// End it; it cannot refuse (SIGKILL, TerminateProcess).
    Kill,
    /// Freeze it (SIGSTOP).
    Stop,
    /// Let it go on (SIGCONT).
    Continue,
}

/// How a wait for a process ended. A wait that ran out of time is not an exit (hazard 10).
#[derive(Debug)]
#[must_use = "a wait that timed out is not an exit"]
pub enum Exit {
    /// It is gone. The status is known for our own children only.
    Exited(Option<ExitStatus>),
    /// The deadline passed and the process still runs.
    TimedOut,
    /// The wait itself failed; nothing is known about the process.
    Failed(io::Error),
}

impl Exit {
    /// True only when the process is known to be gone.
    #[must_use]
    pub fn is_exited(&self) -> bool {
        matches!(self, Exit::Exited(_))
    }
}

/// A process, held by a pidfd (Linux) or a handle (Windows). Dropping it does nothing to the process (hazard 11).
#[derive(Debug)]
pub struct Process {
    identity: Identity,
    handle: sys::Handle,
}

impl Process {
    /// Takes hold of the process that `identity` names. `None` when that process is gone: no process has the number,
    /// another one has it now (other start time), or the host was rebooted since. A zombie is gone too.
    pub fn open(identity: &Identity) -> Result<Option<Self>, Error> {
        let pid = identity::check_pid(i64::from(identity.pid()))?;
        if !identity.is_of_this_boot()? {
            return Ok(None);
        }
        let inspect = |source| Error::Inspect { pid, source };
        let Some(handle) = sys::Handle::open(pid).map_err(inspect)? else {
            return Ok(None);
        };
        // Checked after the open: from here on the number belongs to what we hold, so the answer stays true.
        if sys::start_time(pid).map_err(inspect)? != Some(identity.start_time()) {
            return Ok(None);
        }
        let process = Process {
            identity: identity.clone(),
            handle,
        };
        Ok(if process.is_running() {
            Some(process)
        } else {
            None
        })
    }

    /// Takes hold of the calling process's own child, before anybody reaped it.
    pub(crate) fn of_child(pid: u32) -> Result<Option<Self>, Error> {
        match Identity::of(pid)? {
            None => Ok(None),
            // A child that ended already is a zombie: still ours to hold.
            Some(identity) => {
                let inspect = |source| Error::Inspect { pid, source };
                Ok(sys::Handle::open(pid)
                    .map_err(inspect)?
                    .map(|handle| Process { identity, handle }))
            }
        }
    }

    /// Which process this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether it runs at this moment. A failed look counts as running: nobody is declared dead by an error.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.wait(Instant::now()).is_exited()
    }

    /// Whether it was killed or exits, and only has to be cleared away: it does nothing any more, but what it holds
    /// (locks, ports) is not free yet. A failed look counts as no; so does Windows, where this takes no time.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        sys::is_ending(self.identity.pid()) || !self.is_running()
    }

    /// Sends `signal` to this process and no other. A process that is gone is success (hazard 4).
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.handle.signal(signal).map_err(|source| Error::Signal {
            pid: self.identity.pid(),
            signal,
            source,
        })
    }

    /// Sends `signal` to the process group that it leads, as one step; to nobody when it leads none, or where the system
    /// cannot do that without a number (Linux before 6.9, macOS, Windows).
    pub(crate) fn signal_group(&self, signal: Signal) {
        self.handle.signal_group(signal);
    }

    /// Waits until the process is gone, at most until `deadline`; a deadline in the past only looks. Blocks the thread.
    pub fn wait(&self, deadline: Instant) -> Exit {
        match self.handle.wait(deadline) {
            Ok(true) => Exit::Exited(None),
            Ok(false) => Exit::TimedOut,
            Err(error) => Exit::Failed(error),
        }
    }

    /// [`Process::wait`] for tokio. Safe to cancel.
    pub async fn wait_async(&self, deadline: Instant) -> Exit {
        match tokio::time::timeout_at(deadline.into(), self.handle.wait_async()).await {
            Ok(Ok(())) => Exit::Exited(None),
            Ok(Err(error)) => Exit::Failed(error),
            Err(_elapsed) => Exit::TimedOut,
        }
    }

    /// Waits for the end without a limit, for a task whose work it is to watch this process. Safe to cancel.
    pub async fn ended(&self) -> io::Result<()> {
        self.handle.wait_async().await
    }

    #[cfg(unix)]
    pub(crate) fn as_poll_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.handle.as_poll_fd()
    }
}
