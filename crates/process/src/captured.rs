//! The output of a helper so far, within its limits.

use std::process::ExitStatus;

use crate::command::{self, Observer, Stream};

/// How much of the end of standard error is kept.
const STDERR_LIMIT: usize = 64 * 1024;

/// How the capture of a helper ended.
pub(crate) enum End {
    Exited(ExitStatus),
    TimedOut,
    Cancelled,
    TooMuchOutput,
}

/// The output that was read.
pub(crate) struct Captured {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    limit: usize,
    observer: Option<Observer>,
}

impl Captured {
    pub(crate) fn new(limit: usize, observer: Option<Observer>) -> Self {
        Captured {
            stdout: Vec::new(),
            stderr: Vec::new(),
            limit,
            observer,
        }
    }

    pub(crate) fn stderr_tail(&self, limit: usize) -> String {
        command::tail(&self.stderr, limit)
    }

    /// Adds a piece of output. Returns false if the limit is exceeded.
    pub(crate) fn take(&mut self, stream: Stream, bytes: &[u8]) -> bool {
        if let Some(observer) = &mut self.observer {
            observer(stream, bytes);
        }
        match stream {
            Stream::Stdout => {
                self.stdout.extend_from_slice(bytes);
                self.stdout.len() <= self.limit
            }
            Stream::Stderr => {
                self.stderr.extend_from_slice(bytes);
                if self.stderr.len() > 2 * STDERR_LIMIT {
                    self.stderr.drain(..self.stderr.len() - STDERR_LIMIT);
                }
                true
            }
        }
    }
}
