//! GitLab's code quality report: a JSON array, one object a finding.
//!
//! Facts from GitLab's documentation: `description`, `check_name`, `fingerprint` (unique in the file), `severity` of
//! `info|minor|major|critical|blocker`, `location.path` without a leading `./`, `location.lines.begin`.

use serde_json::{Value, json};

use super::count::word;
use super::standing::{Standing, is_open, standing};
use crate::merge::reviewers;
use crate::model::{MergedFinding, Report, Severity};

/// The open findings as a code quality report. What a check refuted is in it as `info`, and says so; a finding
/// without a place stands at the first changed file, since GitLab needs one, and says so too.
pub fn gitlab(report: &Report) -> Value {
    report
        .findings
        .iter()
        .filter(|f| is_open(f))
        .map(|f| entry(report, f))
        .collect()
}

fn entry(report: &Report, finding: &MergedFinding) -> Value {
    let refuted = standing(finding) == Standing::Refuted;
    let severity = match finding.severity {
        _ if refuted => "info",
        Severity::Critical => "critical",
        Severity::Important => "major",
        Severity::Suggestion => "minor",
    };
    let mut description = format!(
        "{}: {} [{}]",
        finding.id,
        finding.lead.title,
        reviewers(finding).join(", ")
    );
    if refuted {
        description.push_str(" (refuted by a check)");
    }
    let place = finding.lead.locations.first();
    if place.is_none() {
        description.push_str(" (about no place in particular)");
    }
    let path = place
        .map(|p| p.path.as_str())
        .or(report.target.files.first().map(String::as_str))
        .unwrap_or(".");
    let begin = place.and_then(|p| p.start).unwrap_or(1).max(1);
    let end = place.and_then(|p| p.end).unwrap_or(begin).max(begin);
    json!({
        "description": description,
        "check_name": format!("deep-review/{}", word(finding.severity)),
        "fingerprint": finding.fingerprint,
        "severity": severity,
        "location": {
            "path": path.trim_start_matches("./"),
            "lines": { "begin": begin, "end": end },
        },
    })
}
