//! Findings in reviews that have neither the headings nor the headlines of the usual ones: comments under the name of
//! their file, lines that begin with a label, list items with a place somewhere, rows of a table, and prose.
//!
//! ```text
//! **src/queue.go**                                     issue (blocking): src/queue.c:411 — The lock is released early
//! - L45: [blocker] The context is cancelled            P1 - src/queue.c:87: Use the safe variant
//! | 1 | High | `src/a.ts` | 88 | The cookie lacks … |  The worst is in src/a.go:9: … (blocker).
//! ```
//!
//! Used only if the ordinary parser found nothing.

use std::sync::LazyLock;

use regex::Regex;

use super::headline::{Headline, headline, placed_item, regex};
use super::lines::{Kind, Line};
use super::place::{locations, only_places, range};
use super::section::heading;
use super::severity::{leading_severity, severity};
use super::table::{Table, tables};
use crate::model::{Location, Severity};

/// The longest title that is made of a sentence, in characters.
const LONGEST_TITLE: usize = 120;

static LINES: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?i)^\*{0,2}(?:L|lines? )(\d+(?:\s*[-–]\s*L?\d+)?)\*{0,2}\s*[:—–-]+\s*\*{0,2}\s*")
});

/// `nit:`, `[major]`, `**P1** -`, and <https://conventionalcomments.org>: `issue (blocking):`.
static LABEL: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)^[*\[]*(critical|important|blocker|blocking|major|minor|nitpick|nit|high|medium|low|warning|trivial|optional|p[0-4]|issue|bug|suggestion|todo|chore|question|thought|typo|polish|quibble)([*\]]*)\s*(?:\(([^)]{1,40})\))?([*\]]*(?:\s*:|\s+[—–-])?)\**\s+",
    )
});

/// A finding that is not a headline followed by lines.
pub(super) struct Loose {
    pub(super) head: Headline,
    pub(super) explanation: String,
    pub(super) fix: Option<String>,
}

