//! Runs helper programs that must not outlive the call, with their output captured and their time bounded (hazard 8).
//!
//! A helper is a program with arguments, never a shell. At the deadline its whole process tree is killed, and the error
//! names the command that hung. On Linux the helper also dies when this process is killed.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::captured::{Captured, End};
use crate::spawn::{Attributes, Output as Target, Spawn, SpawnError};
use crate::sys::capture;
use crate::tree;

/// The default limit of a helper's stdout ([`Run::limit`]): far more than any helper of rdd prints.
pub const DEFAULT_LIMIT: usize = 8 * 1024 * 1024;

/// How much of the end of stderr an error message shows.
const SHOWN: usize = 2 * 1024;

/// An output of a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

pub(crate) type Observer = Box<dyn FnMut(Stream, &[u8]) + Send>;

/// One run of a helper.
pub struct Run {
    spawn: Spawn,
    timeout: Duration,
    input: Vec<u8>,
    limit: usize,
    observer: Option<Observer>,
}

/// A helper's output and exit status.
#[derive(Debug)]
pub struct Output {
    /// The exit status.
    pub status: ExitStatus,
    /// The whole stdout.
    pub stdout: Vec<u8>,
    /// The end of stderr, at least the last 64 KiB.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns stdout as text, without leading and trailing white space.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

/// Why a helper failed. Each message names the command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The helper did not start.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The helper was still running at its deadline, and was killed with its descendants.
    #[error("{command} did not end within {}: killed it{}", Span(*.timeout), Tail(.stderr))]
    TimedOut {
        /// The command line.
        command: String,
        /// Its limit.
        timeout: Duration,
        /// The end of stderr.
        stderr: String,
    },
    /// The helper exited with a failure.
    #[error("{command} failed ({status}){}", Tail(.stderr))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of stderr.
        stderr: String,
    },
    /// The helper printed more than its limit, and was killed.
    #[error("{command} printed more than {limit} bytes: killed it")]
    TooMuchOutput {
        /// The command line.
        command: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The caller's future was dropped, and the helper was killed.
    #[error("{command} was cancelled")]
    Cancelled {
        /// The command line.
        command: String,
    },
    /// Reading from or writing to the helper failed.
    #[error("cannot exchange data with {command}: {source}")]
    Io {
        /// The command line.
        command: String,
        /// The system's error.
        source: io::Error,
    },
}

struct Tail<'a>(&'a str);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.0)
        }
    }
}

struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(10) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{} s", self.0.as_secs())
        }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("spawn", &self.spawn)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Run {
    /// A run of `program` that may take `timeout`. It inherits this process's environment and has no input; its output is
    /// captured.
    pub fn new(program: impl AsRef<OsStr>, timeout: Duration) -> Self {
        let spawn = Spawn::new(program).attributes(Attributes {
            dies_with_us: true,
            ..Attributes::default()
        });
        Run {
            spawn,
            timeout,
            input: Vec::new(),
            limit: DEFAULT_LIMIT,
            observer: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.with(|spawn| spawn.arg(arg))
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.with(|spawn| spawn.args(args))
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.with(|spawn| spawn.env(name, value))
    }

    /// See [`Spawn::env_only`].
    #[must_use]
    pub fn env_only(self, names: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.with(|spawn| spawn.env_only(names))
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(self, folder: impl AsRef<Path>) -> Self {
        self.with(|spawn| spawn.cwd(folder))
    }

    /// See [`Spawn::contained`].
    #[must_use]
    pub fn contained(self) -> Self {
        self.with(Spawn::contained)
    }

    /// Sets what the helper reads from stdin.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// Sets how many bytes the helper may print on stdout. More is an error, because a truncated output is useless.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Calls `observer` with each piece of output as it arrives, to show progress. The output is captured all the same.
    #[must_use]
    pub fn observe(mut self, observer: impl FnMut(Stream, &[u8]) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    fn with(mut self, change: impl FnOnce(Spawn) -> Spawn) -> Self {
        self.spawn = change(self.spawn);
        self
    }

    /// Runs the helper; an exit status other than success is an error. Blocks the thread.
    pub fn run(self) -> Result<Output, CommandError> {
        let command = self.spawn.command_line();
        succeeded(command, self.run_any()?)
    }

    /// Runs the helper and returns its output, whatever its exit status. Blocks the thread.
    pub fn run_any(self) -> Result<Output, CommandError> {
        self.run_until(None)
    }

    /// [`Run::run`] for tokio. Dropping the future kills the helper and its descendants.
    pub async fn run_async(self) -> Result<Output, CommandError> {
        let command = self.spawn.command_line();
        succeeded(command, self.run_any_async().await?)
    }

    /// [`Run::run_any`] for tokio. Dropping the future kills the helper and its descendants.
    pub async fn run_any_async(self) -> Result<Output, CommandError> {
        let command = self.spawn.command_line();
        let io = |source| CommandError::Io {
            command: command.clone(),
            source,
        };
        // The pipe closes when the future is dropped, which the thread notices.
        let (cancelled, _keep) = io::pipe().map_err(io)?;
        match tokio::task::spawn_blocking(move || self.run_until(Some(&cancelled))).await {
            Ok(result) => result,
            Err(error) => Err(io(io::Error::other(error))),
        }
    }

    fn run_until(mut self, cancelled: Option<&io::PipeReader>) -> Result<Output, CommandError> {
        let command = self.spawn.command_line();
        let deadline = Instant::now() + self.timeout;
        self.spawn.stdin_pipe = !self.input.is_empty();
        self.spawn.stdout = Target::Pipe;
        self.spawn.stderr = Target::Pipe;
        let mut child = self.spawn.spawn()?;
        let mut captured = Captured::new(self.limit, self.observer);
        let end = capture::capture(&mut child, &self.input, &mut captured, deadline, cancelled);
        if !matches!(end, Ok(End::Exited(_)))
            && let Err(error) = tree::kill_tree(&child.tree(), Duration::ZERO)
        {
            tracing::warn!(command, %error, "cannot kill a helper");
        }
        // Reaped after the kill, never before (hazard 7). A process that survives SIGKILL is not waited for.
        let _ = child.wait(Instant::now());
        let stderr = captured.stderr_tail(SHOWN);
        match end {
            Ok(End::Exited(status)) => Ok(Output {
                status,
                stdout: captured.stdout,
                stderr: captured.stderr,
            }),
            Ok(End::TimedOut) => Err(CommandError::TimedOut {
                command,
                timeout: self.timeout,
                stderr,
            }),
            Ok(End::Cancelled) => Err(CommandError::Cancelled { command }),
            Ok(End::TooMuchOutput) => Err(CommandError::TooMuchOutput {
                command,
                limit: self.limit,
            }),
            Err(source) => Err(CommandError::Io { command, source }),
        }
    }
}

fn succeeded(command: String, output: Output) -> Result<Output, CommandError> {
    if output.status.success() {
        return Ok(output);
    }
    let stderr = tail(&output.stderr, SHOWN);
    Err(CommandError::Failed {
        command,
        status: output.status,
        stderr,
    })
}

/// Returns the last `limit` bytes as text, from the start of a line if possible.
pub(crate) fn tail(bytes: &[u8], limit: usize) -> String {
    let from = bytes.len().saturating_sub(limit);
    let mut shown = &bytes[from..];
    if from > 0
        && let Some(end) = shown.iter().position(|byte| *byte == b'\n')
        && end + 1 < shown.len()
    {
        shown = &shown[end + 1..];
    }
    String::from_utf8_lossy(shown).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_starts_at_a_line() {
        assert_eq!(tail(b"one\ntwo\nthree\n", 9), "three");
        assert_eq!(tail(b"one\ntwo\n", 100), "one\ntwo");
        assert_eq!(tail(b"nolines", 3), "nes");
        assert_eq!(tail(b"", 3), "");
    }
}
