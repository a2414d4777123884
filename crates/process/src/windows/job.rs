//! Job Objects: the tree of a process as the system tracks it. `taskkill /T` is not used, because it follows PIDs.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};

use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, HANDLE,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, IsProcessInJob, JOBOBJECT_BASIC_PROCESS_ID_LIST,
    JobObjectBasicProcessIdList, OpenJobObjectW, QueryInformationJobObject,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::handle::is;
use super::wide;

/// JOB_OBJECT_QUERY, the right to list the members.
const QUERY: u32 = 0x0004;

/// The most members that are listed; a VM has a handful.
const MEMBERS_LIMIT: usize = 4096;

#[derive(Debug)]
pub(crate) struct Job(OwnedHandle);

fn name(mark: &str) -> Vec<u16> {
    wide(&format!("Local\\rdd-tree-{mark}"))
}

impl Job {
    /// Opens or makes the job with the mark's name. Its processes are not killed with its last handle, so that they outlive
    /// this process.
    pub(crate) fn create(mark: &str) -> io::Result<Self> {
        // SAFETY: no security attributes, and a name that ends in NUL.
        owned(unsafe { CreateJobObjectW(std::ptr::null(), name(mark).as_ptr()) })
    }

    /// Opens the job with this mark's name, if a process keeps it open.
    pub(crate) fn open(mark: &str) -> io::Result<Option<Self>> {
        // SAFETY: a name that ends in NUL.
        match owned(unsafe { OpenJobObjectW(QUERY, 0, name(mark).as_ptr()) }) {
            Ok(job) => Ok(Some(job)),
            Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a process that has no children yet into the job unless it is already in it, and gives it a handle of the job:
    /// the name of a job exists as long as a handle, and this handle as long as the process.
    pub(crate) fn adopt(&self, process: HANDLE) -> io::Result<()> {
        let job = self.0.as_raw_handle() as HANDLE;
        let mut within = 0;
        // SAFETY: both handles are open and the result is writable.
        if unsafe { IsProcessInJob(process, job, &raw mut within) } == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both handles are open.
        if within == 0 && unsafe { AssignProcessToJobObject(job, process) } == 0 {
            return Err(io::Error::last_os_error());
        }
        let mut theirs: HANDLE = std::ptr::null_mut();
        // SAFETY: all handles are open; the new one belongs to the other process.
        let done = unsafe {
            DuplicateHandle(
                GetCurrentProcess(),
                job,
                process,
                &raw mut theirs,
                0,
                0,
                DUPLICATE_SAME_ACCESS,
            )
        };
        if done == 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Returns the PIDs of the current members.
    pub(crate) fn members(&self) -> io::Result<Vec<u32>> {
        // Two counters of 32 bits, then the PIDs (JOBOBJECT_BASIC_PROCESS_ID_LIST).
        let mut buffer = vec![0_usize; MEMBERS_LIMIT + 1];
        let size = u32::try_from(buffer.len() * size_of::<usize>()).map_err(io::Error::other)?;
        // SAFETY: the buffer is as long as `size` says and aligned for pointers, as the structure is.
        let done = unsafe {
            QueryInformationJobObject(
                self.0.as_raw_handle() as HANDLE,
                JobObjectBasicProcessIdList,
                buffer.as_mut_ptr().cast(),
                size,
                std::ptr::null_mut(),
            )
        };
        if done == 0 {
            let error = io::Error::last_os_error();
            if !is(&error, ERROR_MORE_DATA) {
                return Err(error);
            }
        }
        // SAFETY: the call filled in the head of the structure, and the buffer is larger than the head.
        let head = unsafe { &*buffer.as_ptr().cast::<JOBOBJECT_BASIC_PROCESS_ID_LIST>() };
        let count = usize::try_from(head.NumberOfProcessIdsInList)
            .unwrap_or(0)
            .min(MEMBERS_LIMIT);
        Ok(buffer[1..=count]
            .iter()
            .filter_map(|pid| u32::try_from(*pid).ok())
            .collect())
    }
}

fn owned(handle: HANDLE) -> io::Result<Job> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle without another owner.
    Ok(Job(unsafe {
        OwnedHandle::from_raw_handle(handle as RawHandle)
    }))
}
