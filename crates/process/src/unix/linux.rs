//! Linux: pidfds, /proc, open-file-description locks.

#![expect(
    unsafe_code,
    reason = "fcntl's OFD commands have no safe wrapper; tokio needs a guarantee about pidfds"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::signal_number;
use crate::held::Signal;

/// A pidfd: refers to one process for as long as it is open, even after the PID was reused.
#[derive(Debug)]
pub(crate) struct Handle(OwnedFd);

impl Handle {
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(pid) = to_pid(pid) else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Handle(fd))),
            // EINVAL: the number is that of a thread, not of a process.
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.0, signal_number(signal)) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Signals the process group with this process's PID as long as it has members, even if this process is gone. The pidfd
    /// keeps the number from being reused, so no other group is signalled.
    pub(crate) fn signal_group(&self, signal: Signal) {
        /// linux/pidfd.h, Linux 6.9.
        const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;
        let none: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: sends a signal without extra information; the descriptor is open.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal_number(signal).as_raw(),
                none,
                PIDFD_SIGNAL_PROCESS_GROUP,
            );
        }
    }

    /// A pidfd reads as ready when its process has ended, reaped or not (pidfd_open(2)).
    pub(crate) fn wait(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) async fn wait_async(&self) -> io::Result<()> {
        // Each waiter has its own descriptor, because epoll accepts a descriptor only once.
        let pidfd = self.0.try_clone()?;
        // SAFETY: an `OwnedFd` always gives the same descriptor, and keeps it open until it is dropped with the AsyncFd.
        let fd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE)? };
        let _ready = fd.readable().await?;
        Ok(())
    }

    /// Polls as readable once the process has ended.
    pub(crate) fn as_poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

fn to_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// Returns the start time in clock ticks since boot; `None` if there is no such process.
pub(crate) fn start_time(pid: u32) -> io::Result<Option<u64>> {
    Ok(Snapshot::of(pid)?.map(|snapshot| snapshot.start_time))
}

/// Returns whether the process has begun to exit, or has a pending SIGKILL.
pub(crate) fn is_ending(pid: u32) -> bool {
    // The kernel's `PF_EXITING` (include/linux/sched.h), shown in field 9 of proc_pid_stat(5).
    const EXITING: u32 = 0x4;
    let exiting = || {
        let line = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        let flags: u32 = stat_fields(&line)?.get(9 - 3)?.parse().ok()?;
        Some(flags & EXITING != 0)
    };
    // The pending signals of its first thread, in hexadecimal: proc_pid_status(5).
    let killed = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let pending = text.lines().find_map(|line| line.strip_prefix("SigPnd:"))?;
        let pending = u64::from_str_radix(pending.trim(), 16).ok()?;
        Some(pending & (1 << (libc::SIGKILL - 1)) != 0)
    };
    // Read in this order, so that a signal which is delivered in between is seen by the second read.
    killed().unwrap_or(false) || exiting().unwrap_or(false)
}

/// Returns the fields of a line of /proc/PID/stat from the third on. The name, field 2, is in parentheses and may contain
/// parentheses and spaces, so the fields are counted from the last closing parenthesis.
fn stat_fields(line: &[u8]) -> Option<Vec<&str>> {
    let end_of_name = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(end_of_name + 1..)?).ok()?;
    Some(rest.split_ascii_whitespace().collect())
}

/// One entry of the process table.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    pub(crate) start_time: u64,
    pub(crate) ended: bool,
}

impl Snapshot {
    pub(crate) fn of(pid: u32) -> io::Result<Option<Self>> {
        match std::fs::read(format!("/proc/{pid}/stat")) {
            Ok(line) => Self::parse(pid, &line).map(Some).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("/proc/{pid}/stat reads strange"),
                )
            }),
            // ESRCH: the process ended between the open and the read.
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fields as in proc_pid_stat(5).
    fn parse(pid: u32, line: &[u8]) -> Option<Self> {
        let fields = stat_fields(line)?;
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Snapshot {
            pid,
            ended: matches!(field(3)?, "Z" | "X" | "x"),
            parent: field(4)?.parse().ok()?,
            // 0 for kernel threads and for processes of other PID namespaces.
            session: field(6)?.parse().unwrap_or(0),
            start_time: field(22)?.parse().ok()?,
        })
    }
}

/// Returns the current children of the process. May miss some while its threads run, and without CONFIG_PROC_CHILDREN.
pub(crate) fn children(pid: u32) -> Vec<Snapshot> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    let mut children = Vec::new();
    for task in tasks.into_iter().flatten().flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in list.split_ascii_whitespace().flat_map(str::parse) {
            if let Ok(Some(one)) = Snapshot::of(child)
                && one.parent == pid
            {
                children.push(one);
            }
        }
    }
    children
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Returns every visible process.
pub(crate) fn snapshot() -> io::Result<Vec<Snapshot>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(one) = Snapshot::of(pid)? {
            all.push(one);
        }
    }
    Ok(all)
}

/// Returns whether the process was started with `name` in its environment, as a `:`-separated list that contains `value`.
/// False for a process whose environment is not readable; such a process could not be signalled either.
pub(crate) fn carries(pid: u32, name: &str, value: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| {
        find(&bytes, name).is_some_and(|list| {
            list.split(|byte| *byte == b':')
                .any(|item| item == value.as_bytes())
        })
    })
}

/// Returns a variable of the environment that this process was started with.
pub(crate) fn own_environment(name: &str) -> Option<String> {
    let bytes = std::fs::read("/proc/self/environ").ok()?;
    Some(String::from_utf8_lossy(find(&bytes, name)?).into_owned())
}

fn find<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environ.split(|byte| *byte == 0).find_map(|entry| {
        entry
            .strip_prefix(name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
    })
}

/// A lock of the whole file.
fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: a plain C struct of integers, for which all zeros is a value; `l_pid` must be 0 for OFD locks.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

fn fcntl(file: &File, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open for the duration of the call and `lock` is a valid struct flock.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match fcntl(file, libc::F_OFD_SETLK, &mut whole_file(libc::F_WRLCK)) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Queries the lock without taking it.
pub(crate) fn is_locked(file: &File) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, libc::F_OFD_GETLK, &mut lock)?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
}

pub(crate) fn unlock(file: &File) -> io::Result<()> {
    fcntl(file, libc::F_OFD_SETLK, &mut whole_file(libc::F_UNLCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = b"77 (a) b) (c) S 5 6 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 1";
        let snapshot = Snapshot::parse(77, line).unwrap();
        assert_eq!(
            (
                snapshot.parent,
                snapshot.session,
                snapshot.start_time,
                snapshot.ended
            ),
            (5, 7, 987_654, false)
        );
    }

    #[test]
    fn truncated_line_is_rejected() {
        assert!(Snapshot::parse(77, b"77 (a) S 5").is_none());
    }
}
