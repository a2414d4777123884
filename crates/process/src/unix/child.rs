//! The Unix part of a child's start: its session, its descriptors, its readiness pipe.

#![expect(
    unsafe_code,
    reason = "code between fork and exec, and a descriptor that the parent left open for this process"
)]

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::start_state;
use crate::cgroup::Entrance;
use crate::spawn::Attributes;

/// Descriptors below this are the child's standard input, output and error.
const FIRST_FREE: RawFd = 3;

/// What has to stay alive until the child has started.
#[derive(Default)]
pub(crate) struct Prepared {
    pass: Vec<OwnedFd>,
}

impl Prepared {
    pub(crate) fn pass(&mut self, fds: Vec<OwnedFd>) {
        self.pass.extend(fds);
    }

    /// Makes a pipe; returns the parent's end, and the number of the child's end.
    pub(crate) fn readiness_pipe(&mut self) -> io::Result<(PipeReader, String)> {
        let (reader, writer) = io::pipe()?;
        let writer = above_stdio(writer.into())?;
        let number = writer.as_raw_fd().to_string();
        self.pass.push(writer);
        Ok((reader, number))
    }

    pub(crate) fn apply(
        &self,
        command: &mut Command,
        attributes: Attributes,
        cgroup: Option<Entrance>,
    ) {
        let pass: Vec<RawFd> = self.pass.iter().map(AsRawFd::as_raw_fd).collect();
        let parent = rustix::process::getpid();
        let before_exec = move || {
            if let Some(cgroup) = cgroup {
                cgroup.enter();
            }
            rustix::process::setsid()?;
            start_state::set_in_child(attributes.long_lived);
            close_on_exec_from(FIRST_FREE)?;
            for fd in &pass {
                // SAFETY: `Prepared` keeps these open in the parent until after the fork, so they are open here.
                let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
                rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
            }
            #[cfg(target_os = "linux")]
            {
                if attributes.subreaper {
                    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
                }
                if attributes.dies_with_us {
                    let kill = Some(rustix::process::Signal::KILL);
                    rustix::process::set_parent_process_death_signal(kill)?;
                    // The parent may have died before the line above.
                    if rustix::process::getppid() != Some(parent) {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
            }
            #[cfg(not(target_os = "linux"))]
            let _ = (attributes, parent);
            Ok(())
        };
        // SAFETY: between fork and exec only async-signal-safe things may happen: the closure makes system calls on
        // values it owns, and neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(before_exec);
        }
    }

    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "Windows puts the child into its job here"
    )]
    pub(crate) fn started(&mut self, _child: &Child, _marks: &str) -> io::Result<()> {
        Ok(())
    }
}

/// Marks every descriptor from `first` on as close-on-exec. They stay open until the exec, because the standard library
/// reports a failed exec through one of them. Everything that rdd opens is close-on-exec already; this is for descriptors
/// that the parent of this process or a C library left open, such as the pipe of `$(rdd svc start)`, which would otherwise
/// never be closed.
fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
        // SAFETY: changes flags of descriptors, nothing in memory.
        let done = unsafe {
            libc::syscall(
                libc::SYS_close_range,
                first,
                libc::c_uint::MAX,
                CLOSE_RANGE_CLOEXEC,
            )
        };
        if done == 0 {
            return Ok(());
        }
    }
    // Linux before 5.11, and macOS.
    /// More than rdd ever opens; the limit itself may be a billion.
    const HIGHEST: u64 = 65_536;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(HIGHEST);
    for number in first..RawFd::try_from(limit.min(HIGHEST)).unwrap_or(RawFd::MAX) {
        // SAFETY: only its flags are changed; EBADF for a number that is not open.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        match rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC) {
            Ok(()) | Err(rustix::io::Errno::BADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Returns the file under a number that is not one of stdin, stdout and stderr.
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST_FREE {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, FIRST_FREE)?)
}

/// In the child: takes the pipe whose number the parent passed.
pub(crate) fn adopt_pipe(value: &str) -> io::Result<PipeWriter> {
    let refuse = |why: &str| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("descriptor {value:?} {why}"),
        )
    };
    let number: RawFd = value.parse().map_err(|_| refuse("is not a number"))?;
    if number < FIRST_FREE {
        return Err(refuse("is one of standard input and output"));
    }
    // SAFETY: only its type is read; an error for a number that is not open.
    let kind = rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(number) })?;
    if rustix::fs::FileType::from_raw_mode(kind.st_mode) != rustix::fs::FileType::Fifo {
        return Err(refuse("is not a pipe"));
    }
    // SAFETY: the descriptor is open and a pipe; the parent left it open for the process that got its number, this one.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd.into())
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
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(Read::TimedOut),
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut buffer = [0; 1024];
    let length = io::Read::read(pipe, &mut buffer)?;
    text.extend_from_slice(&buffer[..length]);
    Ok(if length == 0 { Read::End } else { Read::Some })
}

/// Returns whether this process leads its session, as every child of [`crate::spawn`] does.
pub(crate) fn leads_session() -> bool {
    // rustix's getsid is not used: in a PID namespace whose session leader is outside (a container, `unshare --pid`) the
    // kernel returns 0, which rustix considers impossible.
    // SAFETY: reads one number about the calling process.
    let session = unsafe { libc::getsid(0) };
    u32::try_from(session) == Ok(std::process::id())
}
