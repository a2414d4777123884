//! The formats that other programs read.

use review::model::{History, Report};
use review::report;
use serde_json::Value;

use crate::hostile::hostile;
use crate::sample::sample;

fn texts<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v[name].as_str())
        .collect()
}

#[test]
fn sarif_is_valid_against_its_schema() {
    let mut schema: Value =
        serde_json::from_str(include_str!("../data/sarif-schema-2.1.0.json")).unwrap();
    // The schema as published has a bracket too many here, which the errata took out.
    for at in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][at]["properties"]["language"]["pattern"];
        assert_eq!(*language, "^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$");
        *language = "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$".into();
    }
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    for report in [sample(), hostile(), Report::default()] {
        let log = report::sarif(&report);
        let errors: Vec<String> = validator
            .iter_errors(&log)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert_eq!(errors, Vec::<String>::new());
    }
    // The validator sees something.
    let mut broken = report::sarif(&sample());
    broken["runs"][0]["results"][0]["level"] = "dreadful".into();
    assert!(!validator.is_valid(&broken));
}

#[test]
fn sarif_contains_findings_fingerprints_and_failures() {
    let report = sample();
    let log = report::sarif(&report);
    let results = &log["runs"][0]["results"];
    assert_eq!(
        results.as_array().unwrap().len(),
        report.findings.len() + report.closed.len()
    );
    assert_eq!(results[0]["level"], "error");
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "src/download/resume.rs");
    assert_eq!(place["region"]["startLine"], 20);
    // The fingerprint is the finding's, so it lives as long.
    let prints: Vec<&str> = results
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|r| r["partialFingerprints"]["deepReview/v1"].as_str())
        .collect();
    let expected: Vec<&str> = report
        .findings
        .iter()
        .chain(&report.closed)
        .map(|f| f.fingerprint.as_str())
        .collect();
    assert_eq!(prints, expected);
    let refuted = results
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["properties"]["standing"] == "refuted by a check")
        .unwrap();
    assert_eq!(refuted["suppressions"][0]["status"], "underReview");
    let invocation = &log["runs"][0]["invocations"][0];
    // A reviewer of the sample failed.
    assert_eq!(invocation["executionSuccessful"], false);
    assert_eq!(
        invocation["toolExecutionNotifications"][0]["level"],
        "error"
    );
}

#[test]
fn github_comments_are_on_lines_of_the_diff() {
    let mut report = sample();
    let payload = report::github(&report);
    assert!(
        payload.get("event").is_none(),
        "the review must stay pending"
    );
    assert_eq!(payload["commit_id"], report.target.head.as_str());
    let comments = payload["comments"].as_array().unwrap();
    // All but the refuted one, which is in the body.
    assert_eq!(comments.len(), report.findings.len() - 1);
    for comment in comments {
        let change = report
            .target
            .changes
            .iter()
            .find(|c| comment["path"] == c.path.as_str())
            .unwrap();
        let line = comment["line"].as_u64().unwrap();
        let start = comment["start_line"].as_u64().unwrap_or(line);
        assert!(
            change
                .hunks
                .iter()
                .any(|(a, b)| u64::from(*a) <= start && line <= u64::from(*b) && start <= line),
            "{comment}"
        );
    }
    let body = payload["body"].as_str().unwrap();
    assert!(body.contains("`flush` takes the lock twice"), "{body}");
    // A hunk that holds a part of the range.
    let change = report
        .target
        .changes
        .iter_mut()
        .find(|c| c.path == "src/download/resume.rs")
        .unwrap();
    change.hunks = vec![(1, 21)];
    let payload = report::github(&report);
    let first = &payload["comments"][0];
    assert_eq!(
        (&first["start_line"], &first["line"]),
        (&20.into(), &21.into())
    );
    // Nothing of it in the diff: the body has it.
    for change in &mut report.target.changes {
        change.hunks.clear();
    }
    let payload = report::github(&report);
    assert_eq!(payload["comments"], Value::Array(Vec::new()));
    let body = payload["body"].as_str().unwrap();
    assert!(
        report
            .findings
            .iter()
            .all(|f| body.contains(&format!("{}. **", f.id)))
    );
}

