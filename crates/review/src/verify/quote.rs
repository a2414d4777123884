//! Whether quoted code is in the file, and where: white space, line numbers, diff signs and `…` in the quote do
//! not matter.

use super::lines;
use crate::files::Files;
use crate::model::{Check, CheckKind, CheckResult, Finding};

/// A quote that is elsewhere counts when at least this share of its lines does.
const ENOUGH: f64 = 0.7;

/// Quotes are short; of a longer one this many lines are looked for.
const LONGEST: usize = 200;

/// Looks for the quote in `text`, near the given lines.
pub fn check_quote(quote: &str, text: &str, start: Option<u32>, end: Option<u32>) -> Found {
    for reading in READINGS {
        let wanted: Vec<Option<String>> = quote
            .lines()
            .take(LONGEST)
            .filter_map(|line| reading(line))
            .map(piece)
            .collect();
        if let Some(found) = find(&wanted, text, start, end) {
            return found;
        }
    }
    Found::Nowhere
}

/// Where a quote was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// In these lines, first and last; `wrong` of its lines are not there.
    At {
        /// First line.
        first: u32,
        /// Last line.
        last: u32,
        /// Lines of the quote that are missing there.
        wrong: usize,
        /// Lines of the quote in all.
        of: usize,
    },
    /// The file does not contain it.
    Nowhere,
    /// The quote is empty.
    Empty,
}

/// How the lines of a quote can be read: as they are, as a diff's new side, with line numbers before them.
const READINGS: &[fn(&str) -> Option<&str>] = &[
    |line| Some(line),
    |line| match line.as_bytes().first() {
        Some(b'-') => None,
        Some(b'+' | b' ') => line.get(1..),
        _ if line.starts_with("@@") => None,
        _ => Some(line),
    },
    |line| {
        let rest = line.trim_start().trim_start_matches(['L', '>', ' ']);
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        Some(rest.trim_start_matches([':', '|', '→', '\t']))
    },
];

/// A line without its white space; `None` for an ellipsis (`…`).
fn piece(line: &str) -> Option<String> {
    let bare: String = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let inner = bare.trim_matches(|c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '/' | '*' | '#' | '-' | '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | ';'
            )
    });
    if !bare.is_empty() && matches!(inner, "..." | "…" | "snip") {
        return None;
    }
    Some(bare)
}

fn find(
    wanted: &[Option<String>],
    text: &str,
    start: Option<u32>,
    end: Option<u32>,
) -> Option<Found> {
    // Runs of lines between the gaps; blank lines do not matter.
    let mut runs: Vec<Vec<&str>> = vec![Vec::new()];
    for line in wanted {
        match line.as_deref() {
            None => runs.push(Vec::new()),
            Some("") => {}
            Some(line) => {
                if let Some(run) = runs.last_mut() {
                    run.push(line);
                }
            }
        }
    }
    runs.retain(|run| !run.is_empty());
    let of: usize = runs.iter().map(Vec::len).sum();
    if of == 0 {
        return Some(Found::Empty);
    }
    let file: Vec<(u32, String)> = text
        .lines()
        .zip(1u32..)
        .map(|(line, number)| {
            (
                number,
                line.split_whitespace().collect::<Vec<_>>().join(" "),
            )
        })
        .filter(|(_, line)| !line.is_empty())
        .collect();
    let claimed = start.unwrap_or(1);
    let distance = |first: u32, last: u32| {
        let until = end.unwrap_or(claimed).max(claimed);
        if last < claimed {
            claimed - last
        } else {
            first.saturating_sub(until)
        }
    };
    let mut best: Option<(usize, u32, u32, u32)> = None;
    for at in 0..file.len() {
        let Some((wrong, first, last)) = matches_at(&runs, &file, at) else {
            continue;
        };
        if ((of - wrong) as f64) < ENOUGH * of as f64 {
            continue;
        }
        let candidate = (wrong, distance(first, last), first, last);
        if best.is_none_or(|known| candidate < known) {
            best = Some(candidate);
        }
    }
    best.map(|(wrong, _, first, last)| Found::At {
        first,
        last,
        wrong,
        of,
    })
}

/// How many lines are wrong when the first run begins at `at`, and the first and last line of the match.
fn matches_at(runs: &[Vec<&str>], file: &[(u32, String)], at: usize) -> Option<(usize, u32, u32)> {
    let first_run = runs.first()?;
    let (mut wrong, mut next, last) = run_at(first_run, file, at)?;
    let (first, mut last) = (file[at].0, last);
    for run in &runs[1..] {
        let later = (next..file.len()).find_map(|from| {
            let (missing, after, last) = run_at(run, file, from)?;
            (missing == 0).then_some((after, last))
        });
        match later {
            Some((after, end)) => {
                next = after;
                last = end;
            }
            None => wrong += run.len(),
        }
    }
    Some((wrong, first, last))
}

