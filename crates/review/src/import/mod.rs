//! Merges existing reviews: one file per reviewer, or reports whose appendices contain the originals.

mod given;

use std::path::{Path, PathBuf};

use serde_json::Value;

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
    /// The path, for messages.
    pub path: PathBuf,
    /// The content of the file.
    pub bytes: Vec<u8>,
}

/// Imports files. Each report with an appendix becomes a report. All other files together become one report about the
/// target `name`, with one reviewer per file, named after the file. `now` (RFC 3339) is used if a report has no date.
///
/// The merged findings are compared with the `earlier` reports, oldest first. The code is not available, so a declined
/// finding stays declined unless other code is quoted, and a finding that is not raised again stays open.
pub fn import(inputs: &[Input], name: &str, earlier: &[Report], now: &str) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut single: Vec<ReviewerRun> = Vec::new();
    for Input { path, bytes } in inputs {
        let name = stem(path);
        if let Some(report) = own(bytes) {
            reports.push(report);
            continue;
        }
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
        reports.push(merged(single, target, now.to_owned(), 0));
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

/// A report that this program wrote, as JSON or SARIF.
fn own(bytes: &[u8]) -> Option<Report> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let value = match value.pointer("/runs/0/properties/report") {
        Some(report) => report.clone(),
        None => value,
    };
    // A list of findings has none of these.
    let is_report = ["version", "target", "reviewers"]
        .iter()
        .all(|name| value.get(name).is_some());
    is_report.then(|| report::from_json(&value.to_string()).ok())?
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
    let target = target(name, text);
    let round = round(text);
    let date = text
        .field("Date")
        .map_or_else(|| now.to_owned(), plain_link);
    merged(runs, target, date, round)
}

/// What a report says of its target. `name` is used for a target that it does not name.
fn target(name: &str, text: &ReportText) -> Target {
    let field = |names: &[&str]| names.iter().find_map(|name| text.field(name));
    let plain = |names: &[&str]| {
        let value = field(names).map(|v| plain_link(v).replace('`', ""));
        value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty())
    };
    let url = ["Target", "PR", "Repo"]
        .iter()
        .find_map(|name| address(text.field(name)?));
    let heading = text.title.trim_start_matches("Deep Review:").trim();
    // `pr-128 — Resume downloads`, with the title behind the dash.
    let said = plain(&["Target", "PR"]).unwrap_or_else(|| heading.to_owned());
    let title = said
        .split_once(" — ")
        .map(|(_, title)| title.trim().to_owned());
    let number = url
        .as_deref()
        .and_then(|url| {
            url.rsplit_once("/pull/")
                .or(url.rsplit_once("/merge_requests/"))
        })
        .map(|(_, rest)| {
            rest.chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
        });
    let own = said
        .split_once(" — ")
        .map(|(name, _)| name.trim().to_owned());
    let commits = text
        .field("Commits")
        .map(|c| c.split("<br>").map(|c| c.replace('`', "")).collect())
        .unwrap_or_default();
    let mut files: Vec<String> = text
        .originals
        .iter()
        .flat_map(|o| o.review.coverage.iter())
        .chain(&text.consolidated.coverage)
        .map(|c| c.path.clone())
        .collect();
    files.sort();
    files.dedup();
    Target {
        name: own
            .filter(|own| !own.contains(char::is_whitespace))
            .or(number.filter(|n| !n.is_empty()).map(|n| format!("pr-{n}")))
            .or_else(|| plain(&["Branch"]))
            .unwrap_or_else(|| name.to_owned()),
        title,
        author: plain(&["Author"]),
        url,
        repo: plain(&["Repo"]),
        head: plain(&["Head", "Review SHA", "Commit"]).unwrap_or_default(),
        base: plain(&["Merge base", "Base"]).unwrap_or_default(),
        commits,
        files,
        ..Target::default()
    }
}

/// The address of the first link in a text.
fn address(text: &str) -> Option<String> {
    let at = text.find("https://")?;
    let end = text[at..]
        .find([')', ' ', '>', '|'])
        .unwrap_or(text.len() - at);
    Some(text[at..at + end].to_owned())
}

/// Which round a report says that it is; 0: it does not say.
fn round(text: &ReportText) -> u32 {
    text.field("Round")
        .and_then(|r| r.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .unwrap_or(0)
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
