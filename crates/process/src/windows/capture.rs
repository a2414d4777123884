//! Feeds and reads a helper with one thread for each pipe and one that waits, because anonymous pipes cannot be polled.

#![expect(unsafe_code, reason = "Win32 is C")]

use std::io::{self, PipeReader, Read, Write};
use std::os::windows::io::AsRawHandle;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

use crate::captured::{Captured, End};
use crate::command::Stream;
use crate::held::Exit;
use crate::pause::POLL_INTERVAL;
use crate::spawn::Child;

/// How long the output is read after the helper has ended: a background process that it left may hold the pipe open for
/// ever, and the reading threads end with that process.
const DRAIN: Duration = Duration::from_millis(200);

/// Pieces of output that wait to be taken.
const QUEUE: usize = 16;

type Piece = (Stream, Vec<u8>);

pub(crate) fn capture(
    child: &mut Child,
    input: &[u8],
    captured: &mut Captured,
    deadline: Instant,
    cancelled: Option<&PipeReader>,
) -> io::Result<End> {
    let (stdin, stdout, stderr) = child.take_pipes();
    if let Some(mut stdin) = stdin {
        let input = input.to_vec();
        // A helper that does not read its input is not a failure.
        thread::spawn(move || stdin.write_all(&input));
    }
    let (sender, pieces) = sync_channel(QUEUE);
    read_all(stdout, Stream::Stdout, &sender);
    read_all(stderr, Stream::Stderr, &sender);
    drop(sender);
    let mut ended: Option<ExitStatus> = None;
    let mut until = deadline;
    loop {
        match take(&pieces, captured) {
            Taken::Some => {}
            Taken::TooMuch => return Ok(End::TooMuchOutput),
            Taken::End => {
                if let Some(status) = ended {
                    return Ok(End::Exited(status));
                }
            }
        }
        if cancelled.is_some_and(is_closed) {
            return Ok(End::Cancelled);
        }
        let now = Instant::now();
        match ended {
            Some(status) if now >= until => return Ok(End::Exited(status)),
            Some(_) => {}
            None => match child.wait(now) {
                Exit::Exited(Some(status)) => {
                    ended = Some(status);
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

fn read_all(pipe: Option<impl Read + Send + 'static>, stream: Stream, sender: &SyncSender<Piece>) {
    let Some(mut pipe) = pipe else { return };
    let sender = sender.clone();
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length) = pipe.read(&mut buffer) {
            if length == 0 || sender.send((stream, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
}

enum Taken {
    Some,
    TooMuch,
    End,
}

fn take(pieces: &Receiver<Piece>, captured: &mut Captured) -> Taken {
    match pieces.recv_timeout(POLL_INTERVAL) {
        Ok((stream, bytes)) if captured.take(stream, &bytes) => Taken::Some,
        Ok(_) => Taken::TooMuch,
        Err(RecvTimeoutError::Timeout) => Taken::Some,
        Err(RecvTimeoutError::Disconnected) => {
            // The pipes are closed; the process may still run.
            pause_a_little();
            Taken::End
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the caller polls with a deadline"
)]
fn pause_a_little() {
    thread::sleep(POLL_INTERVAL);
}

/// Returns whether the other end of the pipe is closed.
fn is_closed(pipe: &PipeReader) -> bool {
    let (none, no_count) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the handle is open, and no data is read.
    let done = unsafe {
        PeekNamedPipe(
            pipe.as_raw_handle() as HANDLE,
            none,
            0,
            no_count,
            no_count,
            std::ptr::null_mut(),
        )
    };
    done == 0
}
