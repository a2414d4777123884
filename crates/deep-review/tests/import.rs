//! `deep-review import`, `stats` and `eval` as a user runs them, on invented reviews.
#![allow(clippy::unwrap_used, reason = "a panic is how tests fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../review/tests/fixtures/reviews")
}

fn deep_review(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deep-review"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn imported() -> Value {
    let folder = fixtures();
    serde_json::from_str(&text(&deep_review(&[
        "import",
        "--format",
        "json",
        folder.to_str().unwrap(),
    ])))
    .unwrap()
}

/// `id severity reviewers` of each finding.
fn lines(report: &Value) -> Vec<String> {
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            let names: Vec<&str> = f["voices"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v["reviewer"].as_str().unwrap())
                .collect();
            format!("{} {}", f["id"].as_str().unwrap(), names.join("+"))
        })
        .collect()
}

#[test]
fn reviews_in_four_formats_become_one_report() {
    let report = imported();
    assert_eq!(
        lines(&report),
        [
            "I1 alpha+beta",
            "I2 alpha",
            "S1 alpha+gamma",
            "S2 shellcheck"
        ]
    );
    let first = &report["findings"][0];
    assert_eq!(
        first["disagreement"],
        "alpha says important, beta says critical; shown as important, counts as critical"
    );
    // The lead is the finding with the fix that can be applied.
    assert!(
        first["lead"]["fix"]
            .as_str()
            .unwrap()
            .contains("+    return Err")
    );
}

#[test]
fn reviewer_without_a_review_is_reported_and_others_are_kept() {
    let report = imported();
    let broken = report["reviewers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == "broken")
        .unwrap();
    assert_eq!(broken["outcome"]["state"], "failed");
    assert!(
        broken["outcome"]["reason"]
            .as_str()
            .unwrap()
            .contains("I could not reach the model")
    );
}

#[test]
fn repeated_import_gives_the_same_report() {
    let (mut one, mut two) = (imported(), imported());
    one["date"].take();
    two["date"].take();
    assert_eq!(one, two);
}

#[test]
fn report_with_appendix_is_merged_anew_and_measured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.md");
    std::fs::write(&path, report_with_appendix()).unwrap();
    let path = path.to_str().unwrap();

    let report: Value =
        serde_json::from_str(&text(&deep_review(&["import", "--format=json", path]))).unwrap();
    assert_eq!(lines(&report), ["I1 Alpha+Beta", "I2 Alpha", "S1 Alpha"]);
    assert_eq!(report["target"]["name"], "report");
    assert_eq!(report["round"], 3);
    assert_eq!(report["date"], "2026-02-03");
    assert_eq!(report["reviewers"][0]["performance"]["seconds"], 61.0);

    let measured: Value =
        serde_json::from_str(&text(&deep_review(&["eval", "--json", path]))).unwrap();
    for figure in ["consolidated", "originals", "pairs", "attribution"] {
        assert_eq!(measured[figure]["f1"], 1.0, "{figure}: {measured}");
    }
    assert_eq!(measured["originals"]["true"], 4);
    assert_eq!(measured["pairs"]["true"], 1);

    let plot = folder.path().join("plot.svg");
    let table = text(&deep_review(&[
        "stats",
        path,
        "--plot",
        plot.to_str().unwrap(),
    ]));
    let alpha: Vec<&str> = table
        .lines()
        .find(|l| l.starts_with("| alpha"))
        .unwrap()
        .split('|')
        .map(str::trim)
        .collect();
    // name, reports, findings, reported, unique
    assert_eq!(alpha[1..6], ["alpha", "1", "3", "3", "2"]);
    assert!(std::fs::read_to_string(plot).unwrap().contains("<rect"));
}

/// Returns a report in the form that people write, around the invented reviews.
fn report_with_appendix() -> String {
    let alpha = std::fs::read_to_string(fixtures().join("alpha.md")).unwrap();
    let beta = std::fs::read_to_string(fixtures().join("beta.md")).unwrap();
    format!(
        "\
# Deep Review: the queue

| | |
|---|---|
| **Date** | 2026-02-03 |
| **Round** | 3 (of target) |
| **Reviewers** | Alpha One (effort: high), Beta Two |

## Important Issues

I1. **`Queue::push` drops the message when the channel is full** — `src/queue.rs:40-46` [Alpha One] [Beta Two]

`try_send` fails with `Full`, and `push` answers `Ok`.

I2. **Retry sleeps while it holds the lock** — `src/retry.rs:12` [Alpha One]

## Suggestions

S1. **Name the limit of 64** — `src/queue.rs:8` [Alpha One]

## Agent Performance Retro

### Summary

| | Alpha One | Beta Two |
|---|---|---|
| Duration | 1m 1s | 2:00 |

## Appendix: Original Reviews

### [Alpha] — Pass 1

{alpha}

### [Beta] — Pass 1

{beta}
"
    )
}

