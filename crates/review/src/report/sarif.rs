//! SARIF 2.1.0 (OASIS standard), for code scanning and editors.

use serde_json::{Value, json};

use super::complete::{gaps, unread};
use super::count::{SEVERITIES, word};
use super::replacement::replacements;
use crate::model::{History, Location, MergedFinding, Outcome, Report, Severity};
use crate::plain::is_inside;
use crate::report::harmless::harmless;
use crate::standing::{Standing, gate, standing};

/// The name of our fingerprint. SARIF requires a version in it; increase it when the computation changes.
const FINGERPRINT: &str = "deepReview/v1";

/// The report as a SARIF log with one run. Findings that earlier rounds closed are in it as `absent`; refuted and
/// declined ones are suppressed with their reason.
pub fn sarif(report: &Report) -> Value {
    let report = &harmless(report);
    let results: Vec<Value> = report
        .findings
        .iter()
        .chain(&report.closed)
        .map(result)
        .collect();
    let mut run = json!({
        "tool": { "driver": {
            "name": "deep-review",
            "version": env!("CARGO_PKG_VERSION"),
            "rules": SEVERITIES.map(rule),
        }},
        "automationDetails": { "id": format!("deep-review/{}/", report.target.name) },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": { "SRCROOT": {
            "description": { "text": "The top of the repository." }
        }},
        "invocations": [invocation(report)],
        "results": results,
        "properties": {
            "round": report.round,
            "verdict": report.verdict.decision,
            "incomplete": gaps(report),
            "head": report.target.head,
            "base": report.target.base,
            "report": whole(report),
        },
    });
    let repository = report.target.repo.as_deref().filter(|r| is_web(r));
    if let (Some(uri), Some(run)) = (repository, run.as_object_mut()) {
        run.insert(
            "versionControlProvenance".to_owned(),
            json!([{ "repositoryUri": uri, "revisionId": report.target.head }]),
        );
    }
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    })
}

/// The report as JSON, so that `import` and `--earlier` read it without loss; without the reviewers' original texts, which
/// are long and of no use to a code scanner.
fn whole(report: &Report) -> Value {
    let mut report = report.clone();
    for run in &mut report.reviewers {
        run.original.clear();
    }
    super::json(&report)
}

/// An address that is safe to hand on: the field must be a URI.
fn is_web(text: &str) -> bool {
    text.starts_with("https://")
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c))
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "error",
        Severity::Important => "warning",
        Severity::Suggestion => "note",
    }
}

fn rule(severity: Severity) -> Value {
    let text = match severity {
        Severity::Critical => "Must be fixed before the change lands.",
        Severity::Important => "Should be fixed before the change lands.",
        Severity::Suggestion => "Would make the change better.",
    };
    json!({
        "id": word(severity),
        "name": match severity {
            Severity::Critical => "CriticalFinding",
            Severity::Important => "ImportantFinding",
            Severity::Suggestion => "Suggestion",
        },
        "shortDescription": { "text": text },
        "defaultConfiguration": { "level": level(severity) },
    })
}

/// Gaps of the verdict, failures of reviewers and unread text, as notifications. The run succeeded if it is complete.
fn invocation(report: &Report) -> Value {
    let gaps = gaps(report);
    let note = |level: &str, text: String| json!({ "level": level, "message": { "text": text } });
    let incomplete = gaps.iter().map(|gap| {
        note(
            "error",
            format!("Incomplete: the verdict may miss a finding: {gap}"),
        )
    });
    let troubles = report.reviewers.iter().filter_map(|run| {
        let level = match run.outcome {
            Outcome::Finished { .. } | Outcome::Missing { .. } => "warning",
            Outcome::Partial { .. } | Outcome::Failed { .. } => "error",
        };
        Some(note(
            level,
            format!("{}: {}", run.name, run.outcome.trouble()?),
        ))
    });
    let unread = unread(report).into_iter().map(|(reviewer, text)| {
        let end = text.floor_char_boundary(LONGEST_UNREAD);
        note(
            "warning",
            format!("{reviewer} wrote what could not be read: {}", &text[..end]),
        )
    });
    let notifications: Vec<Value> = incomplete.chain(troubles).chain(unread).collect();
    json!({
        "executionSuccessful": gaps.is_empty(),
        "toolExecutionNotifications": notifications,
    })
}

/// Bytes of unread text of a reviewer in a notification.
const LONGEST_UNREAD: usize = 4_000;

