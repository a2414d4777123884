//! The state of a reviewer, for the progress display.

/// The state of a reviewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its work tree is being made.
    Preparing,
    /// The reviewer is at work.
    Working,
    /// The reviewer is retried after a pause.
    Pausing,
    /// The reviewer gave a review.
    Finished,
    /// The reviewer gave no review.
    Failed,
    /// The reviewer is not installed.
    Missing,
    /// The reviewer gave its review in an earlier run.
    Resumed,
    /// The reviewer was at work when the run was stopped.
    Stopped,
}

impl State {
    /// Returns the word that the display shows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Preparing => "preparing",
            State::Working => "working",
            State::Pausing => "pausing",
            State::Finished => "finished",
            State::Failed => "failed",
            State::Missing => "missing",
            State::Resumed => "resumed",
            State::Stopped => "stopped",
        }
    }

    /// Returns whether this state is the last.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, State::Preparing | State::Working | State::Pausing)
    }
}

/// Formats `1 finding`, `2 findings`.
pub(crate) fn counted(findings: usize) -> String {
    match findings {
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    }
}

/// Receives the progress of reviewers. Called from several threads.
pub trait Progress: Send + Sync {
    /// Reports a reviewer's state and its current `action`: one line, without control characters, without tokens.
    fn show(&self, reviewer: &str, state: State, action: &str);
    /// Reports something about the run as a whole.
    fn say(&self, message: &str);
}

/// A [`Progress`] that shows nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn show(&self, _: &str, _: State, _: &str) {}
    fn say(&self, _: &str) {}
}
