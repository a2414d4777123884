//! A handle to a process: while the value lives, its PID cannot refer to another process.

use std::io;
use std::process::ExitStatus;
use std::time::Instant;

use crate::identity::{self, Error, Identity};
use crate::sys;

/// A signal. Windows supports [`Signal::Kill`] only; to ask a process to stop there, use its control channel or
/// [`crate::stop`]'s named event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asks the process to end (SIGTERM).
    Terminate,
    /// What Ctrl-C sends (SIGINT).
    Interrupt,
    /// The terminal is closed, or: reload the settings (SIGHUP).
    Hangup,
    /// Ends the process, which cannot refuse (SIGKILL, TerminateProcess).
    Kill,
    /// Freezes the process (SIGSTOP).
    Stop,
    /// Lets a frozen process continue (SIGCONT).
    Continue,
}

/// The result of waiting for a process. A timeout is not an exit (hazard 10).
#[derive(Debug)]
#[must_use = "a wait that timed out is not an exit"]
pub enum Exit {
    /// The process is gone. The status is known for children of this process only.
    Exited(Option<ExitStatus>),
    /// The deadline passed and the process still runs.
    TimedOut,
    /// The wait failed; nothing is known about the process.
    Failed(io::Error),
}

impl Exit {
    /// Returns true only if the process is known to be gone.
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
    /// Opens the process that `identity` names. `None` if that process is gone: no process has the PID, another process has
    /// it now (the start time differs), or the host was rebooted since. A zombie counts as gone.
    pub fn open(identity: &Identity) -> Result<Option<Self>, Error> {
        let pid = identity::check_pid(i64::from(identity.pid()))?;
        if !identity.is_of_this_boot()? {
            return Ok(None);
        }
        let inspect = |source| Error::Inspect { pid, source };
        let Some(handle) = sys::Handle::open(pid).map_err(inspect)? else {
            return Ok(None);
        };
        // Checked after the open: while the handle is open the PID cannot be reused, so the result stays true.
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

    /// Opens a child of this process that is not reaped yet.
    pub(crate) fn of_child(pid: u32) -> Result<Option<Self>, Error> {
        match Identity::of(pid)? {
            None => Ok(None),
            // A child that has already exited is a zombie, which can still be opened.
            Some(identity) => {
                let inspect = |source| Error::Inspect { pid, source };
                Ok(sys::Handle::open(pid)
                    .map_err(inspect)?
                    .map(|handle| Process { identity, handle }))
            }
        }
    }

    /// Returns the identity of the process.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns whether the process runs now. If that cannot be read, the process counts as running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.wait(Instant::now()).is_exited()
    }

    /// Returns whether the process was killed or is exiting: it executes no more code, but its locks and ports may not be
    /// free yet. False if that cannot be read, and on Windows, where it takes no time.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        sys::is_ending(self.identity.pid()) || !self.is_running()
    }

    /// Sends `signal` to this process and no other; success if the process is gone (hazard 4).
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.handle.signal(signal).map_err(|source| Error::Signal {
            pid: self.identity.pid(),
            signal,
            source,
        })
    }

    /// Sends `signal` to the process group that the process leads, atomically. No-op if it leads none, or where the system
    /// needs a PID for that (Linux before 6.9, macOS, Windows).
    pub(crate) fn signal_group(&self, signal: Signal) {
        self.handle.signal_group(signal);
    }

    /// Waits until the process is gone, at most until `deadline`; with a deadline in the past it only checks. Blocks the
    /// thread.
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

    /// Waits for the end without a deadline, for a task that watches this process. Safe to cancel.
    pub async fn ended(&self) -> io::Result<()> {
        self.handle.wait_async().await
    }

    #[cfg(unix)]
    pub(crate) fn as_poll_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.handle.as_poll_fd()
    }
}
