//! The process table, and the membership in jobs.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};

use windows_sys::Win32::Foundation::{ERROR_NO_MORE_FILES, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};

use super::handle::{self, is};
use super::job::Job;

/// One entry of the process table.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) pid: u32,
    /// Zero if the parent's PID belongs to a younger process now: Windows does not clear the field.
    pub(crate) parent: u32,
    /// Always zero: a session is something else on Windows.
    pub(crate) session: u32,
    pub(crate) start_time: u64,
    pub(crate) ended: bool,
}

/// Returns every process that this user may inspect.
pub(crate) fn snapshot() -> io::Result<Vec<Snapshot>> {
    // SAFETY: no pointers; the result is checked.
    let taken = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    if taken == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle without another owner.
    let taken = unsafe { OwnedHandle::from_raw_handle(taken as RawHandle) };
    // SAFETY: a plain C struct of integers, for which all zeros is a value.
    let mut entry: PROCESSENTRY32W = unsafe { std::mem::zeroed() };
    entry.dwSize = u32::try_from(size_of::<PROCESSENTRY32W>()).map_err(io::Error::other)?;
    let mut all = Vec::new();
    // SAFETY: the handle is open and the entry knows its size.
    let mut more = unsafe { Process32FirstW(taken.as_raw_handle() as _, &raw mut entry) };
    while more != 0 {
        if let Ok(Some(start_time)) = handle::start_time(entry.th32ProcessID) {
            all.push(Snapshot {
                pid: entry.th32ProcessID,
                parent: entry.th32ParentProcessID,
                session: 0,
                start_time,
                ended: false,
            });
        }
        // SAFETY: as above.
        more = unsafe { Process32NextW(taken.as_raw_handle() as _, &raw mut entry) };
    }
    let error = io::Error::last_os_error();
    if !is(&error, ERROR_NO_MORE_FILES) {
        return Err(error);
    }
    let started: std::collections::HashMap<u32, u64> =
        all.iter().map(|one| (one.pid, one.start_time)).collect();
    for one in &mut all {
        if started
            .get(&one.parent)
            .is_none_or(|parent| *parent > one.start_time)
        {
            one.parent = 0;
        }
    }
    Ok(all)
}

/// Returns the children of a process, from the whole table.
pub(crate) fn children(_pid: u32) -> Vec<Snapshot> {
    Vec::new()
}

/// Returns whether the process is in the job with the mark's name.
pub(crate) fn carries(pid: u32, _name: &str, mark: &str) -> bool {
    let members =
        Job::open(mark).and_then(|job| job.map_or_else(|| Ok(Vec::new()), |job| job.members()));
    members.is_ok_and(|members| members.contains(&pid))
}

/// Returns a variable of the current environment; the environment at the start is not readable on Windows.
pub(crate) fn own_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