#[test]
fn import_without_reviews_fails_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let output = deep_review(&["import", folder.path().to_str().unwrap()]);
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("there is no review in"), "{message}");
}

#[test]
fn unknown_facts_of_imported_reviews_are_left_out() {
    let folder = fixtures();
    for format in ["markdown", "html"] {
        let report = text(&deep_review(&[
            "import",
            "--format",
            format,
            folder.to_str().unwrap(),
        ]));
        for unknown in ["0 changed file", "0 commits", "0.0 s", "| `` |"] {
            assert!(!report.contains(unknown), "{unknown} in {report}");
        }
    }
}

#[test]
fn import_applies_earlier_reports() {
    let folder = tempfile::tempdir().unwrap();
    let earlier = folder.path().join("earlier.json");
    let mut first = imported();
    let findings = first["findings"].as_array().unwrap().clone();
    assert!(findings.len() > 1);
    let (declined, open) = findings.split_first().unwrap();
    let mut declined = declined.clone();
    declined["history"] =
        serde_json::json!({"state": "declined", "since": 1, "reason": "by design"});
    first["findings"] = Value::from(open.to_vec());
    first["closed"] = Value::from(vec![declined.clone()]);
    std::fs::write(&earlier, first.to_string()).unwrap();
    let reviews = fixtures();
    let second: Value = serde_json::from_str(&text(&deep_review(&[
        "import",
        "--format",
        "json",
        "--earlier",
        earlier.to_str().unwrap(),
        reviews.to_str().unwrap(),
    ])))
    .unwrap();
    assert_eq!(second["round"], 2);
    assert_eq!(
        second["closed"][0]["lead"]["title"],
        declined["lead"]["title"]
    );
    assert_eq!(second["closed"][0]["history"]["reason"], "by design");
    let histories: Vec<&Value> = second["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["history"])
        .collect();
    assert_eq!(histories.len(), findings.len() - 1);
    for history in histories {
        assert_eq!(*history, serde_json::json!({"state": "open", "since": 1}));
    }
    let composed = second["recommendations"][0]["text"].as_str().unwrap();
    assert!(composed.contains("by design"), "{composed}");
}

#[test]
fn own_reports_are_imported_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = imported();
    first["target"]["title"] = "Resume downloads".into();
    first["target"]["name"] = "pr-128".into();
    first["target"]["author"] = "A. Author".into();
    first["target"]["url"] = "https://git.example/o/r/pull/128".into();
    first["round"] = 4.into();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("report.json"), first.to_string()).unwrap();
    let render =
        |from: &str, format: &str| text(&deep_review(&["import", "--format", format, &path(from)]));
    let again: Value = serde_json::from_str(&render("report.json", "json")).unwrap();
    assert_eq!(again, first);
    std::fs::write(path("review.sarif"), render("report.json", "sarif")).unwrap();
    let mut of_sarif: Value = serde_json::from_str(&render("review.sarif", "json")).unwrap();
    // SARIF has no originals.
    for run in of_sarif["reviewers"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .chain(first["reviewers"].as_array_mut().unwrap())
    {
        run["original"].take();
    }
    assert_eq!(of_sarif, first);
    std::fs::write(path("review.md"), render("report.json", "markdown")).unwrap();
    let of_markdown: Value = serde_json::from_str(&render("review.md", "json")).unwrap();
    for field in ["name", "title", "author", "url"] {
        assert_eq!(
            of_markdown["target"][field], first["target"][field],
            "{field}"
        );
    }
    assert_eq!(of_markdown["round"], 4);
    assert_eq!(lines(&of_markdown), lines(&first));
    // As an earlier report, each leaves its findings open.
    let reviews = fixtures();
    for earlier in ["report.json", "review.sarif", "review.md"] {
        let second = text(&deep_review(&[
            "import",
            "--format",
            "json",
            "--earlier",
            &path(earlier),
            reviews.to_str().unwrap(),
        ]));
        let second: Value = serde_json::from_str(&second).unwrap();
        assert_eq!(second["round"], 5, "{earlier}");
        for finding in second["findings"].as_array().unwrap() {
            assert_eq!(finding["history"]["state"], "open", "{earlier}: {finding}");
        }
    }
}

#[test]
fn unmeasured_figure_is_a_dash_and_unknown_round_is_absent() {
    let report = text(&deep_review(&["import", fixtures().to_str().unwrap()]));
    let row = |name: &str| {
        report
            .lines()
            .find(|l| l.starts_with(&format!("| {name} |")))
            .unwrap()
            .to_owned()
    };
    assert!(
        !row("False positives").contains('0'),
        "{}",
        row("False positives")
    );
    assert!(
        !row("Coverage misses").contains('0'),
        "{}",
        row("Coverage misses")
    );
    assert!(!report.contains("**Round**"));
    let json = imported();
    assert_eq!(json["round"], 0);
}
