//! `LockFileEx` on one byte far beyond the text, because the lock is mandatory and the text must stay readable.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, HANDLE};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, GetFileInformationByHandle, LOCKFILE_EXCLUSIVE_LOCK,
    LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFileEx,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::handle::is;
use crate::pause;

/// The locked byte's offset, high half: 4 EiB. A byte need not exist to be locked.
const OFFSET_HIGH: u32 = 0x4000_0000;

/// How long another process's query, which takes a shared lock for an instant, may block the lock.
const LOOKS_LAST: Duration = Duration::from_millis(50);

pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

pub(crate) fn open_existing(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// An open file can be removed, and its name is free at once (POSIX semantics, since Windows 10 1809).
pub(crate) fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let there = match File::open(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(which(file)? == which(&there)?)
}

/// The volume and the file's index on it.
pub(super) fn which(file: &File) -> io::Result<(u32, u32, u32)> {
    // SAFETY: a plain C struct of integers, for which all zeros is a value.
    let mut information: BY_HANDLE_FILE_INFORMATION = unsafe { std::mem::zeroed() };
    // SAFETY: the handle is open and the structure is writable.
    if unsafe { GetFileInformationByHandle(file.as_raw_handle() as HANDLE, &raw mut information) }
        == 0
    {
        return Err(io::Error::last_os_error());
    }
    Ok((
        information.dwVolumeSerialNumber,
        information.nFileIndexHigh,
        information.nFileIndexLow,
    ))
}

fn position() -> OVERLAPPED {
    // SAFETY: a plain C struct, for which all zeros is a value: no event, offset 0.
    let mut position: OVERLAPPED = unsafe { std::mem::zeroed() };
    position.Anonymous.Anonymous.OffsetHigh = OFFSET_HIGH;
    position
}

fn try_once(file: &File, kind: u32) -> io::Result<bool> {
    let mut position = position();
    // SAFETY: the handle is open; the call does not wait, so `position` outlives it.
    let done = unsafe {
        LockFileEx(
            file.as_raw_handle() as HANDLE,
            kind | LOCKFILE_FAIL_IMMEDIATELY,
            0,
            1,
            0,
            &raw mut position,
        )
    };
    if done != 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if is(&error, ERROR_LOCK_VIOLATION) || is(&error, ERROR_IO_PENDING) {
        Ok(false)
    } else {
        Err(error)
    }
}

pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    let deadline = Instant::now() + LOOKS_LAST;
    loop {
        if try_once(file, LOCKFILE_EXCLUSIVE_LOCK)? {
            return Ok(true);
        }
        if !pause::until_next_look(deadline) {
            return Ok(false);
        }
    }
}

pub(crate) fn is_locked(file: &File) -> io::Result<bool> {
    const SHARED: u32 = 0;
    if try_once(file, SHARED)? {
        unlock(file)?;
        return Ok(false);
    }
    Ok(true)
}

pub(crate) fn unlock(file: &File) -> io::Result<()> {
    let mut position = position();
    // SAFETY: the handle is open, and the range is the one that was locked.
    let done = unsafe { UnlockFileEx(file.as_raw_handle() as HANDLE, 0, 1, 0, &raw mut position) };
    if done == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
