//! macOS: libproc and sysctl. Compiled and linted (scripts/check-macos), never run: rdd is tested on Linux.
//!
//! There is no pidfd. A process is identified by its PID and start time, and both are compared right before each signal; a
//! caller that must be certain also checks the process's lock. The end of a process is found by polling.

#![expect(unsafe_code, reason = "libproc and sysctl are C")]

use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

use super::{macos_procargs as procargs, signal_number};
use crate::held::Signal;

/// The poll interval for the end of a process.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The flag of a process that exits in `proc_bsdinfo` (sys/proc_info.h: PROC_FLAG_INEXIT).
const EXITING: u32 = 4;
/// A process's status in `proc_bsdinfo` once it has ended (sys/proc.h: SZOMB).
const ZOMBIE: u32 = 5;

/// The most that arguments and environment take together, in bytes (sys/syslimits.h: ARG_MAX).
const ARGUMENTS_LIMIT: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Handle {
    pid: u32,
    start_time: u64,
}

impl Handle {
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        Ok(start_time(pid)?.map(|start_time| Handle { pid, start_time }))
    }

    fn is_gone(&self) -> io::Result<bool> {
        Ok(
            Snapshot::of(self.pid)?
                .is_none_or(|now| now.ended || now.start_time != self.start_time),
        )
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.is_gone()? {
            return Ok(());
        }
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        match kill_process(pid, signal_number(signal)) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// No-op, because a PID cannot be held here, and neither can a group.
    #[expect(clippy::unused_self, reason = "Linux signals the group here")]
    pub(crate) fn signal_group(&self, _signal: Signal) {}

    pub(crate) fn wait(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            if self.is_gone()? {
                return Ok(true);
            }
            if !crate::pause::until_next_look(deadline) {
                return Ok(false);
            }
        }
    }

    pub(crate) async fn wait_async(&self) -> io::Result<()> {
        while !self.is_gone()? {
            tokio::time::sleep(ASK_AGAIN).await;
        }
        Ok(())
    }

    pub(crate) fn as_poll_fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

/// `kern.bootsessionuuid` changes with each boot.
pub(crate) fn boot_id() -> io::Result<String> {
    let mut text = [0_u8; 64];
    let mut length = text.len();
    // SAFETY: the buffer is as long as `length` says, and the name ends in NUL.
    let done = unsafe {
        libc::sysctlbyname(
            c"kern.bootsessionuuid".as_ptr(),
            text.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    let text = &text[..length.min(text.len())];
    Ok(String::from_utf8_lossy(text)
        .trim_end_matches('\0')
        .to_owned())
}

/// Returns the start time in microseconds since 1970; `None` if there is no such process.
pub(crate) fn start_time(pid: u32) -> io::Result<Option<u64>> {
    Ok(Snapshot::of(pid)?.map(|snapshot| snapshot.start_time))
}

/// Returns whether the process has begun to exit.
pub(crate) fn is_ending(pid: u32) -> bool {
    matches!(Snapshot::of(pid), Ok(Some(one)) if one.exiting)
}

#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    pub(crate) start_time: u64,
    pub(crate) ended: bool,
    exiting: bool,
}

impl Snapshot {
    pub(crate) fn of(pid: u32) -> io::Result<Option<Self>> {
        let Ok(number) = i32::try_from(pid) else {
            return Ok(None);
        };
        // SAFETY: a plain C struct of integers, for which all zeros is a value.
        let mut info: libc::proc_bsdinfo = unsafe { std::mem::zeroed() };
        let size = i32::try_from(size_of::<libc::proc_bsdinfo>()).map_err(io::Error::other)?;
        // Any value but zero includes zombies (xnu: bsd/kern/proc_info.c). A child that has exited at once is a zombie, and
        // can still be opened.
        let zombies_too = 1;
        // SAFETY: the buffer is a proc_bsdinfo of the given size.
        let got = unsafe {
            libc::proc_pidinfo(
                number,
                libc::PROC_PIDTBSDINFO,
                zombies_too,
                (&raw mut info).cast(),
                size,
            )
        };
        if got == size {
            // SAFETY: only reads a number.
            let session = unsafe { libc::getsid(number) };
            return Ok(Some(Snapshot {
                pid,
                parent: info.pbi_ppid,
                session: u32::try_from(session).unwrap_or(0),
                start_time: info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec,
                ended: info.pbi_status == ZOMBIE,
                exiting: info.pbi_flags & EXITING != 0,
            }));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) {
            Ok(None)
        } else {
            Err(error)
        }
    }
}

pub(crate) fn snapshot() -> io::Result<Vec<Snapshot>> {
    // Room for processes that start meanwhile.
    const SPARE: usize = 64;
    // SAFETY: without a buffer the call returns how many processes there are.
    let count = unsafe { libc::proc_listallpids(std::ptr::null_mut(), 0) };
    let mut pids = vec![0_i32; usize::try_from(count).unwrap_or(0) + SPARE];
    let bytes = i32::try_from(pids.len() * size_of::<i32>()).map_err(io::Error::other)?;
    // SAFETY: the buffer has the length that is given.
    let count = unsafe { libc::proc_listallpids(pids.as_mut_ptr().cast(), bytes) };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    pids.truncate(usize::try_from(count).unwrap_or(0));
    // Processes of other users are not readable, and are never members.
    Ok(pids
        .into_iter()
        .filter_map(|pid| Snapshot::of(u32::try_from(pid).ok()?).ok().flatten())
        .collect())
}

/// Returns the children of a process, from the whole table.
pub(crate) fn children(_pid: u32) -> Vec<Snapshot> {
    Vec::new()
}

/// Returns whether the process was started with `name` in its environment, as a `:`-separated list that contains `value`.
/// The environment of Apple's own programs (`/bin/sh`) is not readable; they are found by parent and session.
pub(crate) fn carries(pid: u32, name: &str, value: &str) -> bool {
    started_with(pid).is_some_and(|bytes| procargs::lists(&bytes, name, value))
}

/// Returns a variable of the environment that this process was started with.
pub(crate) fn own_environment(name: &str) -> Option<String> {
    let bytes = started_with(std::process::id())?;
    Some(String::from_utf8_lossy(procargs::variable(&bytes, name)?).into_owned())
}

/// Returns the arguments and the environment of a process of this user (sysctl(3): KERN_PROCARGS2).
fn started_with(pid: u32) -> Option<Vec<u8>> {
    let mut name = [
        libc::CTL_KERN,
        libc::KERN_PROCARGS2,
        libc::c_int::try_from(pid).ok()?,
    ];
    // The kernel zeroes the pages that are written to.
    let mut bytes = vec![0_u8; ARGUMENTS_LIMIT];
    let mut length = bytes.len();
    // SAFETY: the buffer is as long as `length` says, and the name has three parts.
    let done = unsafe {
        libc::sysctl(
            name.as_mut_ptr(),
            3,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if done != 0 {
        return None;
    }
    bytes.truncate(length);
    Some(bytes)
}
