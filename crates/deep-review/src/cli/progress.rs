//! The progress display: a line for each reviewer with its state, the time spent in it, and the current action. On a
//! terminal the lines are redrawn; elsewhere a line is written for each change of state.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::run::progress::{Progress, State};
use review::plain::one_line;

/// The shortest time between two redraws.
const FRAME: Duration = Duration::from_millis(100);

/// The longest part of a name that is shown.
const NAME: usize = 24;

/// The size of a terminal that does not report one.
const USUAL: Size = Size {
    columns: 80,
    rows: 24,
};

/// Shows progress on standard error.
pub(super) struct Shown {
    started: Instant,
    /// Whether lines can be redrawn.
    terminal: bool,
    colour: bool,
    quiet: bool,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    reviewers: Vec<Line>,
    /// The widths of the rows drawn last, directly above the cursor.
    drawn: Vec<usize>,
    last: Option<Instant>,
}

struct Line {
    name: String,
    state: State,
    action: String,
    since: Instant,
    ended: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    columns: usize,
    rows: usize,
}

impl Shown {
    pub(super) fn new(quiet: bool) -> Self {
        let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|is| is == value);
        let terminal = std::io::stderr().is_terminal() && !is("TERM", "dumb");
        Shown {
            started: Instant::now(),
            terminal,
            // https://no-color.org: whatever its value, unless empty.
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            quiet,
            lines: Mutex::default(),
        }
    }

    /// Redraws the lines to update the elapsed time.
    pub(super) fn tick(&self) {
        if self.terminal && !self.quiet {
            self.draw(&mut self.lines(), false);
        }
    }

    /// Ends the display: shows reviewers that are still at work as stopped.
    pub(super) fn end(&self) {
        if !self.terminal || self.quiet {
            return;
        }
        let mut lines = self.lines();
        for line in &mut lines.reviewers {
            if !line.state.is_final() {
                line.state = State::Stopped;
                line.ended = Some(line.since.elapsed());
            }
        }
        self.draw(&mut lines, true);
        // Later output goes below the rows.
        lines.drawn.clear();
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, lines: &mut Lines, all: bool) {
        let size = size();
        let room = match all {
            true => Size {
                rows: usize::MAX,
                ..size
            },
            false => size,
        };
        let rows = rows(&lines.reviewers, room, self.colour);
        let mut text = String::new();
        text.push_str(&up(&lines.drawn, size));
        // Wrapping is off, so that a row stays one row, whatever the width of its characters.
        text.push_str("\x1b[?7l");
        for row in &rows {
            text.push_str(&format!("\x1b[2K{}\r\n", row.text));
        }
        text.push_str("\x1b[J\x1b[?7h");
        lines.drawn = rows.iter().map(|row| row.width).collect();
        lines.last = Some(Instant::now());
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

impl Progress for Shown {
    fn show(&self, reviewer: &str, state: State, action: &str) {
        if self.quiet {
            return;
        }
        let mut lines = self.lines();
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
                self.draw(&mut lines, false);
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
        let mut lines = self.lines();
        if self.terminal && !lines.drawn.is_empty() {
            // The message goes above the rows, which are redrawn below it.
            let _ = write!(
                std::io::stderr().lock(),
                "{}\x1b[J",
                up(&lines.drawn, size())
            );
            lines.drawn.clear();
        }
        super::complain(message);
        if self.terminal {
            self.draw(&mut lines, false);
        }
    }
}

fn size() -> Size {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(USUAL, |(width, height)| Size {
        columns: width.0.max(1).into(),
        rows: height.0.into(),
    })
}

/// Moves the cursor to the first row drawn. A terminal made narrower since may have broken rows into several.
fn up(drawn: &[usize], size: Size) -> String {
    let rows: usize = drawn
        .iter()
        .map(|width| width.div_ceil(size.columns).max(1))
        .sum();
    // The cursor cannot move above the top of a terminal that was made lower.
    match rows.min(size.rows.saturating_sub(1)) {
        0 => String::new(),
        up => format!("\r\x1b[{up}A"),
    }
}

/// Shortens text to one line of at most `columns` characters.
fn fit(text: &str, columns: usize) -> String {
    let whole = one_line(text, columns);
    if whole.chars().count() <= columns {
        return whole;
    }
    // The sign for the omitted part takes one more character.
    one_line(text, columns.saturating_sub(1))
}

/// Formats a row, and returns it with its width in columns.
struct Row {
    text: String,
    width: usize,
}

/// Returns the rows for a terminal of this size. If it has too few rows, finished reviewers are left out first.
fn rows(lines: &[Line], size: Size, colour: bool) -> Vec<Row> {
    // The cursor takes the row below the last one.
    let room = size.rows.saturating_sub(1).max(1);
    let shown: Vec<&Line> = if lines.len() <= room {
        lines.iter().collect()
    } else {
        let mut order: Vec<usize> = (0..lines.len()).collect();
        order.sort_by_key(|at| lines[*at].state.is_final());
        order.truncate(room - 1);
        order.sort_unstable();
        order.into_iter().map(|at| &lines[at]).collect()
    };
    let longest = shown.iter().map(|line| line.name.chars().count()).max();
    let name = longest.unwrap_or(0).min(NAME).min(size.columns / 3).max(1);
    let mut rows: Vec<Row> = shown
        .iter()
        .map(|line| row(line, name, size.columns, colour))
        .collect();
    if shown.len() < lines.len() {
        let text = format!("… and {} more", lines.len() - shown.len());
        let text = fit(&text, size.columns.saturating_sub(1));
        rows.push(Row {
            width: text.chars().count(),
            text,
        });
    }
    rows
}

fn row(line: &Line, name: usize, columns: usize, colour: bool) -> Row {
    let elapsed = line.ended.unwrap_or_else(|| line.since.elapsed()).as_secs();
    let shown = fit(&line.name, name);
    let state = format!("{:<9}", line.state.as_str());
    let time = format!("{:>2}:{:02}", elapsed / 60, elapsed % 60);
    let taken = name + 1 + state.len() + 1 + time.len() + 2;
    // The last column stays empty: some terminals wrap when it is written to.
    let left = columns.saturating_sub(taken + 1);
    let action = match left {
        0 => String::new(),
        left => fit(&line.action, left),
    };
    let plain = format!("{shown:<name$} {state} {time}  {action}");
    let plain = plain.trim_end();
    let width = plain.chars().count();
    let coloured = match line.state {
        State::Finished | State::Resumed => Some(format!("\x1b[32m{state}\x1b[0m")),
        State::Failed | State::Missing => Some(format!("\x1b[31m{state}\x1b[0m")),
        State::Pausing | State::Stopped => Some(format!("\x1b[33m{state}\x1b[0m")),
        State::Preparing | State::Working => None,
    };
    let text = match coloured.filter(|_| colour) {
        Some(state) => format!("{shown:<name$} {state} {time}  {action}"),
        None => plain.to_owned(),
    };
    Row { text, width }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, state: State, action: &str) -> Line {
        Line {
            name: name.to_owned(),
            state,
            action: action.to_owned(),
            since: Instant::now(),
            ended: Some(Duration::from_secs(65)),
        }
    }

    fn texts(lines: &[Line], columns: usize, rows: usize, colour: bool) -> Vec<String> {
        let rows = super::rows(lines, Size { columns, rows }, colour);
        rows.into_iter().map(|row| row.text).collect()
    }

    #[test]
    fn cursor_moves_above_rows_broken_by_a_narrower_terminal() {
        let size = Size {
            columns: 40,
            rows: 24,
        };
        assert_eq!(up(&[], size), "");
        assert_eq!(up(&[30, 39, 0], size), "\r\x1b[3A");
        assert_eq!(up(&[30, 90, 41], size), "\r\x1b[6A");
        assert_eq!(up(&[400; 10], size), "\r\x1b[23A");
    }

    #[test]
    fn row_fits_any_width() {
        let lines = [
            line("claude", State::Working, "Read a/long/path/to/some/file.rs"),
            line(
                &"very long name ".repeat(5),
                State::Failed,
                &"x".repeat(500),
            ),
        ];
        for columns in [30, 40, 80, 200] {
            for row in texts(&lines, columns, 24, false) {
                assert!(row.chars().count() < columns, "{columns}: {row:?}");
            }
        }
        assert_eq!(
            texts(&lines[..1], 50, 24, false),
            ["claude working    1:05  Read a/long/path/to/some…"]
        );
    }

    #[test]
    fn active_reviewers_are_shown_if_rows_are_too_few() {
        let lines = [
            line("a", State::Finished, ""),
            line("b", State::Working, ""),
            line("c", State::Finished, ""),
            line("d", State::Pausing, ""),
        ];
        assert_eq!(
            texts(&lines, 40, 4, false),
            ["b working    1:05", "d pausing    1:05", "… and 2 more"]
        );
        assert_eq!(texts(&lines, 40, 5, false).len(), 4);
    }

    #[test]
    fn colour_is_used_only_if_enabled() {
        let lines = [line("a", State::Failed, "")];
        assert!(texts(&lines, 80, 24, true)[0].contains("\x1b[31mfailed"));
        assert!(!texts(&lines, 80, 24, false)[0].contains('\x1b'));
    }
}
