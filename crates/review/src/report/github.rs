//! GitHub's pull request review, as the payload that creates a pending one.
//!
//! `POST /repos/{owner}/{repo}/pulls/{number}/reviews` without `event` leaves the review pending: its author reads it,
//! changes it and submits it. A comment on a line outside the diff makes GitHub refuse the whole review (422), so such
//! findings go to the body.

use serde_json::{Value, json};

use super::count::{by_severity, plural};
use super::replacement::replacements;
use crate::model::{CheckKind, CheckResult, Location, MergedFinding, Report};
use crate::report::harmless::harmless;
use crate::standing::{Standing, is_open, standing};

/// GitHub refuses bodies over 65,536 characters; the rest is room for the last line.
const LONGEST_BODY: usize = 65_000;

/// Bytes of unread text of a reviewer in the body.
const LONGEST_UNREAD: usize = 4_000;

/// The payload of a pending review: a comment for each open finding with a place in the diff, the others in the body.
pub fn github(report: &Report) -> Value {
    let report = &harmless(report);
    let mut comments = Vec::new();
    let mut elsewhere: Vec<&MergedFinding> = Vec::new();
    for finding in report.findings.iter().filter(|f| is_open(f)) {
        match place(report, finding) {
            Some((path, lines)) if standing(finding) != Standing::Refuted => {
                comments.push(match suggestion(report, finding) {
                    Some((path, lines, block)) => comment(finding, &path, lines, &block),
                    None => comment(finding, path, lines, ""),
                });
            }
            _ => elsewhere.push(finding),
        }
    }
    json!({
        "commit_id": report.target.head,
        "body": body(report, &elsewhere, comments.len()),
        "comments": comments,
    })
}

/// Where a comment can be: the first place of the finding that meets a hunk, cut to it.
fn place<'a>(report: &Report, finding: &'a MergedFinding) -> Option<(&'a str, (u32, u32))> {
    if report.target.changes.is_empty() {
        // Without the diff, the result of the check decides.
        let lead = &finding.lead;
        let inside = lead
            .checks
            .iter()
            .any(|c| c.kind == CheckKind::Diff && c.result == CheckResult::Confirmed);
        let first = lead.locations.first().filter(|_| inside)?;
        let line = first.start?;
        return Some((&first.path, (line, line)));
    }
    finding
        .lead
        .locations
        .iter()
        .find_map(|l| Some((l.path.as_str(), in_diff(report, l)?)))
}

fn in_diff(report: &Report, place: &Location) -> Option<(u32, u32)> {
    let start = place.start?;
    let end = place.end.unwrap_or(start).max(start);
    let change = report
        .target
        .changes
        .iter()
        .find(|c| c.path == place.path)?;
    change
        .hunks
        .iter()
        .map(|(first, last)| (start.max(*first), end.min(*last)))
        .find(|(from, to)| from <= to)
}

/// A fix that GitHub offers to commit: it replaces the very lines that the comment is on, so it is one piece of
/// lines, all of them in one piece of the diff.
fn suggestion(report: &Report, finding: &MergedFinding) -> Option<(String, (u32, u32), String)> {
    let all = replacements(&finding.lead)?;
    let [one] = all.as_slice() else { return None };
    // A hidden character that is written out is not the reviewer's code.
    let written_out = one.lines.iter().any(|line| line.contains("⟦U+"));
    if one.removed == 0 || written_out {
        return None;
    }
    let lines = (one.start, one.start + one.removed - 1);
    let place = Location {
        path: one.path.clone(),
        start: Some(lines.0),
        end: Some(lines.1),
    };
    if in_diff(report, &place) != Some(lines) {
        return None;
    }
    let text = one.lines.join("\n");
    // Longer than any fence in the code.
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let block = match text.is_empty() && one.lines.is_empty() {
        true => format!("\n\n{fence}suggestion\n{fence}\n"),
        false => format!("\n\n{fence}suggestion\n{text}\n{fence}\n"),
    };
    (block.len() < LONGEST_BODY / 2).then(|| (one.path.clone(), lines, block))
}

/// `code` is kept as it is: it is committed with a click.
fn comment(finding: &MergedFinding, path: &str, (start, end): (u32, u32), code: &str) -> Value {
    let mut comment = json!({
        "path": path,
        "line": end,
        "side": "RIGHT",
        "body": cut(&quiet(&super::markdown::finding_text(finding)), code),
    });
    if let (true, Some(comment)) = (start < end, comment.as_object_mut()) {
        comment.insert("start_line".to_owned(), start.into());
        comment.insert("start_side".to_owned(), "RIGHT".into());
    }
    comment
}

fn body(report: &Report, elsewhere: &[&MergedFinding], comments: usize) -> String {
    let counts = by_severity(report);
    let mut text =
        super::markdown::incomplete(report).map_or(String::new(), |words| format!("{words}\n\n"));
    text.push_str(&format!(
        "**Verdict: {}.** {}\n\n{}; {} on lines of the diff.\n\n",
        report.verdict.decision,
        super::markdown::inline(&report.verdict.reason),
        if counts.is_empty() {
            "No open finding".to_owned()
        } else {
            counts.join(", ")
        },
        plural(comments, "comment"),
    ));
    text.push_str(&super::markdown::summary(report));
    for (reviewer, unread) in super::complete::unread(report) {
        let end = unread.floor_char_boundary(LONGEST_UNREAD);
        text.push_str(&format!(
            "\n\n{} wrote what could not be read:\n\n{}",
            super::markdown::inline(reviewer),
            super::markdown::fenced("plain", &unread[..end])
        ));
    }
    for (number, finding) in elsewhere.iter().enumerate() {
        let more = format!("\n\n---\n\n{}", super::markdown::finding_text(finding));
        if text.len() + more.len() > LONGEST_BODY {
            let left = elsewhere.len() - number;
            text.push_str(&format!(
                "\n\n{} did not fit here; the report has them.",
                plural(left, "finding")
            ));
            break;
        }
        text.push_str(&more);
    }
    cut(&quiet(&text), "")
}

/// Both, with at most [`LONGEST_BODY`] bytes; the text is cut between characters.
fn cut(text: &str, code: &str) -> String {
    let room = LONGEST_BODY.saturating_sub(code.len());
    if text.len() <= room {
        return format!("{text}{code}");
    }
    let end = text.floor_char_boundary(room);
    format!("{}\n\n… (cut: too long for GitHub){code}", &text[..end])
}

/// The text with every `@name` broken by a zero-width space: a reviewer's text must not notify people.
fn quiet(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        result.push(c);
        if c == '@' && chars.peek().is_some_and(char::is_ascii_alphanumeric) {
            result.push('\u{200b}');
        }
    }
    result
}