/// A run whose first line is at `at`: its lines one after the other, some of which may be wrong. Returns the
/// missing ones, the index behind the match, and its last line.
fn run_at(run: &[&str], file: &[(u32, String)], at: usize) -> Option<(usize, usize, u32)> {
    if !alike(run.first()?, &file.get(at)?.1) {
        return None;
    }
    let mut wrong = 0;
    let mut last = file[at].0;
    for (offset, line) in run.iter().enumerate() {
        match file.get(at + offset) {
            Some((number, there)) if alike(line, there) => last = *number,
            _ => wrong += 1,
        }
    }
    Some((wrong, at + run.len(), last))
}

/// A quoted line may be cut at either end, but not to a stub.
fn alike(quoted: &str, there: &str) -> bool {
    quoted == there || (quoted.len() >= 12 && there.contains(quoted))
}

/// Checks the quote of a finding and corrects its lines.
pub fn check(finding: &mut Finding, files: &Files) {
    let (Some(quote), Some(place)) = (&finding.quote, finding.locations.first_mut()) else {
        return;
    };
    let Some(text) = files.text(&place.path) else {
        return;
    };
    let (result, detail) = match check_quote(quote, &text, place.start, place.end) {
        Found::Empty => return,
        Found::Nowhere => (
            CheckResult::Refuted,
            format!("the quoted code is not in {}", place.path),
        ),
        Found::At {
            first,
            last,
            wrong,
            of,
        } => {
            let here = lines(first, last);
            let except = match wrong {
                0 => String::new(),
                wrong => format!(", except {wrong} of its {of} lines"),
            };
            let said = place
                .start
                .map(|start| (start, place.end.unwrap_or(start).max(start)));
            let (result, detail) = match said {
                Some((start, end)) if first <= end && start <= last => {
                    let result = if wrong == 0 {
                        CheckResult::Confirmed
                    } else {
                        CheckResult::Corrected
                    };
                    (result, format!("the quote is at {here}{except}"))
                }
                Some((start, end)) => (
                    CheckResult::Corrected,
                    format!("the quote is at {here}, not {}{except}", lines(start, end)),
                ),
                None => (
                    CheckResult::Corrected,
                    format!("the quote is at {here}{except}"),
                ),
            };
            let moved = said.is_none_or(|(start, end)| first > end || start > last);
            if moved {
                place.start = Some(first);
                place.end = Some(last);
                // The reviewer's lines are wrong, and `place` now has the corrected ones.
                if let Some(known) = finding
                    .checks
                    .iter_mut()
                    .find(|c| c.kind == CheckKind::Lines)
                {
                    known.result = CheckResult::Corrected;
                    known.detail = format!("{}; corrected to {here} by the quote", known.detail);
                }
            }
            (result, detail)
        }
    };
    finding
        .checks
        .push(Check::new(CheckKind::Quote, result, detail));
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "fn a() {\n    let x = 1;\n    use_it(x);\n}\n\nfn b() {\n    let x = 1;\n    drop(x);\n}\n";

    fn at(first: u32, last: u32, wrong: usize, of: usize) -> Found {
        Found::At {
            first,
            last,
            wrong,
            of,
        }
    }

    #[test]
    fn quotes_are_found() {
        for (quote, start, found) in [
            ("let x = 1;\nuse_it(x);", 2, at(2, 3, 0, 2)),
            ("\tlet x  = 1;", 7, at(7, 7, 0, 1)),
            ("let x = 1;", 1, at(2, 2, 0, 1)),
            (
                "+    let x = 1;\n-    old(x);\n+    drop(x);",
                1,
                at(7, 8, 0, 2),
            ),
            ("fn a() {\n    // ...\n    use_it(x);", 1, at(1, 3, 0, 2)),
            ("6: fn b() {\n7:     let x = 1;", 1, at(6, 7, 0, 2)),
            (
                "fn b() {\n    let x = 1;\n    drop(y);\n}",
                1,
                at(6, 9, 1, 4),
            ),
            ("let y = 2;", 1, Found::Nowhere),
            ("\n  \n", 1, Found::Empty),
        ] {
            assert_eq!(
                check_quote(quote, FILE, Some(start), None),
                found,
                "{quote}"
            );
        }
    }
}
