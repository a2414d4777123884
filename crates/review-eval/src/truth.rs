//! The truth about a report: which of the originals' findings belongs to which consolidated finding.
//!
//! A consolidated finding names its reviewers, not their findings. So for each reviewer (and each of their passes) the
//! originals are assigned to the consolidated findings and design concerns that name the reviewer, such that the sum of
//! the evidence is greatest and each takes at most one. The report's own statement about an original (`Gemini C1:
//! critical → important (I1)`, `Claude S3: dropped`) takes precedence over any likeness, and an original with too
//! little evidence is not assigned.

use std::sync::LazyLock;

use regex::Regex;

use super::assign::assign;
use review::merge::{self, Likeness};
use review::model::{Finding, Note, Severity};
use review::parse::markdown::ReportText;

/// One of the originals' findings.
pub(super) struct Voice<'a> {
    /// The reviewer in lower case, as the appendix names it.
    pub(super) reviewer: String,
    pub(super) pass: u32,
    pub(super) finding: &'a Finding,
}

/// The goal of an original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Index into the consolidated findings.
    Finding(usize),
    /// Index into the design concerns.
    Concern(usize),
}

/// The truth about one report.
pub(super) struct Truth<'a> {
    pub(super) voices: Vec<Voice<'a>>,
    /// For each of `voices`; `None`: people dropped it, or there is not enough evidence.
    pub(super) targets: Vec<Option<Target>>,
    /// Evidence of each assignment, for display.
    pub(super) evidence: Vec<f64>,
}

/// The least evidence for an assignment. An original below it has no goal: it was dropped, or became a note.
const FLOOR: f64 = 0.30;

/// The weight of the report's own statement about an original, greater than any likeness.
const SAID: f64 = 10.0;

pub(super) fn vendor(name: &str) -> String {
    name.trim_start_matches('[')
        .split(|c: char| !c.is_alphabetic())
        .next()
        .unwrap_or("")
        .to_lowercase()
}

/// Returns whether a name in brackets means the reviewer of an original, so that two Geminis stay two.
pub(super) fn same_reviewer(original: &str, bracket: &str, all: &[String]) -> bool {
    let of_vendor = all.iter().filter(|r| vendor(r) == vendor(original)).count();
    if of_vendor > 1
        && original.split_whitespace().count() > 1
        && bracket.split_whitespace().count() > 1
    {
        return original.eq_ignore_ascii_case(bracket);
    }
    vendor(original) == vendor(bracket)
}

/// Works out the truth about a report.
pub(super) fn truth(report: &ReportText) -> Truth<'_> {
    let voices: Vec<Voice<'_>> = report
        .originals
        .iter()
        .flat_map(|o| {
            o.review.findings.iter().map(|finding| Voice {
                reviewer: o.reviewer.to_lowercase(),
                pass: o.pass,
                finding,
            })
        })
        .collect();
    let concerns: Vec<Finding> = report
        .consolidated
        .concerns
        .iter()
        .map(as_finding)
        .collect();
    let goals: Vec<&Finding> = report
        .consolidated
        .findings
        .iter()
        .chain(&concerns)
        .collect();
    let findings = report.consolidated.findings.len();
    let known = report.reviewers();
    let said = said(&report.process_text, report);

    let plain: Vec<&Finding> = voices.iter().map(|v| v.finding).collect();
    let alike = merge::compare(&plain, &goals);
    let mut targets = vec![None; voices.len()];
    let mut evidence = vec![0.0; voices.len()];
    let mut passes: Vec<(String, u32)> = voices
        .iter()
        .map(|v| (v.reviewer.clone(), v.pass))
        .collect();
    passes.sort();
    passes.dedup();
    for (reviewer, pass) in passes {
        let mine: Vec<usize> = (0..voices.len())
            .filter(|i| voices[*i].reviewer == reviewer && voices[*i].pass == pass)
            .collect();
        let weights: Vec<Vec<f64>> = mine
            .iter()
            .map(|i| {
                let words = said
                    .iter()
                    .find(|s| s.vendor == vendor(&reviewer) && s.id == voices[*i].finding.id);
                goals
                    .iter()
                    .enumerate()
                    .map(|(g, goal)| {
                        let named = goal
                            .reviewers
                            .iter()
                            .any(|r| same_reviewer(&reviewer, r, &known));
                        match words.map(|w| &w.fate) {
                            Some(Fate::Became(id)) if g < findings && goal.id == *id => {
                                return SAID;
                            }
                            Some(Fate::Dropped) => return 0.0,
                            _ => {}
                        }
                        let found = weigh(&alike[*i][g]);
                        if named && found >= FLOOR { found } else { 0.0 }
                    })
                    .collect()
            })
            .collect();
        for (row, goal) in assign(&weights, goals.len()).into_iter().enumerate() {
            if let Some(goal) = goal {
                targets[mine[row]] = Some(if goal < findings {
                    Target::Finding(goal)
                } else {
                    Target::Concern(goal - findings)
                });
                evidence[mine[row]] = weights[row][goal];
            }
        }
    }
    Truth {
        voices,
        targets,
        evidence,
    }
}

