//! What a reviewer is doing, for the progress display.

/// Where a reviewer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its work tree is being made.
    Preparing,
    /// It is at work.
    Working,
    /// It is asked again after a pause.
    Pausing,
    /// It gave a review.
    Finished,
    /// It gave none.
    Failed,
    /// It is not installed.
    Missing,
    /// It gave its review in an earlier run.
    Resumed,
    /// It was at work when the run was stopped.
    Stopped,
}

impl State {
    /// As it is shown.
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

    /// Whether nothing follows.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, State::Preparing | State::Working | State::Pausing)
    }
}

/// `1 finding`, `2 findings`.
pub(crate) fn counted(findings: usize) -> String {
    match findings {
        1 => "1 finding".to_owned(),
        count => format!("{count} findings"),
    }
}

/// Shows what reviewers do. Called from several threads.
pub trait Progress: Send + Sync {
    /// A reviewer is at `action` now; one line, without control characters, without tokens.
    fn show(&self, reviewer: &str, state: State, action: &str);
    /// Something about the run as a whole.
    fn say(&self, message: &str);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn show(&self, _: &str, _: State, _: &str) {}
    fn say(&self, _: &str) {}
}