fn result(finding: &MergedFinding) -> Value {
    let lead = &finding.lead;
    let inside = lead.locations.iter().filter(|place| is_inside(&place.path));
    let places: Vec<Value> = inside.map(location).collect();
    let names = finding.reviewers();
    let mut result = json!({
        "ruleId": word(finding.severity),
        "ruleIndex": finding.severity as usize,
        "level": level(gate(finding)),
        "message": {
            "text": lead.title,
            "markdown": super::markdown::finding_text(finding),
        },
        "partialFingerprints": { FINGERPRINT: finding.fingerprint },
        "baselineState": match finding.history {
            History::New => "new",
            History::Open { .. } => "unchanged",
            History::Fixed { .. } | History::Declined { .. } => "absent",
        },
        "suppressions": suppressions(finding),
        "properties": {
            "id": finding.id,
            "severity": word(finding.severity),
            "gate": word(gate(finding)),
            "class": lead.class,
            "scope": lead.scope,
            "reviewers": names,
            "standing": standing(finding).as_str(),
            "checks": lead.checks,
            "disagreement": finding.disagreement,
        },
    });
    // A declined finding may still be in the code, so it is no absent one.
    if let (History::Declined { .. }, Some(result)) = (&finding.history, result.as_object_mut()) {
        result.insert("baselineState".to_owned(), "unchanged".into());
    }
    if let (Some(fixes), Some(result)) = (fixes(finding), result.as_object_mut()) {
        result.insert("fixes".to_owned(), fixes);
    }
    if let Some(result) = result.as_object_mut() {
        // The first is where it is; GitHub shows no other.
        result.insert(
            "locations".to_owned(),
            places.iter().take(1).cloned().collect(),
        );
        if places.len() > 1 {
            result.insert(
                "relatedLocations".to_owned(),
                places.into_iter().skip(1).collect(),
            );
        }
    }
    result
}

/// The fix, when a check has seen it apply (§3.55). Regions are whole lines: from the first column of the first to the
/// first column of the line behind the last.
fn fixes(finding: &MergedFinding) -> Option<Value> {
    let mut files: Vec<(String, Vec<Value>)> = Vec::new();
    for replacement in replacements(&finding.lead)? {
        // A hidden character that is written out is not the reviewer's code.
        if !is_inside(&replacement.path) || replacement.lines.iter().any(|l| l.contains("⟦U+")) {
            return None;
        }
        let mut text = replacement.lines.join("\n");
        if !replacement.lines.is_empty() {
            text.push('\n');
        }
        let one = json!({
            "deletedRegion": {
                "startLine": replacement.start,
                "startColumn": 1,
                "endLine": replacement.start + replacement.removed,
                "endColumn": 1,
            },
            "insertedContent": { "text": text },
        });
        match files.iter_mut().find(|(path, _)| *path == replacement.path) {
            Some((_, all)) => all.push(one),
            None => files.push((replacement.path, vec![one])),
        }
    }
    let changes: Vec<Value> = files
        .into_iter()
        .map(|(path, replacements)| {
            json!({
                "artifactLocation": { "uri": uri(&path), "uriBaseId": "SRCROOT" },
                "replacements": replacements,
            })
        })
        .collect();
    Some(json!([{
        "description": { "text": "The reviewer's fix, which applies to the head." },
        "artifactChanges": changes,
    }]))
}

fn suppressions(finding: &MergedFinding) -> Value {
    match &finding.history {
        History::Declined { reason, .. } => json!([{
            "kind": "external", "status": "accepted", "justification": reason
        }]),
        _ if standing(finding) == Standing::Refuted => json!([{
            "kind": "external", "status": "underReview",
            "justification": "A check against the code refuted it.",
        }]),
        _ => json!([]),
    }
}

fn location(place: &Location) -> Value {
    let mut physical = json!({
        "artifactLocation": { "uri": uri(&place.path), "uriBaseId": "SRCROOT" },
    });
    // Lines count from 1 in SARIF as here; a 0 of a reviewer is no line.
    if let (Some(start), Some(physical)) =
        (place.start.filter(|s| *s > 0), physical.as_object_mut())
    {
        let end = place.end.unwrap_or(start).max(start);
        physical.insert(
            "region".to_owned(),
            json!({ "startLine": start, "endLine": end }),
        );
    }
    json!({ "physicalLocation": physical })
}

/// A path as a relative URI reference (RFC 3986): everything outside the unreserved set and `/` in percent form.
fn uri(path: &str) -> String {
    let mut result = String::with_capacity(path.len());
    for byte in path.trim_start_matches('/').bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            result.push(char::from(byte));
        } else {
            result.push_str(&format!("%{byte:02X}"));
        }
    }
    result
}
