//! A line a reviewer: its state, for how long, and what it does. On a terminal the lines are drawn again; elsewhere a
//! line is written when a state changes.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::run::progress::{Progress, State};

/// How often the lines are drawn at most.
const FRAME: Duration = Duration::from_millis(100);

/// How much of a name and of an action is shown.
const NAME: usize = 24;
const ACTION: usize = 60;

/// Shows progress on standard error.
pub(super) struct Shown {
    started: Instant,
    terminal: bool,
    quiet: bool,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    reviewers: Vec<Line>,
    drawn: usize,
    last: Option<Instant>,
}

struct Line {
    name: String,
    state: State,
    action: String,
    since: Instant,
    ended: Option<Duration>,
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Self {
        Shown {
            started: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
            quiet,
            lines: Mutex::default(),
        }
    }

    /// Draws the lines again, so that the elapsed time goes on.
    pub(super) fn tick(&self) {
        if self.terminal && !self.quiet {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            draw(&mut lines);
        }
    }
}

impl Progress for Shown {
    fn show(&self, reviewer: &str, state: State, action: &str) {
        if self.quiet {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match lines
            .reviewers
            .iter()
            .position(|line| line.name == reviewer)
        {
            Some(at) => at,
            None => {
                lines.reviewers.push(Line {
                    name: reviewer.to_owned(),
                    state: State::Preparing,
                    action: String::new(),
                    since: Instant::now(),
                    ended: None,
                });
                lines.reviewers.len() - 1
            }
        };
        let line = &mut lines.reviewers[at];
        let changed = line.state != state;
        line.state = state;
        if !action.is_empty() || changed {
            action.clone_into(&mut line.action);
        }
        if state.is_final() {
            line.ended = Some(line.since.elapsed());
        }
        if self.terminal {
            let due = lines.last.is_none_or(|last| last.elapsed() >= FRAME);
            if changed || due {
                draw(&mut lines);
            }
        } else if changed {
            let elapsed = self.started.elapsed().as_secs();
            let text = format!("{elapsed:>5} s  {reviewer}: {} {action}", state.as_str());
            super::complain(text.trim_end());
        }
    }

    fn say(&self, message: &str) {
        if self.quiet {
            return;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if self.terminal && lines.drawn > 0 {
            // Above the lines, which are drawn again below it.
            let mut out = std::io::stderr().lock();
            let _ = write!(out, "\x1b[{}A\x1b[J", lines.drawn);
            lines.drawn = 0;
        }
        super::complain(message);
        if self.terminal {
            draw(&mut lines);
        }
    }
}

fn draw(lines: &mut Lines) {
    let mut text = String::new();
    if lines.drawn > 0 {
        text.push_str(&format!("\x1b[{}A", lines.drawn));
    }
    for line in &lines.reviewers {
        let elapsed = line.ended.unwrap_or_else(|| line.since.elapsed()).as_secs();
        let name = crate::adapters::one_line(&line.name, NAME);
        let action = crate::adapters::one_line(&line.action, ACTION);
        text.push_str(&format!(
            "\x1b[2K{name:<24} {:<9} {:>2}:{:02}  {action}\r\n",
            line.state.as_str(),
            elapsed / 60,
            elapsed % 60
        ));
    }
    lines.drawn = lines.reviewers.len();
    lines.last = Some(Instant::now());
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
