//! A handle to a process. Its PID is not reused while the handle is open.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::time::Instant;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_PARAMETER, FILETIME, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE,
    PROCESS_TERMINATE, TerminateProcess, WaitForSingleObject,
};

use crate::held::Signal;

/// The exit code of a killed process: what a shell shows for SIGKILL.
pub(crate) const KILLED: u32 = 137;

#[derive(Debug)]
pub(crate) struct Handle(OwnedHandle);

impl Handle {
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let access = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE | PROCESS_TERMINATE;
        // SAFETY: opens a process by its PID; the result is checked.
        let handle = unsafe { OpenProcess(access, 0, pid) };
        if handle.is_null() {
            let error = io::Error::last_os_error();
            return if is(&error, ERROR_INVALID_PARAMETER) {
                Ok(None)
            } else {
                Err(error)
            };
        }
        // SAFETY: a new handle without another owner.
        Ok(Some(Handle(unsafe {
            OwnedHandle::from_raw_handle(handle as RawHandle)
        })))
    }

    /// Returns when the process was created, in 100 ns since 1601.
    fn created(&self) -> io::Result<u64> {
        let mut times = [FILETIME {
            dwLowDateTime: 0,
            dwHighDateTime: 0,
        }; 4];
        let [created, exited, kernel, user] = &mut times;
        // SAFETY: the handle is open and the four structures are writable.
        if unsafe { GetProcessTimes(self.0.as_raw_handle() as _, created, exited, kernel, user) }
            == 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(u64::from(times[0].dwHighDateTime) << 32 | u64::from(times[0].dwLowDateTime))
    }

    /// No-op: a process group is for Ctrl-C only, and a job has no signals.
    #[expect(clippy::unused_self, reason = "Linux signals the group here")]
    pub(crate) fn signal_group(&self, _signal: Signal) {}

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        if signal != Signal::Kill {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "Windows has no such signal; ask over the control socket, or with stop::ask",
            ));
        }
        // SAFETY: the handle is open and has the right to terminate.
        if unsafe { TerminateProcess(self.0.as_raw_handle() as _, KILLED) } != 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // A process that is already ending cannot be terminated again.
        if is(&error, ERROR_ACCESS_DENIED) && self.wait(Instant::now())? {
            Ok(())
        } else {
            Err(error)
        }
    }

    pub(crate) fn wait(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that the last wait does not spin; u32::MAX would mean no limit.
            let milliseconds = u32::try_from(left.as_millis())
                .unwrap_or(u32::MAX - 2)
                .saturating_add(u32::from(!left.is_zero()));
            // SAFETY: the handle is open and has the right to be waited for.
            match unsafe { WaitForSingleObject(self.0.as_raw_handle() as _, milliseconds) } {
                WAIT_OBJECT_0 => return Ok(true),
                WAIT_TIMEOUT if Instant::now() >= deadline => return Ok(false),
                WAIT_TIMEOUT => {}
                _ => return Err(io::Error::last_os_error()),
            }
        }
    }

    pub(crate) async fn wait_async(&self) -> io::Result<()> {
        // Polled: a registered wait would call back on a thread of the system's pool, which is not worth it for the handful
        // of processes that rdd watches.
        while !self.wait(Instant::now())? {
            tokio::time::sleep(crate::pause::POLL_INTERVAL).await;
        }
        Ok(())
    }
}

pub(crate) fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error().map(i32::cast_unsigned) == Some(code)
}

/// Returns the creation time in 100 ns since 1601; `None` if there is no such process.
pub(crate) fn start_time(pid: u32) -> io::Result<Option<u64>> {
    match Handle::open(pid)? {
        Some(handle) => handle.created().map(Some),
        None => Ok(None),
    }
}

/// Always false: a terminated process is gone before that could be observed.
pub(crate) fn is_ending(_pid: u32) -> bool {
    false
}

/// Returns the number of boots (`KUSER_SHARED_DATA.BootId`). Creation times are absolute, so no check depends on it alone.
pub(crate) fn boot_id() -> io::Result<String> {
    /// The counter in the page that the kernel maps into every process (ntddk.h, KUSER_SHARED_DATA).
    const BOOT_ID: *const u32 = 0x7FFE_02C4 as *const u32;
    // SAFETY: the page is mapped for reading at this address in every Windows process since NT, as documented.
    Ok(format!("windows-{}", unsafe { BOOT_ID.read_volatile() }))
}

/// Kills this process without running any more of its code (crash points).
pub(crate) fn die() -> ! {
    // SAFETY: ends this process; -1 is the handle of the calling process.
    unsafe { TerminateProcess(-1_isize as _, KILLED) };
    std::process::abort()
}
