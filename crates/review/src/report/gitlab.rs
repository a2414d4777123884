//! GitLab's code quality report: a JSON array, one object a finding.
//!
//! Facts from GitLab's documentation: `description`, `check_name`, `fingerprint` (unique in the file), `severity` of
//! `info|minor|major|critical|blocker`, `location.path` without a leading `./`, `location.lines.begin`.

use serde_json::{Value, json};

use super::count::word;
use crate::standing::{Standing, gate, is_open, standing};
use sha2::{Digest, Sha256};

use super::complete::{gaps, unread};
use crate::model::{MergedFinding, Report, Severity};
use crate::plain::{is_inside, one_line};
use crate::report::harmless::harmless;

/// The open findings as a code quality report. What a check refuted is in it as `info`, and says so; a finding
/// without a place is at the first changed file, since GitLab needs one, and says so too.
pub fn gitlab(report: &Report) -> Value {
    let report = &harmless(report);
    let unread = unread(report).into_iter().map(|(reviewer, text)| {
        format!(
            "{reviewer} wrote what could not be read: {}",
            one_line(text, 300)
        )
    });
    let gaps = gaps(report).into_iter().map(|gap| {
        format!(
            "Incomplete: the verdict may miss a finding: {}",
            one_line(&gap, 500)
        )
    });
    let warnings = gaps.chain(unread).map(|text| warning(report, &text));
    let findings = report.findings.iter().filter(|f| is_open(f));
    warnings.chain(findings.map(|f| entry(report, f))).collect()
}

/// An entry about the review itself, at the first changed file, since GitLab needs a place.
fn warning(report: &Report, text: &str) -> Value {
    let digest = Sha256::digest(text.as_bytes());
    let fingerprint: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    json!({
        "description": text,
        "check_name": "deep-review/incomplete",
        "fingerprint": fingerprint,
        "severity": "blocker",
        "location": {
            "path": report.target.files.first().map_or(".", String::as_str),
            "lines": { "begin": 1, "end": 1 },
        },
    })
}

fn entry(report: &Report, finding: &MergedFinding) -> Value {
    let refuted = standing(finding) == Standing::Refuted;
    let severity = match gate(finding) {
        _ if refuted => "info",
        Severity::Critical => "critical",
        Severity::Important => "major",
        Severity::Suggestion => "minor",
    };
    let mut description = format!(
        "{}: {} [{}]",
        finding.id,
        finding.lead.title,
        finding.reviewers().join(", ")
    );
    if refuted {
        description.push_str(" (refuted by a check)");
    }
    let place = finding
        .lead
        .locations
        .iter()
        .find(|place| is_inside(&place.path));
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
