//! What stands under a finding's headline: quoted code, explanation, fix, evidence.

use super::headline;
use super::lines::{Kind, Line, language};
use crate::model::{Evidence, Finding};

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
    for paragraph in text.split("\n\n") {
        if !paragraph.trim().is_empty() && !is_rule(paragraph) {
            result.push(Block::Text(paragraph.trim_matches('\n').to_owned()));
        }
    }
    text.clear();
}

fn is_rule(text: &str) -> bool {
    let text = text.trim();
    text.len() >= 3 && (text.chars().all(|c| c == '-') || text.chars().all(|c| c == '*'))
}

/// The label that a paragraph begins with, in lower case, and what follows: `**Fix:** do` → (`fix`, `do`).
fn label(text: &str) -> Option<(String, &str)> {
    let line = text.trim_start().trim_start_matches(['*', '-', ' ', '_']);
    let colon = line.find(':')?;
    let name = line[..colon].trim_matches(['*', '_', ' ']).to_lowercase();
    let known = [
        "fix",
        "suggested fix",
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
        "problem",
        "severity",
        "output",
    ];
    let rest = line[colon + 1..]
        .trim_start_matches(['*', '_'])
        .trim_start();
    known.contains(&name.as_str()).then_some((name, rest))
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
    for block in blocks(lines) {
        match block {
            Block::Code { language, text } if matches!(language.as_str(), "diff" | "patch") => {
                // A diff before any code is still the fix: nobody quotes code as a diff.
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
                    if name.contains("fix") || name == "recommendation" || name == "suggestion" =>
                {
                    in_fix = true;
                    if !rest.trim().is_empty() {
                        fix.push(rest.to_owned());
                    }
                }
                Some((name, rest)) if matches!(name.as_str(), "file" | "files" | "location") => {
                    finding.locations.extend(super::place::locations(rest));
                }
                Some((name, rest)) if name == "severity" => {
                    if let Some(severity) = headline::severity(rest.trim_matches(['*', ' ', '.'])) {
                        finding.severity = severity;
                    }
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

/// A heading without a place: the first one that the title, else the explanation, names in backticks with a line or
/// a folder before it.
fn place_from_text(finding: &mut Finding) {
    if !finding.locations.is_empty() {
        return;
    }
    for text in [&finding.title, &finding.explanation] {
        let place = text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| !code.contains(char::is_whitespace))
            .flat_map(super::place::locations)
            .find(|l| l.path.contains('.') && (l.start.is_some() || l.path.contains('/')));
        if let Some(place) = place {
            finding.locations.push(place);
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
