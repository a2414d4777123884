//! What is under a finding's headline: quoted code, explanation, fix, evidence.

use super::headline;
use super::lines::{Kind, Line, language};
use super::severity::leading_severity;
use crate::model::{Evidence, Finding, Location};

/// One piece of a body.
enum Block {
    Text(String),
    Code { language: String, text: String },
}

fn blocks(lines: &[Line<'_>]) -> Vec<Block> {
    let mut result = Vec::new();
    let mut text = String::new();
    let mut code: Option<(String, String)> = None;
    for line in lines {
        match (line.kind, &mut code) {
            (Kind::Fence, None) => {
                flush(&mut text, &mut result);
                code = Some((language(line.text).to_lowercase(), String::new()));
            }
            (Kind::Fence, Some(_)) => {
                if let Some((language, text)) = code.take() {
                    result.push(Block::Code { language, text });
                }
            }
            (Kind::Code, Some((_, content))) => {
                content.push_str(line.text);
                content.push('\n');
            }
            // Text behind a fence that never closes.
            (_, Some(_)) => {
                if let Some((language, content)) = code.take() {
                    result.push(Block::Code {
                        language,
                        text: content,
                    });
                }
                push_line(&mut text, line.text);
            }
            (_, None) => push_line(&mut text, line.text),
        }
    }
    if let Some((language, text)) = code {
        result.push(Block::Code { language, text });
    }
    flush(&mut text, &mut result);
    result
}

fn push_line(text: &mut String, line: &str) {
    // A blank line ends a paragraph; so does the start of a labelled one.
    text.push_str(line);
    text.push('\n');
}

fn flush(text: &mut String, result: &mut Vec<Block>) {
    for paragraph in text.split("\n\n").flat_map(labelled) {
        if !paragraph.trim().is_empty() && !is_rule(paragraph) {
            result.push(Block::Text(paragraph.trim_matches('\n').to_owned()));
        }
    }
    text.clear();
}

/// Cuts a paragraph before its lines that begin with a label in bold: `**Severity:** …`, `- **File**: …`.
fn labelled(paragraph: &str) -> Vec<&str> {
    let mut result = Vec::new();
    let (mut from, mut at) = (0, 0);
    for line in paragraph.split_inclusive('\n') {
        let bold = line.trim_start_matches(['-', ' ']).starts_with("**");
        if at > from && bold && label(line).is_some() {
            result.push(&paragraph[from..at]);
            from = at;
        }
        at += line.len();
    }
    result.push(&paragraph[from..]);
    result
}

fn is_rule(text: &str) -> bool {
    let text = text.trim();
    text.len() >= 3 && (text.chars().all(|c| c == '-') || text.chars().all(|c| c == '*'))
}

/// What is before a colon and says what follows.
const LABELS: [&str; 22] = [
    "fix",
    "suggested fix",
    "suggested change",
    "remediation",
    "proposed fix",
    "recommended fix",
    "suggestion",
    "recommendation",
    "repro",
    "reproduction",
    "evidence",
    "verified",
    "verification",
    "file",
    "files",
    "location",
    "line",
    "lines",
    "problem",
    "severity",
    "priority",
    "output",
];

/// Whether a word, in lower case, is one.
pub(super) fn is_label(name: &str) -> bool {
    LABELS.contains(&name)
}

/// The label that a paragraph begins with, in lower case, and what follows: `**Fix:** do` → (`fix`, `do`).
fn label(text: &str) -> Option<(String, &str)> {
    let line = text.trim_start().trim_start_matches(['*', '-', ' ', '_']);
    let colon = line.find(':')?;
    let name = line[..colon].trim_matches(['*', '_', ' ']).to_lowercase();
    let rest = line[colon + 1..]
        .trim_start_matches(['*', '_'])
        .trim_start();
    is_label(&name).then_some((name, rest))
}

/// Whether a line is a label, so that what follows it is a quotation or a fix.
pub(super) fn is_labelled(line: &str) -> bool {
    label(line).is_some()
}

fn is_console(language: &str) -> bool {
    matches!(
        language,
        "console" | "shell-session" | "terminal" | "shellsession"
    )
}

/// Fills in what the lines under the headline say.
pub(super) fn fill(finding: &mut Finding, lines: &[Line<'_>]) {
    let mut explanation: Vec<String> = Vec::new();
    let mut fix: Vec<String> = Vec::new();
    let mut in_fix = false;
    let mut in_evidence = false;
    let (tags, lines): (Vec<Line<'_>>, Vec<Line<'_>>) = lines
        .iter()
        .partition(|line| line.kind == Kind::Text && headline::tag_line(line.text).is_some());
    for tags in tags.iter().filter_map(|line| headline::tag_line(line.text)) {
        finding.severity = tags.severity.unwrap_or(finding.severity);
        finding.class = tags.class.or(finding.class);
        finding.scope = tags.scope.or(finding.scope);
    }
    for block in blocks(&lines) {
        match block {
            Block::Code { language, text } if matches!(language.as_str(), "diff" | "patch") => {
                // A diff before any code is still the fix: code is not quoted as a diff.
                fix.insert(0, text);
            }
            Block::Code { language, text } if is_console(&language) || in_evidence => {
                evidence(finding, &text);
                in_evidence = false;
            }
            Block::Code { text, .. } if finding.quote.is_none() && !in_fix => {
                finding.quote = Some(text);
            }
            Block::Code { language, text } => {
                let fenced = format!("```{language}\n{text}```");
                if in_fix {
                    fix.push(fenced);
                } else {
                    explanation.push(fenced);
                }
            }
            Block::Text(text) => match label(&text) {
                Some((name, rest))
                    if name.contains("fix")
                        || matches!(
                            name.as_str(),
                            "recommendation" | "suggestion" | "suggested change" | "remediation"
                        ) =>
                {
                    in_fix = true;
                    if !rest.trim().is_empty() {
                        fix.push(rest.to_owned());
                    }
                }
                Some((name, rest)) if matches!(name.as_str(), "file" | "files" | "location") => {
                    let (line, below) = rest.split_once('\n').unwrap_or((rest, ""));
                    finding.locations.extend(super::place::locations(line));
                    explanation.extend((!below.is_empty()).then(|| below.to_owned()));
                }
                Some((name, rest)) if matches!(name.as_str(), "line" | "lines") => {
                    lines_of(finding, rest.lines().next().unwrap_or(""));
                }
                Some((name, rest)) if matches!(name.as_str(), "severity" | "priority") => {
                    let (line, below) = rest.split_once('\n').unwrap_or((rest, ""));
                    if let Some(severity) = leading_severity(line) {
                        finding.severity = severity;
                    }
                    explanation.extend((!below.is_empty()).then(|| below.to_owned()));
                }
                Some((name, _)) if name.starts_with("repro") || name == "evidence" => {
                    in_evidence = true;
                    explanation.push(text);
                }
                _ if in_fix => fix.push(text),
                _ => explanation.push(text),
            },
        }
    }
    finding.explanation = explanation.join("\n\n");
    place_from_text(finding);
    if !fix.is_empty() {
        // The diff alone when there is one, so that it can be applied; the prose goes to the explanation.
        if fix[0].lines().any(|l| l.starts_with(['+', '-'])) && !fix[0].starts_with("```") {
            let prose = fix.split_off(1);
            if !prose.is_empty() {
                finding.explanation.push_str("\n\nFix: ");
                finding.explanation.push_str(&prose.join("\n\n"));
            }
        }
        finding.fix = Some(fix.join("\n\n"));
    }
}

/// `**Lines:** 3-7` below `**File:** a.rs`.
fn lines_of(finding: &mut Finding, text: &str) {
    if let (Some(last), Some((start, end))) = (
        finding.locations.last_mut().filter(|l| l.start.is_none()),
        super::place::range(text.trim_matches(|c: char| !c.is_ascii_digit())),
    ) {
        (last.start, last.end) = (Some(start), end);
    }
}

/// What the labels under a headline say.
pub(super) struct Labels {
    pub(super) severity: bool,
    pub(super) place: bool,
}

/// Whether labels under a headline say how bad it is, and where.
pub(super) fn labels_in(lines: &[Line<'_>]) -> Labels {
    let mut found = Labels {
        severity: false,
        place: false,
    };
    let text = lines.iter().filter(|line| line.kind == Kind::Text);
    for (name, _) in text.filter_map(|line| label(line.text)) {
        found.severity |= matches!(name.as_str(), "severity" | "priority");
        found.place |= matches!(name.as_str(), "file" | "files" | "location");
    }
    found
}

/// A heading without a place: the first one that the title, else the explanation, names in backticks with a line or
/// a folder before it.
fn place_from_text(finding: &mut Finding) {
    if !finding.locations.is_empty() {
        return;
    }
    // A title names every place that it is about.
    let parts: Vec<&str> = finding.title.split('`').collect();
    let named = (1..parts.len())
        .step_by(2)
        .flat_map(|at| super::place::locations(parts[at]));
    let places: Vec<Location> = named
        .filter(|place| place.path.contains('.') && place.start.is_some())
        .collect();
    if places.len() > 1 {
        finding.locations = places;
        return;
    }
    for text in [finding.title.clone(), finding.explanation.clone()] {
        let parts: Vec<&str> = text.split('`').collect();
        let place = (1..parts.len())
            .step_by(2)
            .filter(|at| !parts[*at].contains(char::is_whitespace))
            .flat_map(|at| {
                super::place::locations(parts[at])
                    .into_iter()
                    .map(move |l| (at, l))
            })
            .find(|(_, l)| l.path.contains('.') && (l.start.is_some() || l.path.contains('/')));
        if let Some((at, place)) = place {
            finding.locations.push(place);
            // `a.rs` lines 3-7
            let behind = parts
                .get(at + 1)
                .map_or("", |text| text.trim_start_matches([',', ' ', '(']));
            if let Some(lines) = behind.strip_prefix("line") {
                let lines = lines.trim_start_matches(['s', ' ']);
                let end = lines.find(|c: char| !c.is_ascii_digit() && !matches!(c, '-' | '–'));
                lines_of(finding, &lines[..end.unwrap_or(lines.len())]);
            }
            return;
        }
    }
}

/// `$ command` lines with what they printed.
fn evidence(finding: &mut Finding, text: &str) {
    let mut current: Option<Evidence> = None;
    for line in text.lines() {
        if let Some(command) = line.trim_start().strip_prefix("$ ") {
            finding.evidence.extend(current.take());
            current = Some(Evidence {
                command: command.to_owned(),
                output: None,
            });
        } else if let Some(found) = &mut current {
            let output = found.output.get_or_insert_default();
            output.push_str(line);
            output.push('\n');
        }
    }
    finding.evidence.extend(current);
}
