//! JSON findings between the parts of a review in Markdown, as opposed to JSON that the reviewer quotes.
//!
//! A change can contain `{"findings": []}`, and a reviewer quotes it. Quoted is what follows a finding's headline or a label
//! such as `Fix:` directly, what is in a fence of another language, and what is below a finding about a JSON file. The
//! reviewer's own JSON is a fence of its own or begins a line, and holds findings.

use serde_json::Value;

use super::headline::headline;
use super::lines::{Kind, Line, is_quoted_below, language, lines};
use crate::parse::json::holds_findings;

/// The values that are tried at most: a parse that fails costs what it read.
const MOST: usize = 32;

/// The reviewer's own JSON findings in a text, and the text without them.
pub(in crate::parse) fn own_json(text: &str) -> (Vec<Value>, String) {
    let lines = lines(text);
    let mut values = Vec::new();
    let mut around = Vec::new();
    let mut tries = MOST;
    let mut at = 0;
    while at < lines.len() {
        let end = match block(&lines, at) {
            Some(end) if tries > 0 && !is_quoted(&lines, at) => end,
            _ => {
                around.push(lines[at].text);
                at += 1;
                continue;
            }
        };
        tries -= 1;
        let inside: Vec<&str> = lines[at..end]
            .iter()
            .filter(|line| line.kind != Kind::Fence)
            .map(|line| line.text)
            .collect();
        match serde_json::from_str::<Value>(&inside.join("\n")) {
            Ok(value) if holds_findings(&value) => {
                values.push(value);
                at = end;
            }
            _ => {
                around.push(lines[at].text);
                at += 1;
            }
        }
    }
    (values, around.join("\n"))
}

/// The end of the block of lines at `at` that may be one JSON value: a fence of JSON, or lines up to a blank one.
fn block(lines: &[Line<'_>], at: usize) -> Option<usize> {
    let line = lines.get(at)?;
    let starts = |line: &Line<'_>| line.text.trim_start().starts_with(['{', '[']);
    match line.kind {
        Kind::Fence
            if matches!(
                language(line.text).to_lowercase().as_str(),
                "" | "json" | "jsonc" | "json5"
            ) =>
        {
            let code = lines[at + 1..]
                .iter()
                .take_while(|l| l.kind == Kind::Code)
                .count();
            let end = at + 1 + code;
            let closed = lines.get(end).is_some_and(|l| l.kind == Kind::Fence);
            let first = lines[at + 1..end]
                .iter()
                .find(|l| !l.text.trim().is_empty())?;
            (closed && starts(first)).then_some(end + 1)
        }
        Kind::Text if starts(line) => {
            let last = lines[at..]
                .iter()
                .position(|l| l.kind != Kind::Text || l.text.trim().is_empty())
                .unwrap_or(lines.len() - at);
            // A line that is a value as a whole needs no blank line behind it.
            let alone = serde_json::from_str::<Value>(line.text).is_ok();
            Some(if alone { at + 1 } else { at + last })
        }
        _ => None,
    }
}

fn is_quoted(lines: &[Line<'_>], at: usize) -> bool {
    let mut before = lines[..at]
        .iter()
        .rev()
        .filter(|line| line.kind == Kind::Text);
    let above = before.clone().find(|line| !line.text.trim().is_empty());
    if above.is_some_and(|line| is_quoted_below(line.text)) {
        return true;
    }
    let finding = before.find(|line| opens_a_finding(line.text));
    finding
        .and_then(|line| headline(line.text))
        .is_some_and(|head| {
            head.locations
                .iter()
                .any(|place| place.path.to_lowercase().contains(".json"))
        })
}

/// Whether a line opens a finding.
pub(super) fn opens_a_finding(line: &str) -> bool {
    headline(line).is_some_and(|head| !head.id.is_empty() || !head.locations.is_empty())
}
