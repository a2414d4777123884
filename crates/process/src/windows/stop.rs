//! Requests to stop: an event whose name contains the identity of the process, and Ctrl-C of the user at the console.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, HANDLE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{
    CreateEventW, EVENT_MODIFY_STATE, OpenEventW, SetEvent, WaitForSingleObject,
};

use super::handle::is;
use super::wide;
use crate::held::{Process, Signal};
use crate::identity::{Error, Identity};
use crate::pause;
use crate::stop::StopReason;

/// Returns the event's name. It contains the creation time, so it never belongs to another process with the same PID.
fn name(identity: &Identity) -> Vec<u16> {
    wide(&format!(
        "Local\\rdd-stop-{}-{}",
        identity.pid(),
        identity.start_time()
    ))
}

#[derive(Debug)]
pub(crate) struct Listener {
    event: OwnedHandle,
    ctrl_c: CtrlC,
    ctrl_break: CtrlBreak,
    close: CtrlClose,
}

impl Listener {
    pub(crate) fn new() -> io::Result<Self> {
        let identity = Identity::of_current().map_err(io::Error::other)?;
        // SAFETY: no security attributes, auto-reset, not signalled, and a name that ends in NUL.
        let event = unsafe { CreateEventW(std::ptr::null(), 0, 0, name(&identity).as_ptr()) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new handle without another owner.
        let event = unsafe { OwnedHandle::from_raw_handle(event as RawHandle) };
        Ok(Listener {
            event,
            ctrl_c: ctrl_c()?,
            ctrl_break: ctrl_break()?,
            close: ctrl_close()?,
        })
    }

    pub(crate) async fn next(&mut self) -> StopReason {
        tokio::select! {
            () = requested(&self.event) => StopReason::Requested,
            _ = self.ctrl_c.recv() => StopReason::Interrupted,
            _ = self.ctrl_break.recv() => StopReason::Interrupted,
            _ = self.close.recv() => StopReason::TerminalClosed,
        }
    }
}

async fn requested(event: &OwnedHandle) {
    // SAFETY: the handle is borrowed from the listener, which keeps it open.
    while unsafe { WaitForSingleObject(event.as_raw_handle() as HANDLE, 0) } != WAIT_OBJECT_0 {
        tokio::time::sleep(pause::POLL_INTERVAL).await;
    }
}

pub(crate) fn ask(process: &Process) -> Result<(), Error> {
    let identity = process.identity();
    let failed = |source| Error::Signal {
        pid: identity.pid(),
        signal: Signal::Terminate,
        source,
    };
    // SAFETY: a name that ends in NUL.
    let event = unsafe { OpenEventW(EVENT_MODIFY_STATE, 0, name(identity).as_ptr()) };
    if event.is_null() {
        let error = io::Error::last_os_error();
        if is(&error, ERROR_FILE_NOT_FOUND) && !process.is_running() {
            return Ok(());
        }
        return Err(failed(error));
    }
    // SAFETY: a new handle without another owner.
    let event = unsafe { OwnedHandle::from_raw_handle(event as RawHandle) };
    // SAFETY: the handle is open and has the right to be set.
    if unsafe { SetEvent(event.as_raw_handle() as HANDLE) } == 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    Ok(())
}
