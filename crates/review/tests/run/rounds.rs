//! Earlier rounds: fixed, open, declined.

use review::model::History;
use serde_json::json;

use crate::repository::{Repository, entry, titles};

fn review(repository: &Repository, findings: &[(&str, u32, &str)]) {
    let findings: Vec<serde_json::Value> = findings
        .iter()
        .map(|(title, line, quote)| json!({"severity": "important", "title": title, "locations": [{"path": "src/count.py", "start": line}], "quote": quote, "explanation": format!("{title} matters.")}))
        .collect();
    let reviewer = repository.printer("reviewer", &json!({"findings": findings}).to_string());
    repository.configure(&entry("reviewer", "command", &[&reviewer], ""));
}

const SUM: (&str, u32, &str) = ("The count became a sum of values", 4, "total += item");
const EMPTY: (&str, u32, &str) = ("An empty list raises IndexError", 9, "return items[0]");

#[test]
fn what_was_declined_is_not_raised_again_until_its_code_changes() {
    let repository = Repository::new();
    review(&repository, &[SUM, EMPTY]);
    let report = repository.report(&[]);
    assert_eq!((report.round, report.findings.len()), (1, 2));
    let id = report
        .findings
        .iter()
        .find(|f| f.lead.title == EMPTY.0)
        .unwrap()
        .id
        .clone();
    let resolve = |args: &[&str]| {
        let mut all = vec!["resolve"];
        all.extend(args);
        repository.command(&all).output().unwrap()
    };
    assert_eq!(
        resolve(&[&id, "--as", "declined"]).status.code(),
        Some(2),
        "a reason is needed"
    );
    assert_eq!(resolve(&["I99", "--as", "fixed"]).status.code(), Some(4));
    let output = resolve(&[&id, "--as", "declined", "--reason", "callers check"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    // A line above moves it, nothing around it changes, and the sum is fixed.
    let code = "# counts\ndef count(items):\n    total = 0\n    for item in items:\n        total += 1\n    return total\n\n\ndef first(items):\n    return items[0]\n";
    repository.write("src/count.py", code);
    repository.commit("Count again");
    review(
        &repository,
        &[("An empty list raises an IndexError", 10, "return items[0]")],
    );
    let report = repository.report(&[]);
    assert_eq!(report.round, 2);
    assert_eq!(titles(&report), [""; 0]);
    let closed = |report: &review::model::Report, title: &str| {
        report
            .closed
            .iter()
            .find(|f| f.lead.title.contains(title))
            .unwrap()
            .history
            .clone()
    };
    assert_eq!(
        closed(&report, "empty list"),
        History::Declined {
            since: 1,
            reason: "callers check".to_owned()
        }
    );
    assert_eq!(closed(&report, "sum"), History::Fixed { since: 1 });
    assert_eq!((report.rounds.len(), report.rounds[0].important), (1, 2));
    let prompt = std::fs::read_to_string(
        repository
            .rounds()
            .iter()
            .find(|r| r.ends_with("round-2"))
            .unwrap()
            .join("prompt.md"),
    )
    .unwrap();
    assert!(prompt.contains("callers check"), "{prompt}");

    repository.write(
        "src/count.py",
        &code
            .replace("items[0]", "items[0]  # or raise")
            .replace("first(items)", "first(items, default)"),
    );
    repository.commit("Touch it");
    review(
        &repository,
        &[("An empty list raises IndexError", 10, "return items[0]")],
    );
    let report = repository.report(&[]);
    assert_eq!(report.findings[0].history, History::Open { since: 1 });
}

#[test]
fn silence_is_no_repair() {
    let repository = Repository::new();
    review(&repository, &[SUM, EMPTY]);
    repository.report(&[]);
    repository.write("other.txt", "unrelated\n");
    repository.commit("Unrelated");
    review(&repository, &[SUM]);
    let report = repository.report(&[]);
    let history: Vec<_> = report
        .findings
        .iter()
        .map(|f| (f.lead.title.as_str(), &f.history))
        .collect();
    assert_eq!(
        history,
        [
            (SUM.0, &History::Open { since: 1 }),
            (EMPTY.0, &History::Open { since: 1 })
        ]
    );
    assert_eq!(report.closed, []);
}
