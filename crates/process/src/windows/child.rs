//! The Windows part of a child's start: its process group, its job, its readiness pipe.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::io::{self, PipeReader, PipeWriter, stderr, stdin, stdout};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation, WAIT_OBJECT_0,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_PIPE, GetFileType};
use windows_sys::Win32::System::Pipes::PeekNamedPipe;
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, WaitForSingleObject,
};

use super::job::Job;
use crate::cgroup::Entrance;
use crate::pause;
use crate::spawn::Attributes;

/// How long after a job has refused a process that is ending its handle may take to be signalled.
const ENDING: Duration = Duration::from_secs(1);

/// What has to stay alive until the child has started.
#[derive(Default)]
pub(crate) struct Prepared {
    pass: Vec<OwnedHandle>,
}

impl Prepared {
    /// Makes a pipe; returns the parent's end, and the number of the child's handle.
    pub(crate) fn readiness_pipe(&mut self) -> io::Result<(PipeReader, String)> {
        let (reader, writer) = io::pipe()?;
        let writer = OwnedHandle::from(writer);
        set_inherited(&writer, true)?;
        let value = (writer.as_raw_handle() as usize).to_string();
        self.pass.push(writer);
        Ok((reader, value))
    }

    #[expect(clippy::unused_self, reason = "Unix passes descriptors here")]
    pub(crate) fn apply(
        &self,
        command: &mut Command,
        _attributes: Attributes,
        _cgroup: Option<Entrance>,
    ) {
        keep_standard_handles();
        // Neither Ctrl-C nor the closing of this process's console reaches the child (hazard 1).
        command.creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW);
    }

    /// Puts the child, which already runs, into its job. A process that it has started in this instant is found by its
    /// parent.
    ///
    /// A child is in all the jobs of its parent, but a job's name exists only as long as a process has a handle of it. So
    /// the child gets a handle for each tree that it belongs to, and is found as a member even if the processes between
    /// have died.
    #[expect(clippy::unused_self, reason = "Unix passes descriptors here")]
    pub(crate) fn started(&mut self, child: &Child, marks: &str) -> io::Result<()> {
        let child = child.as_raw_handle() as HANDLE;
        let (above, own) = marks.rsplit_once(':').unwrap_or(("", marks));
        // The outermost first, because each job must be made within the one before. A job whose name is gone cannot always
        // be made again around live processes; those are then found by their parents only.
        for mark in above.split(':').filter(|mark| !mark.is_empty()) {
            if let Err(error) = Job::create(mark).and_then(|job| job.adopt(child)) {
                tracing::debug!(%error, mark, "a child is not in the job of a tree above it");
            }
        }
        match Job::create(own).and_then(|job| job.adopt(child)) {
            // A process that has ended cannot be put into a job; a helper may be that quick.
            Err(_) if ends_within(child, ENDING) => Ok(()),
            adopted => adopted,
        }
    }
}

fn ends_within(process: HANDLE, time: Duration) -> bool {
    let milliseconds = u32::try_from(time.as_millis()).unwrap_or(0);
    // SAFETY: the handle is open and may be waited for.
    unsafe { WaitForSingleObject(process, milliseconds) == WAIT_OBJECT_0 }
}

/// Makes the standard handles of this process not inheritable. Windows passes every inheritable handle to a child, so a
/// program that reads this process's output through a pipe would wait for a child that outlives this process. What std
/// passes as a child's output is a copy and is not affected.
fn keep_standard_handles() {
    for handle in [
        stdin().as_raw_handle(),
        stdout().as_raw_handle(),
        stderr().as_raw_handle(),
    ] {
        // SAFETY: a standard handle of this process, or none; for none the call fails without an effect.
        unsafe { SetHandleInformation(handle as HANDLE, HANDLE_FLAG_INHERIT, 0) };
    }
}

fn set_inherited(handle: &OwnedHandle, inherited: bool) -> io::Result<()> {
    let flags = if inherited { HANDLE_FLAG_INHERIT } else { 0 };
    // SAFETY: the handle is open.
    if unsafe { SetHandleInformation(handle.as_raw_handle() as HANDLE, HANDLE_FLAG_INHERIT, flags) }
        == 0
    {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// In the child: takes the pipe whose handle the parent passed.
pub(crate) fn adopt_pipe(value: &str) -> io::Result<PipeWriter> {
    let refuse = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{value:?} is not the handle of a pipe"),
        )
    };
    let number: usize = value.parse().map_err(|_| refuse())?;
    // SAFETY: only reads the type of a handle; a number that is not a handle has the type "unknown".
    if number == 0 || unsafe { GetFileType(number as HANDLE) } != FILE_TYPE_PIPE {
        return Err(refuse());
    }
    // SAFETY: the handle was inherited by the process that got its number, this one.
    let handle = unsafe { OwnedHandle::from_raw_handle(number as RawHandle) };
    set_inherited(&handle, false)?;
    Ok(handle.into())
}

/// Always true: every child of [`crate::spawn`] leads a process group, which cannot be queried; the last mark is its own.
pub(crate) fn leads_session() -> bool {
    true
}

/// How a bounded read ended.
pub(crate) enum Read {
    Some,
    End,
    TimedOut,
}

/// Appends the next bytes of the pipe, waiting for them until `deadline`.
pub(crate) fn read_until(
    pipe: &mut PipeReader,
    text: &mut Vec<u8>,
    deadline: Instant,
) -> io::Result<Read> {
    loop {
        let mut available = 0_u32;
        let (none, no_count) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the handle is open; only the number of bytes is read.
        let done = unsafe {
            PeekNamedPipe(
                pipe.as_raw_handle() as HANDLE,
                none,
                0,
                no_count,
                &raw mut available,
                std::ptr::null_mut(),
            )
        };
        // All writers have closed the pipe.
        if done == 0 {
            return Ok(Read::End);
        }
        if available > 0 {
            break;
        }
        if !pause::until_next_look(deadline) {
            return Ok(Read::TimedOut);
        }
    }
    let mut buffer = [0; 1024];
    let length = io::Read::read(pipe, &mut buffer)?;
    text.extend_from_slice(&buffer[..length]);
    Ok(if length == 0 { Read::End } else { Read::Some })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Mark;

    /// For example a very quick helper.
    #[test]
    fn child_that_has_already_ended_needs_no_job() {
        let mut child = Command::new("cmd.exe")
            .args(["/c", "exit"])
            .spawn()
            .unwrap();
        assert!(child.wait().unwrap().success());
        let marks = format!("{}:{}", Mark::new().as_str(), Mark::new().as_str());
        Prepared::default().started(&child, &marks).unwrap();
    }
}
