//! The readiness pipe: a child reports to its parent that it is ready, or why it is not, by one line. A pipe that closes
//! without a line means that the child died.

use std::io;
use std::time::Instant;

use crate::sys;

/// What a child reported about its start.
#[derive(Debug)]
#[must_use = "a start that timed out is not a start"]
pub enum Start {
    /// The child is ready; the message may be empty.
    Ready(String),
    /// The child cannot start, for this reason.
    Refused(String),
    /// The child ended, or closed the pipe, without a report.
    Died,
    /// The deadline passed. The child may still become ready.
    TimedOut,
    /// The pipe could not be read.
    Failed(io::Error),
}

/// The longest message in bytes: a line with an error or an address.
const MESSAGE_LIMIT: usize = 16 * 1024;

/// The parent's end of a readiness pipe.
#[derive(Debug)]
pub struct Readiness {
    pipe: io::PipeReader,
}

impl Readiness {
    pub(crate) fn new(pipe: io::PipeReader) -> Self {
        Readiness { pipe }
    }

    /// Waits for the child's report, at most until `deadline`. Blocks the thread.
    pub fn wait(mut self, deadline: Instant) -> Start {
        let mut text = Vec::new();
        loop {
            if let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                return parse(&text[..end]);
            }
            match sys::child::read_until(&mut self.pipe, &mut text, deadline) {
                Ok(sys::child::Read::Some) if text.len() <= MESSAGE_LIMIT => {}
                Ok(sys::child::Read::Some) => {
                    return Start::Failed(io::Error::other("the readiness message does not end"));
                }
                Ok(sys::child::Read::End) => return Start::Died,
                Ok(sys::child::Read::TimedOut) => return Start::TimedOut,
                Err(error) => return Start::Failed(error),
            }
        }
    }

    /// [`Readiness::wait`] for tokio.
    pub async fn wait_async(self, deadline: Instant) -> Start {
        match tokio::task::spawn_blocking(move || self.wait(deadline)).await {
            Ok(start) => start,
            Err(error) => Start::Failed(io::Error::other(error)),
        }
    }
}

fn parse(line: &[u8]) -> Start {
    let line = String::from_utf8_lossy(line);
    match line.split_once(' ') {
        Some(("ready", message)) => Start::Ready(message.to_owned()),
        Some(("refused", reason)) => Start::Refused(reason.to_owned()),
        _ => Start::Failed(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("strange readiness message: {line}"),
        )),
    }
}

/// The child's end of a readiness pipe. If it is dropped without a report, the parent reads [`Start::Died`].
#[derive(Debug)]
pub struct Notifier {
    pipe: io::PipeWriter,
}

impl Notifier {
    /// Takes the end that the parent named in the environment variable; `value` is the variable's value. Call it once and
    /// early, before any other file is opened. After the call, children of this process do not inherit the pipe.
    pub fn from_variable(value: &str) -> io::Result<Self> {
        Ok(Notifier {
            pipe: sys::child::adopt_pipe(value)?,
        })
    }

    /// Reports to the parent that this process is ready.
    pub fn ready(self, message: &str) -> io::Result<()> {
        self.send("ready", message)
    }

    /// Reports to the parent why this process cannot start.
    pub fn refused(self, reason: &str) -> io::Result<()> {
        self.send("refused", reason)
    }

    fn send(mut self, word: &str, message: &str) -> io::Result<()> {
        use io::Write;
        let end = message.floor_char_boundary(MESSAGE_LIMIT - 64);
        // One line, even if the message has several.
        let line = format!("{word} {}\n", message[..end].replace('\n', "; "));
        self.pipe.write_all(line.as_bytes())
    }
}
