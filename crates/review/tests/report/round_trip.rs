//! Our own parser reads the Markdown report back.

use review::model::{Location, Report, Severity};
use review::parse::markdown;
use review::report;

use crate::sample::sample;

/// What a reader of the Markdown must find again.
type Known = (String, Severity, String, Vec<Location>, Vec<String>);

fn known(report: &Report) -> Vec<Known> {
    report
        .findings
        .iter()
        .map(|f| {
            (
                f.id.clone(),
                f.severity,
                f.lead.title.clone(),
                f.lead.locations.clone(),
                f.reviewers().into_iter().map(str::to_owned).collect(),
            )
        })
        .collect()
}

fn read(text: &str) -> Vec<Known> {
    markdown::report(text)
        .consolidated
        .findings
        .into_iter()
        .map(|f| (f.id, f.severity, f.title, f.locations, f.reviewers))
        .collect()
}

#[test]
fn parser_reads_back_findings() {
    let report = sample();
    let text = report::markdown(&report);
    assert_eq!(read(&text), known(&report), "{text}");
}

#[test]
fn parser_reads_back_notes_and_tables() {
    let report = sample();
    let read = markdown::report(&report::markdown(&report));
    assert_eq!(
        read.title,
        "Deep Review: pr-128 — Resume interrupted downloads"
    );
    assert_eq!(
        read.reviewers(),
        ["Claude Opus", "Codex", "Gemini", "clippy"]
    );
    let verdict = read.field("verdict").unwrap();
    assert!(verdict.starts_with("**Rework**"), "{verdict}");
    assert_eq!(read.consolidated.strengths.len(), 2);
    assert_eq!(read.consolidated.concerns.len(), 1);
    assert_eq!(read.consolidated.testing_gaps.len(), 2);
    assert_eq!(read.consolidated.commit_structure.len(), 1);
    let files: Vec<&str> = read
        .consolidated
        .coverage
        .iter()
        .map(|c| c.path.as_str())
        .collect();
    assert_eq!(files, report.target.files);
    let first = &read.consolidated.findings[0];
    assert!(first.quote.is_some() && first.fix.as_deref().is_some_and(|f| f.contains("+++ b/")));
    assert_eq!(first.evidence.len(), 1);
}

#[test]
fn parser_reads_back_originals() {
    let report = sample();
    let read = markdown::report(&report::markdown(&report));
    let said: Vec<(String, usize)> = read
        .originals
        .iter()
        .map(|o| (o.reviewer.clone(), o.review.findings.len()))
        .collect();
    let expected: Vec<(String, usize)> = report
        .reviewers
        .iter()
        .map(|r| (r.name.clone(), r.review.findings.len()))
        .collect();
    assert_eq!(said, expected);
}

#[test]
fn empty_report_is_readable() {
    let text = report::markdown(&Report::default());
    assert!(read(&text).is_empty());
    assert!(report::html(&Report::default()).contains("No findings."));
}

#[test]
fn json_round_trips() {
    let report = sample();
    let text = report::json(&report).to_string();
    assert_eq!(report::from_json(&text).unwrap(), report);
    let newer = text.replacen(
        &format!("\"version\":{}", report::FORMAT_VERSION),
        "\"version\":999",
        1,
    );
    let error = report::from_json(&newer).unwrap_err().to_string();
    assert!(error.contains("999"), "{error}");
    assert!(report::from_json("[]").is_err());
}
