//! Feeds and reads a helper on one thread until it ends, by poll(2) over its pipes and its pidfd.

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::captured::{Captured, End};
use crate::command::Stream;
use crate::held::Exit;
use crate::spawn::Child;

/// How long the output is read after the helper has ended: what it wrote is in the pipe already, and a background process
/// that it left may hold the pipe open for ever.
const DRAIN: Duration = Duration::from_millis(200);

/// The poll interval where the kernel does not report the end of a process through a descriptor (macOS).
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What poll watches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Stdin,
    Stdout,
    Stderr,
    Process,
    Cancel,
}

pub(crate) fn capture(
    child: &mut Child,
    mut input: &[u8],
    captured: &mut Captured,
    deadline: Instant,
    cancelled: Option<&PipeReader>,
) -> io::Result<End> {
    let (mut stdin, mut stdout, mut stderr) = child.take_pipes();
    let pipes = [
        stdin.as_ref().map(AsFd::as_fd),
        stdout.as_ref().map(AsFd::as_fd),
        stderr.as_ref().map(AsFd::as_fd),
    ];
    for pipe in pipes.into_iter().flatten() {
        set_nonblocking(pipe)?;
    }
    let mut ended: Option<ExitStatus> = None;
    let mut until = deadline;
    loop {
        if let Some(status) = ended
            && stdout.is_none()
            && stderr.is_none()
        {
            return Ok(End::Exited(status));
        }
        let ready = {
            let mut fds: Vec<(Source, BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(5);
            fds.extend(
                stdin
                    .as_ref()
                    .map(|pipe| (Source::Stdin, pipe.as_fd(), PollFlags::OUT)),
            );
            fds.extend(
                stdout
                    .as_ref()
                    .map(|pipe| (Source::Stdout, pipe.as_fd(), PollFlags::IN)),
            );
            fds.extend(
                stderr
                    .as_ref()
                    .map(|pipe| (Source::Stderr, pipe.as_fd(), PollFlags::IN)),
            );
            fds.extend(cancelled.map(|pipe| (Source::Cancel, pipe.as_fd(), PollFlags::IN)));
            let mut wake = until;
            if ended.is_none() {
                match child.process().as_poll_fd() {
                    Some(fd) => fds.push((Source::Process, fd, PollFlags::IN)),
                    None => wake = wake.min(Instant::now() + ASK_AGAIN),
                }
            }
            wait_for(&fds, wake)?
        };
        if ready.contains(&Source::Cancel) {
            return Ok(End::Cancelled);
        }
        if ready.contains(&Source::Stdin) && !feed(stdin.as_mut(), &mut input)? {
            stdin = None;
        }
        if ready.contains(&Source::Stdout) {
            match drain(stdout.as_mut(), Stream::Stdout, captured)? {
                Drained::More => {}
                Drained::End => stdout = None,
                Drained::TooMuch => return Ok(End::TooMuchOutput),
            }
        }
        if ready.contains(&Source::Stderr)
            && matches!(
                drain(stderr.as_mut(), Stream::Stderr, captured)?,
                Drained::End
            )
        {
            stderr = None;
        }
        let now = Instant::now();
        match ended {
            Some(status) if now >= until => return Ok(End::Exited(status)),
            Some(_) => {}
            None => match child.wait(now) {
                Exit::Exited(Some(status)) => {
                    ended = Some(status);
                    stdin = None;
                    until = now + DRAIN;
                }
                Exit::Exited(None) => return Err(io::Error::other("its exit status is lost")),
                Exit::TimedOut if now >= until => return Ok(End::TimedOut),
                Exit::TimedOut => {}
                Exit::Failed(error) => return Err(error),
            },
        }
    }
}

fn wait_for(fds: &[(Source, BorrowedFd<'_>, PollFlags)], wake: Instant) -> io::Result<Vec<Source>> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
        .collect();
    loop {
        let left = wake.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let ready = fds
        .iter()
        .zip(&polled)
        .filter(|(_, polled)| !polled.revents().is_empty());
    Ok(ready.map(|((source, _, _), _)| *source).collect())
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(
        fd,
        flags | rustix::fs::OFlags::NONBLOCK,
    )?)
}

/// Returns false if there is nothing more to write: all is written, or the helper closed its stdin.
fn feed(pipe: Option<&mut std::process::ChildStdin>, input: &mut &[u8]) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    match pipe.write(input) {
        Ok(length) => {
            *input = &input[length..];
            Ok(!input.is_empty())
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) if is_transient(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

enum Drained {
    More,
    End,
    TooMuch,
}

fn drain(
    pipe: Option<&mut impl Read>,
    stream: Stream,
    captured: &mut Captured,
) -> io::Result<Drained> {
    let Some(pipe) = pipe else {
        return Ok(Drained::End);
    };
    let mut buffer = [0; 16 * 1024];
    match pipe.read(&mut buffer) {
        Ok(0) => Ok(Drained::End),
        Ok(length) if captured.take(stream, &buffer[..length]) => Ok(Drained::More),
        Ok(_) => Ok(Drained::TooMuch),
        Err(error) if is_transient(&error) => Ok(Drained::More),
        Err(error) => Err(error),
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
