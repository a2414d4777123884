//! One question to one reviewer: starts it in a process tree of its own, gives it the prompt, reads its output, and
//! kills the tree.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use process::command::{CommandError, Run, Stream};
use process::spawn::{Spawn, SpawnError};
use process::tree::{self, Tree};

use crate::adapters::acp::{Conversation, Step};
use crate::adapters::config::Reviewer;
use crate::adapters::{AskedBy, Reader, Said};

/// The question to a reviewer, and how to start it.
pub(super) struct Question<'a> {
    pub(super) reviewer: &'a Reviewer,
    pub(super) argv: Vec<String>,
    pub(super) prompt: &'a str,
    pub(super) folder: &'a Path,
    /// Variables inherited from this process.
    pub(super) inherit: Vec<String>,
    /// Variables set for the reviewer.
    pub(super) set: Vec<(String, String)>,
    pub(super) timeout: Duration,
}

/// The result of an attempt.
pub(super) struct Answer {
    pub(super) said: Said,
    /// How the reviewer failed, if it did: an exit status, a timeout, too much output.
    pub(super) trouble: Option<String>,
    /// Whether the reviewer was killed: by a signal, at its time limit, or for too much output.
    pub(super) cut: bool,
    /// The program does not exist.
    pub(super) missing: bool,
    /// The last part of its standard error.
    pub(super) stderr: String,
}

pub(super) type Show = Arc<dyn Fn(&str) + Send + Sync>;

/// The length of the part of standard error that a message shows.
const STDERR_SHOWN: usize = 600;

pub(super) async fn ask(question: Question<'_>, show: Show) -> Answer {
    if question.reviewer.kind.adapter().asked_by() == AskedBy::Protocol {
        converse(question, show).await
    } else {
        listen(question, show).await
    }
}

/// Splits a stream into lines.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        self.rest.extend_from_slice(bytes);
        let mut start = 0;
        // Only the new part is searched for a line end, so that a flood without one is not searched again for each
        // chunk.
        let mut from = self.rest.len() - bytes.len();
        while let Some(end) = self.rest[from..].iter().position(|byte| *byte == b'\n') {
            let end = from + end;
            line(String::from_utf8_lossy(&self.rest[start..end]).trim_end_matches('\r'));
            start = end + 1;
            from = start;
        }
        self.rest.drain(..start);
    }

    fn end(&mut self, mut line: impl FnMut(&str)) {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            line(&String::from_utf8_lossy(&rest));
        }
    }
}