#[test]
fn github_body_is_cut_to_the_limit() {
    let mut report = sample();
    report.target.changes.clear();
    let one = report.findings[0].clone();
    report.findings = (0..100)
        .map(|_| {
            let mut f = one.clone();
            f.lead.checks.clear();
            f.lead.explanation = "é".repeat(3_000);
            f
        })
        .collect();
    let payload = report::github(&report);
    let body = payload["body"].as_str().unwrap();
    assert!(
        body.len() < 65_536 && body.contains("did not fit"),
        "{}",
        body.len()
    );
}

#[test]
fn gitlab_report_has_required_fields() {
    let mut report = sample();
    report.findings[1].lead.locations.clear();
    if let Some(last) = report.findings.last_mut() {
        last.history = History::Fixed { since: 1 };
    }
    let list = report::gitlab(&report);
    let entries = list.as_array().unwrap();
    // The first says that the verdict may miss a finding: a reviewer of the sample failed.
    assert_eq!(entries[0]["check_name"], "deep-review/incomplete");
    assert_eq!(entries.len(), report.findings.len());
    for entry in entries {
        assert!(
            entry["location"]["path"]
                .as_str()
                .is_some_and(|p| !p.is_empty())
        );
        assert!(
            entry["location"]["lines"]["begin"]
                .as_u64()
                .is_some_and(|n| n > 0)
        );
    }
    let severities = texts(&list, "severity");
    assert_eq!(severities[..2], ["blocker", "critical"]);
    assert!(severities.contains(&"info") && severities.contains(&"minor"));
    let prints = texts(&list, "fingerprint");
    let unique: std::collections::HashSet<_> = prints.iter().collect();
    assert_eq!(unique.len(), entries.len());
}

/// What GitHub documents for the body of `POST /repos/{owner}/{repo}/pulls/{number}/reviews` (REST reference, "Create a
/// review for a pull request"): a review without `event` stays pending.
fn github_schema() -> Value {
    serde_json::json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "commit_id": {"type": "string"},
            "body": {"type": "string", "minLength": 1, "maxLength": 65536},
            "comments": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["path", "body", "line", "side"],
                    "properties": {
                        "path": {"type": "string", "minLength": 1, "pattern": "^[^/]"},
                        "body": {"type": "string", "minLength": 1, "maxLength": 65536},
                        "line": {"type": "integer", "minimum": 1},
                        "side": {"enum": ["LEFT", "RIGHT"]},
                        "start_line": {"type": "integer", "minimum": 1},
                        "start_side": {"enum": ["LEFT", "RIGHT"]}
                    },
                    "dependentRequired": {"start_line": ["start_side"], "start_side": ["start_line"]}
                }
            }
        },
        "required": ["body", "comments"]
    })
}

/// What GitLab documents as "Code Quality report format": an array whose objects have these fields.
fn gitlab_schema() -> Value {
    serde_json::json!({
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": false,
            "required": ["description", "check_name", "fingerprint", "severity", "location"],
            "properties": {
                "description": {"type": "string", "minLength": 1},
                "check_name": {"type": "string", "minLength": 1},
                "fingerprint": {"type": "string", "minLength": 1},
                "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
                "location": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["path", "lines"],
                    "properties": {
                        "path": {"type": "string", "minLength": 1, "not": {"pattern": "^(\\./|/)"}},
                        "lines": {
                            "type": "object",
                            "additionalProperties": false,
                            "required": ["begin"],
                            "properties": {
                                "begin": {"type": "integer", "minimum": 1},
                                "end": {"type": "integer", "minimum": 1}
                            }
                        }
                    }
                }
            }
        }
    })
}

#[test]
fn github_and_gitlab_output_matches_documented_schema() {
    for (schema, make) in [
        (github_schema(), report::github as fn(&Report) -> Value),
        (gitlab_schema(), report::gitlab),
    ] {
        let validator = jsonschema::options().build(&schema).unwrap();
        for report in [sample(), hostile(), Report::default()] {
            let made = make(&report);
            let errors: Vec<String> = validator
                .iter_errors(&made)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            assert_eq!(errors, Vec::<String>::new());
        }
        assert!(!validator.is_valid(&serde_json::json!({"comments": [{"path": "a"}]})));
    }
}