/// The lines that are findings, as comments are written: each with a severity or under its file, and with a place.
pub(super) fn comments(lines: &[Line<'_>]) -> Vec<(usize, Headline)> {
    let mut result = Vec::new();
    let mut file: Option<String> = None;
    for (at, line) in lines.iter().enumerate() {
        if line.kind != Kind::Text || line.text.starts_with([' ', '\t']) {
            continue;
        }
        if let Some((_, title)) = heading(line.text) {
            file = file_of(title);
            continue;
        }
        if let Some(name) = names_a_file(line.text) {
            file = Some(name);
            continue;
        }
        result.extend(comment(line.text, file.as_deref()).map(|head| (at, head)));
    }
    result
}

/// Whether a line ends the comment above it: a heading, the name of another file, a word of praise.
pub(super) fn ends_comment(line: &Line<'_>) -> bool {
    let praise = |text: &str| {
        text.get(..7)
            .is_some_and(|word| word.eq_ignore_ascii_case("praise:"))
    };
    line.kind == Kind::Text
        && (heading(line.text).is_some()
            || names_a_file(line.text).is_some()
            || praise(unlisted(line.text).trim_start_matches('*')))
}

/// `src/a.rs:` alone on its line.
fn names_a_file(line: &str) -> Option<String> {
    let line = line.trim_end();
    let folded = line.starts_with("<summary>").then_some(line);
    file_of(line.strip_suffix(':').or(folded)?)
}

/// The file that a heading names, when it names nothing else.
fn file_of(title: &str) -> Option<String> {
    // What a comment on a pull request folds away.
    let title = title
        .strip_prefix("<summary>")
        .map_or(title, |rest| rest.trim_end_matches("</summary>"));
    if !only_places(title) {
        return None;
    }
    match locations(title).as_slice() {
        [one] if one.start.is_none() => Some(one.path.clone()),
        _ => None,
    }
}

fn comment(line: &str, file: Option<&str>) -> Option<Headline> {
    let text = unlisted(line);
    let (mut places, mut rest) = (Vec::new(), text);
    if let Some((path, found)) = file.zip(LINES.captures(text)) {
        places = place_of(path, &found[1]);
        rest = &text[found[0].len()..];
    }
    // In brackets, bold, or with a colon behind it; else it is the first word of a sentence.
    let label = LABEL
        .captures(rest)
        .filter(|found| !found[2].is_empty() || !found[4].is_empty());
    let severity = match &label {
        Some(found) => of_label(&found[1], found.get(3).map(|m| m.as_str())),
        None => rest.chars().next().and_then(of_colour),
    };
    if let Some(found) = &label {
        rest = &rest[found[0].len()..];
    } else if severity.is_some() {
        rest = rest.trim_start_matches(|c: char| of_colour(c).is_some() || c == ' ');
    }
    if places.is_empty() {
        severity?;
        let end = rest.find(char::is_whitespace)?;
        let (place, words) = rest.split_at(end);
        if !only_places(place) {
            return None;
        }
        places = locations(place);
        rest = words
            .trim_start()
            .trim_start_matches([':', '—', '–', '-', ' ']);
    }
    let title = first_sentence(rest);
    (!places.is_empty() && !title.is_empty()).then(|| Headline {
        title,
        locations: places,
        severity,
        is_item: true,
        ..Headline::default()
    })
}

/// The traffic light that many put before a remark.
fn of_colour(c: char) -> Option<Severity> {
    match c {
        '🔴' => Some(Severity::Critical),
        '🟠' | '🟡' => Some(Severity::Important),
        '🟢' | '🔵' | '⚪' => Some(Severity::Suggestion),
        _ => None,
    }
}

/// Conventional comments say what a remark is, and whether the change has to wait for it.
fn of_label(label: &str, decoration: Option<&str>) -> Option<Severity> {
    let decoration = decoration.unwrap_or("").to_lowercase();
    if decoration.contains("non-blocking") || decoration.contains("if-minor") {
        return Some(Severity::Suggestion);
    }
    let of_word = severity(label).unwrap_or(match label.to_lowercase().as_str() {
        "issue" | "bug" => Severity::Important,
        _ => Severity::Suggestion,
    });
    if decoration.contains("blocking") {
        return Some(Severity::Critical);
    }
    Some(severity(&decoration).unwrap_or(of_word))
}

fn place_of(path: &str, lines: &str) -> Vec<Location> {
    let (start, end) = range(lines).map_or((None, None), |(start, end)| (Some(start), end));
    vec![Location {
        path: path.to_owned(),
        start,
        end,
    }]
}

/// The list items with a place, whatever surrounds it. Only for sections of findings, where an item is one.
pub(super) fn items(lines: &[Line<'_>]) -> Vec<(usize, Headline)> {
    lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.kind == Kind::Text && unlisted(line.text) != line.text)
        .filter_map(|(at, line)| Some((at, item(line.text)?)))
        .collect()
}

fn item(line: &str) -> Option<Headline> {
    if let Some(head) = placed_item(line) {
        return Some(head);
    }
    let text = unlisted(line);
    if text.starts_with("**") {
        let head = headline(text).filter(|head| !head.locations.is_empty())?;
        return Some(Headline {
            is_item: !head.rest.is_empty(),
            ..head
        });
    }
    let (places, words) = leading_place(text).unwrap_or_else(|| (named_places(text), text));
    let title = first_sentence(words);
    (!places.is_empty() && !title.is_empty()).then(|| Headline {
        title,
        locations: places,
        is_item: true,
        ..Headline::default()
    })
}

/// `src/a.rs:3: words`, and with a dash.
fn leading_place(text: &str) -> Option<(Vec<Location>, &str)> {
    let (place, words) = text.split_once(char::is_whitespace)?;
    let named = place.trim_end_matches(':');
    let words = words.trim_start_matches(['—', '–', '-', ' ']);
    let places = if only_places(named) {
        locations(named)
    } else {
        Vec::new()
    };
    (!places.is_empty() && places.iter().all(|place| place.path.contains('.')))
        .then_some((places, words))
}

/// The places with lines in a text; what has none may be anything with a dot in it.
fn named_places(text: &str) -> Vec<Location> {
    let mut found = locations(text);
    found.retain(|place| place.start.is_some() && place.path.contains('.'));
    found
}

/// The rows of tables that have a column for the place and one for what is wrong there.
pub(super) fn rows(lines: &[Line<'_>], needs_severity: bool) -> Vec<Loose> {
    tables(lines)
        .iter()
        .flat_map(|table| rows_of(table, needs_severity))
        .collect()
}

fn rows_of(table: &Table, needs_severity: bool) -> Vec<Loose> {
    let column = |names: &[&str]| {
        names.iter().find_map(|name| {
            table.header.iter().position(|cell| {
                let cell = cell.to_lowercase();
                cell.split(|c: char| !c.is_alphanumeric())
                    .any(|word| word == *name)
            })
        })
    };
    let (Some(file), Some(what)) = (
        column(&["file", "files", "location", "path", "where", "place"]),
        column(&[
            "issue",
            "finding",
            "title",
            "problem",
            "description",
            "comment",
            "what",
            "summary",
        ]),
    ) else {
        return Vec::new();
    };
    let severity = column(&["severity", "priority", "level", "impact"]);
    let (line, fix) = (
        column(&["line", "lines"]),
        column(&[
            "recommendation",
            "suggestion",
            "fix",
            "remediation",
            "action",
        ]),
    );
    let more = column(&["description", "details", "explanation", "why"]).filter(|c| *c != what);
    if file == what || needs_severity && severity.is_none() {
        return Vec::new();
    }
    table
        .rows
        .iter()
        .filter_map(|row| {
            let cell = |at: Option<usize>| at.and_then(|at| row.get(at)).map_or("", String::as_str);
            let mut places = locations(cell(Some(file)));
            if let ([one], Some(_)) = (places.as_slice(), range(cell(line)))
                && one.start.is_none()
            {
                places = place_of(&one.path.clone(), cell(line));
            }
            let title = cell(Some(what)).replace("**", "");
            let explanation = cell(more).to_owned();
            let said = leading_severity(cell(severity));
            (!places.is_empty() && !title.is_empty() && (said.is_some() || !needs_severity)).then(
                || Loose {
                    head: Headline {
                        title: shortened(&title),
                        locations: places,
                        severity: said,
                        ..Headline::default()
                    },
                    explanation: if explanation.is_empty() {
                        title
                    } else {
                        explanation
                    },
                    fix: Some(cell(fix).to_owned()).filter(|fix| !fix.is_empty()),
                },
            )
        })
        .collect()
}

/// The sentences that name both a place with a line and how bad it is there. What says only one of them may be about
/// anything.
pub(super) fn prose(lines: &[Line<'_>]) -> Vec<Loose> {
    let mut result = Vec::new();
    let text: Vec<&str> = lines
        .iter()
        .map(|line| {
            if line.kind == Kind::Text {
                line.text
            } else {
                ""
            }
        })
        .collect();
    for paragraph in text.join("\n").split("\n\n") {
        let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        for sentence in sentences(&paragraph) {
            let places = named_places(sentence);
            let word = sentence
                .split(|c: char| !c.is_alphanumeric() && c != '-')
                .find_map(plain_severity);
            let (Some(severity), false) = (word, places.is_empty()) else {
                continue;
            };
            // `in src/a.go:9: what is wrong`.
            let said = sentence
                .split_whitespace()
                .find(|word| word.ends_with(':') && only_places(word.trim_end_matches(':')))
                .and_then(|word| sentence.split_once(word))
                .map_or(sentence, |(_, behind)| behind);
            result.push(Loose {
                head: Headline {
                    title: shortened(said.trim().trim_end_matches('.')),
                    locations: places,
                    severity: Some(severity),
                    ..Headline::default()
                },
                explanation: sentence.to_owned(),
                fix: None,
            });
        }
    }
    result
}

/// Words of a severity that mean little else in a sentence.
fn plain_severity(word: &str) -> Option<Severity> {
    let word = word.to_lowercase();
    matches!(
        word.as_str(),
        "critical"
            | "blocker"
            | "blocking"
            | "major"
            | "minor"
            | "nit"
            | "nitpick"
            | "p0"
            | "p1"
            | "p2"
            | "p3"
    )
    .then(|| severity(&word))?
}

fn sentences(text: &str) -> Vec<&str> {
    let mut result = Vec::new();
    let mut from = 0;
    for (at, _) in text.match_indices(". ") {
        if text[at + 2..].starts_with(|c: char| c.is_uppercase() || c == '`') {
            result.push(&text[from..=at]);
            from = at + 2;
        }
    }
    result.push(&text[from..]);
    result
}

fn first_sentence(text: &str) -> String {
    shortened(
        sentences(text.trim())
            .first()
            .map_or("", |s| s.trim().trim_end_matches('.')),
    )
}

/// Cut at a word, so that it is a title.
fn shortened(text: &str) -> String {
    let text = text.replace("**", "");
    let Some((end, _)) = text.char_indices().nth(LONGEST_TITLE) else {
        return text;
    };
    let cut = text[..end]
        .rsplit_once(' ')
        .map_or(&text[..end], |(before, _)| before);
    format!("{}…", cut.trim_end_matches([',', ';', ':']))
}

/// Without the mark of a list.
pub(super) fn unlisted(text: &str) -> &str {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let rest = if (1..=2).contains(&digits) {
        text[digits..]
            .strip_prefix(". ")
            .or_else(|| text[digits..].strip_prefix(") "))
    } else {
        ["- ", "* ", "+ ", "• "]
            .iter()
            .find_map(|mark| text.strip_prefix(mark))
    };
    rest.unwrap_or(text).trim_start()
}