struct Listener {
    lines: Lines,
    reader: Box<dyn Reader>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(question: Question<'_>, show: Show) -> Answer {
    let Some((program, args)) = question.argv.split_first() else {
        return failed("it has no command".to_owned());
    };
    let listener = Arc::new(Mutex::new(Listener {
        lines: Lines::default(),
        reader: question.reviewer.kind.adapter().reader(),
    }));
    let stderr = Arc::new(Mutex::new(Vec::new()));
    let mut run = Run::new(program, question.timeout)
        .args(args)
        .cwd(question.folder)
        .env_only(&question.inherit)
        .contained()
        .limit(question.reviewer.output_limit);
    for (name, value) in &question.set {
        run = run.env(name, value);
    }
    if !question.reviewer.looks_at_files() {
        run = run.input(question.prompt.as_bytes());
    }
    let (ears, errors) = (listener.clone(), stderr.clone());
    let limit = question.reviewer.output_limit;
    let mut taken = 0usize;
    let run = run.observe(move |stream, bytes| match stream {
        Stream::Stdout => {
            taken = taken.saturating_add(bytes.len());
            if taken > limit {
                return;
            }
            let ears = &mut *lock(&ears);
            let Listener { lines, reader } = ears;
            lines.push(bytes, |line| {
                if let Some(action) = reader.line(line) {
                    show(&action);
                }
            });
        }
        Stream::Stderr => {
            let mut errors = lock(&errors);
            errors.extend_from_slice(bytes);
            let surplus = errors.len().saturating_sub(4 * STDERR_SHOWN);
            errors.drain(..surplus);
        }
    });
    let result = run.run_any_async().await;
    let said = {
        let ears = &mut *lock(&listener);
        let Listener { lines, reader } = ears;
        lines.end(|line| {
            reader.line(line);
        });
        reader.said()
    };
    let stderr = tail(&lock(&stderr));
    // A shell reports that a signal killed its child as 128 plus the signal's number.
    let cut = match &result {
        Ok(output) => output.status.code().is_none_or(|code| code >= 128),
        Err(_) => true,
    };
    let (trouble, missing) = match result {
        Ok(output) if output.status.success() => (None, false),
        Ok(output) => (Some(format!("it ended with {}", output.status)), false),
        Err(CommandError::TimedOut { timeout, .. }) => (
            Some(format!(
                "it was still at work after {} s and was killed",
                timeout.as_secs()
            )),
            false,
        ),
        Err(CommandError::TooMuchOutput { limit, .. }) => (
            Some(format!("it printed more than {limit} bytes and was killed")),
            false,
        ),
        Err(CommandError::Spawn(error)) => (
            Some(error.to_string()),
            matches!(error, SpawnError::NotFound { .. }),
        ),
        Err(error) => (Some(error.to_string()), false),
    };
    Answer {
        said,
        trouble,
        cut,
        missing,
        stderr,
    }
}

fn failed(trouble: String) -> Answer {
    Answer {
        said: Said::default(),
        trouble: Some(trouble),
        cut: true,
        missing: false,
        stderr: String::new(),
    }
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let from = text.ceil_char_boundary(text.len().saturating_sub(STDERR_SHOWN));
    text[from..].trim().to_owned()
}

/// A conversation with an agent that speaks the Agent Client Protocol.
async fn converse(question: Question<'_>, show: Show) -> Answer {
    let Some((program, args)) = question.argv.split_first() else {
        return failed("it has no command".to_owned());
    };
    let started = (|| -> Result<_, SpawnError> {
        let io = |action| {
            let program = program.clone();
            move |source| SpawnError::Io {
                action,
                program,
                source,
            }
        };
        let (input, ours) = std::io::pipe().map_err(io("make a pipe for"))?;
        let (theirs, output) = std::io::pipe().map_err(io("make a pipe for"))?;
        let mut spawn = Spawn::new(program)
            .args(args)
            .cwd(question.folder)
            .env_only(&question.inherit)
            .stdin(into_file(input))
            .stdout(into_file(output))
            .contained();
        for (name, value) in &question.set {
            spawn = spawn.env(name, value);
        }
        Ok((spawn.spawn()?, ours, theirs))
    })();
    let (child, to_agent, from_agent) = match started {
        Ok(started) => started,
        Err(error) => {
            let missing = matches!(error, SpawnError::NotFound { .. });
            return Answer {
                missing,
                ..failed(error.to_string())
            };
        }
    };
    let agent = Ending(child.tree());
    let (conversation, first) = Conversation::open(
        question.prompt.to_owned(),
        question.folder.to_string_lossy().into_owned(),
    );
    let limit = question.reviewer.output_limit;
    let talk = Arc::new(Mutex::new(conversation));
    let ours = talk.clone();
    // Blocks on the agent's pipe until the agent exits or is killed.
    let talking = tokio::task::spawn_blocking(move || {
        dialogue(to_agent, from_agent, &first, &ours, limit, &show)
    });
    let deadline = tokio::time::Instant::from_std(Instant::now() + question.timeout);
    let trouble = match tokio::time::timeout_at(deadline, talking).await {
        Ok(Ok(Ok(()))) => None,
        Ok(Ok(Err(trouble))) => Some(trouble),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_elapsed) => Some(format!(
            "it was still at work after {} s and was killed",
            question.timeout.as_secs()
        )),
    };
    drop(agent);
    let prompt = std::mem::replace(
        &mut *lock(&talk),
        Conversation::open(String::new(), String::new()).0,
    );
    Answer {
        said: prompt.said(),
        cut: trouble.is_some(),
        trouble,
        missing: false,
        stderr: String::new(),
    }
}

#[cfg(unix)]
fn into_file(pipe: impl Into<std::os::fd::OwnedFd>) -> std::fs::File {
    std::fs::File::from(pipe.into())
}

#[cfg(windows)]
fn into_file(pipe: impl Into<std::os::windows::io::OwnedHandle>) -> std::fs::File {
    std::fs::File::from(pipe.into())
}

/// Kills the agent when the conversation ends, including by cancellation.
struct Ending(Tree);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Err(error) = tree::kill_tree(&self.0, Duration::ZERO) {
            tracing::warn!(%error, "an agent cannot be killed");
        }
    }
}

fn dialogue(
    mut to: impl Write,
    from: impl Read,
    first: &serde_json::Value,
    talk: &Mutex<Conversation>,
    limit: usize,
    show: &Show,
) -> Result<(), String> {
    let mut send = |message: &serde_json::Value| {
        to.write_all(format!("{message}\n").as_bytes())
            .and_then(|()| to.flush())
            .map_err(|error| format!("it does not listen: {error}"))
    };
    send(first)?;
    let mut from = BufReader::new(from.take(limit as u64));
    let mut line = Vec::new();
    let mut taken = 0;
    loop {
        line.clear();
        let length = from
            .read_until(b'\n', &mut line)
            .map_err(|error| format!("it cannot be heard: {error}"))?;
        if length == 0 {
            return Err(if taken >= limit {
                format!("it printed more than {limit} bytes and was killed")
            } else {
                "it ended before its turn did".to_owned()
            });
        }
        taken += length;
        let mut talk = lock(talk);
        let step = talk.line(&String::from_utf8_lossy(&line));
        let action = talk.action.take();
        drop(talk);
        if let Some(action) = action {
            show(&action);
        }
        match step {
            Step::Wait => {}
            Step::Done => return Ok(()),
            Step::Send(messages) => {
                for message in &messages {
                    send(message)?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_across_chunks() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in ["a", "b\nc\r\n", "", "d\n\ne"] {
            lines.push(piece.as_bytes(), |line| seen.push(line.to_owned()));
        }
        lines.end(|line| seen.push(line.to_owned()));
        assert_eq!(seen, ["ab", "c", "d", "", "e"]);
    }
}
