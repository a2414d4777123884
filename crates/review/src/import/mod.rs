//! Merges reviews that exist already: a file a reviewer, or reports whose appendices contain the originals.

mod given;

use std::path::{Path, PathBuf};

pub use given::{GivenError, earlier};

use crate::merge;
use crate::model::{Outcome, Performance, Report, ReviewerRun, Target};
use crate::parse::markdown::{self, ReportText};
use crate::parse::{self, Format};
use crate::report;
use crate::rounds::{self, Code};

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// What it contains.
    pub bytes: Vec<u8>,
}

/// Imports files. Each report with an appendix becomes a report; all other files together become one, a
/// reviewer each, named after the file, for the target `name`. `now` stands where a report does not say its date (RFC 3339).
///
/// What is merged is held against `earlier` reports, the oldest first. There is no code to look at: what was declined
/// stays so unless other code is quoted, and what nobody raised again stays open.
pub fn import(inputs: &[Input], name: &str, earlier: &[Report], now: &str) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut single: Vec<ReviewerRun> = Vec::new();
    for Input { path, bytes } in inputs {
        let name = stem(path);
        if parse::detect(bytes) == Format::Markdown {
            let text = markdown::report(&String::from_utf8_lossy(bytes));
            if !text.originals.is_empty() {
                reports.push(from_text(&name, &text, now));
                continue;
            }
        }
        single.push(run(&name, bytes, path));
    }
    if !single.is_empty() {
        let target = Target {
            name: name.to_owned(),
            ..Target::default()
        };
        reports.push(merged(single, target, now.to_owned(), 1));
    }
    if !earlier.is_empty() {
        let known = rounds::after(earlier);
        let last = earlier.iter().map(|report| report.round).max();
        for report in &mut reports {
            report.round = report.round.max(last.unwrap_or(0).saturating_add(1));
            rounds::reconcile(&Code::default(), report, &known, &[]);
            settle(report);
        }
    }
    reports
}

/// The name of a file without its suffix, as the name of a target or a reviewer.
pub fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(|| "review".to_owned(), |s| s.to_string_lossy().into_owned())
}

fn run(name: &str, bytes: &[u8], path: &Path) -> ReviewerRun {
    let mut run = ReviewerRun {
        name: name.to_owned(),
        outcome: Outcome::Finished { warning: None },
        review: crate::model::Review::default(),
        original: String::from_utf8_lossy(bytes).into_owned(),
        performance: Performance::default(),
    };
    match parse::detect_and_parse(name, bytes) {
        Ok(review) => run.review = review,
        Err(error) => {
            run.outcome = Outcome::Failed {
                reason: format!("{}: {error}", path.display()),
            }
        }
    }
    run
}

/// A report's originals, merged anew.
pub fn from_text(name: &str, text: &ReportText, now: &str) -> Report {
    let runs: Vec<ReviewerRun> = text
        .originals
        .iter()
        .map(|o| ReviewerRun {
            name: o.reviewer.clone(),
            outcome: if o.review.says_none || !parse::is_empty(&o.review) {
                Outcome::Finished { warning: None }
            } else {
                Outcome::Failed {
                    reason: "its text in the appendix holds no review".to_owned(),
                }
            },
            review: o.review.clone(),
            original: o.text.clone(),
            performance: Performance {
                seconds: crate::stats::column(text, &o.reviewer)
                    .and_then(|c| c.get("duration").and_then(|d| crate::stats::seconds(d))),
                ..Performance::default()
            },
        })
        .collect();
    let field = |name: &str| text.field(name).map(plain_link);
    let commits = text
        .field("Commits")
        .map(|c| c.split("<br>").map(|c| c.replace('`', "")).collect())
        .unwrap_or_default();
    let mut changed: Vec<String> = text
        .originals
        .iter()
        .flat_map(|o| o.review.coverage.iter().map(|c| c.path.clone()))
        .collect();
    changed.sort();
    changed.dedup();
    let target = Target {
        name: name.to_owned(),
        repo: field("Repo"),
        commits,
        files: changed,
        ..Target::default()
    };
    let round = round(text);
    let date = field("Date").unwrap_or_else(|| now.to_owned());
    merged(runs, target, date, round)
}

/// Which round a report says that it is.
pub(crate) fn round(text: &ReportText) -> u32 {
    text.field("Round")
        .and_then(|r| r.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .unwrap_or(1)
}

/// `[text](address)` → `text`.
fn plain_link(text: &str) -> String {
    text.strip_prefix('[')
        .and_then(|t| t.split_once(']'))
        .map_or_else(|| text.to_owned(), |(inside, _)| inside.to_owned())
}

fn merged(reviewers: Vec<ReviewerRun>, target: Target, date: String, round: u32) -> Report {
    let findings = merge::merge(&reviewers);
    let mut result = Report {
        version: report::FORMAT_VERSION,
        date,
        target,
        round,
        reviewers,
        findings,
        ..Report::default()
    };
    settle(&mut result);
    result
}

/// What follows from the findings.
fn settle(report: &mut Report) {
    report.verdict = report::verdict(report);
    report.recommendations = report::recommend(report);
    report.prose = report::compose(report);
}