/// Returns the evidence that an original belongs to a consolidated finding. The people who merged kept titles, quotes
/// and lines, so one strong sign is enough here, unlike between two reviewers.
fn weigh(alike: &Likeness) -> f64 {
    let text = 0.5 * alike.words.max(alike.title) + 0.25 * alike.title_overlap + 0.25 * alike.names;
    let place = 0.4 * alike.lines + 0.3 * alike.quote + 0.3 * alike.file;
    0.6 * text + 0.4 * place
}

/// Makes a finding of a note, with the note's bold words as title, so that it can be compared.
fn as_finding(note: &Note) -> Finding {
    let mut finding = Finding::new(
        "",
        Severity::Suggestion,
        note.text.lines().next().unwrap_or(""),
    );
    if let Some(title) = note
        .text
        .strip_prefix("**")
        .and_then(|t| t.split("**").next())
    {
        title.clone_into(&mut finding.title);
    }
    finding.locations = review::parse::markdown::places(note.text.lines().next().unwrap_or(""));
    finding.explanation.clone_from(&note.text);
    finding.reviewers.clone_from(&note.reviewers);
    finding
}

enum Fate {
    Became(String),
    Dropped,
}

struct Said {
    vendor: String,
    id: String,
    fate: Fate,
}

#[expect(
    clippy::unwrap_used,
    reason = "the pattern is a constant, and every run uses it"
)]
static ABOUT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[-*] \**([A-Z]\w+)[^:]{0,20}? ([CIS]\d{1,2})\b([^:]*):\**(.*)$").unwrap()
});
#[expect(
    clippy::unwrap_used,
    reason = "the pattern is a constant, and every run uses it"
)]
static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b([CIS]\d{1,2})\b").unwrap());

/// Returns what the report's notes on reconciliation say about single originals.
fn said(text: &str, report: &ReportText) -> Vec<Said> {
    let mut result = Vec::new();
    for line in text.lines() {
        let Some(found) = ABOUT.captures(line) else {
            continue;
        };
        let words = found[4].split(". ").next().unwrap_or("").to_lowercase();
        let fate = if words.contains("dropped") || words.contains("design observation") {
            Fate::Dropped
        } else {
            // `important → suggestion S2`, `critical → important (I1)`: the id after the arrow.
            let behind = found[4].split('→').next_back().unwrap_or("");
            let sentence = behind.split(". ").next().unwrap_or("");
            match ID.captures(sentence) {
                Some(id) if report.consolidated.findings.iter().any(|f| f.id == id[1]) => {
                    Fate::Became(id[1].to_owned())
                }
                _ => continue,
            }
        };
        result.push(Said {
            vendor: vendor(&found[1]),
            id: found[2].to_owned(),
            fate,
        });
    }
    result
}
