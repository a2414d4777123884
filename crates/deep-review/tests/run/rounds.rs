//! Earlier rounds: fixed, open, declined.

use review::model::{History, Report};
use review::report;
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
fn declined_finding_stays_closed_until_its_code_changes() {
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

    // A line above moves the finding without changes around it, and the sum is fixed.
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
    let closed = |report: &Report, title: &str| {
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
    for round in 3..5 {
        let report = repository.report(&[]);
        let again = &report.findings[0];
        assert_eq!(again.history, History::Open { since: 1 });
        // The report has the reason of the time. No change since the finding was raised again is no answer to it.
        assert_eq!(
            (report.round, again.reopened.as_deref()),
            (round, Some("callers check"))
        );
        let markdown = report::markdown(&report);
        assert!(
            markdown.contains("has changed since:_ callers check"),
            "{markdown}"
        );
        repository.write("other.py", &format!("x = {round}\n"));
        repository.commit("Something else");
    }
    assert!(
        resolve(&["I1", "--as", "declined", "--reason", "still"])
            .status
            .success()
    );
    let report = repository.report(&[]);
    assert_eq!(titles(&report), [""; 0]);
    assert_eq!(report.closed[0].reopened, None);
}

#[test]
fn declined_finding_stays_closed_when_its_function_moves() {
    let repository = Repository::new();
    review(&repository, &[SUM]);
    repository.report(&[]);
    resolve(
        &repository,
        &["I1", "--as", "declined", "--reason", "a sum is meant"],
    );
    // The function moves to the end of the file, and the reviewer is off by a line.
    let sum = "def count(items):\n    total = 0\n    for item in items:\n        total += item\n    return total\n";
    repository.write(
        "src/count.py",
        &format!("def first(items):\n    return items[0]\n\n\n{sum}"),
    );
    repository.commit("Move it down");
    review(&repository, &[(SUM.0, 7, SUM.2)]);
    let report = repository.report(&[]);
    assert_eq!(titles(&report), [""; 0]);
    assert!(
        matches!(&report.closed[0].history, History::Declined { reason, .. } if reason == "a sum is meant")
    );
}

#[test]
fn finding_not_raised_again_stays_open_without_a_change() {
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

fn resolve(repository: &Repository, args: &[&str]) {
    let mut all = vec!["resolve"];
    all.extend(args);
    let output = repository.command(&all).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn of<'a>(report: &'a Report, title: &str) -> &'a review::model::MergedFinding {
    let all = report.findings.iter().chain(&report.closed);
    all.into_iter()
        .find(|f| f.lead.title.contains(title))
        .unwrap_or_else(|| panic!("{title} in {:?}", titles(report)))
}

#[test]
fn deferred_finding_stays_open_and_does_not_count() {
    let repository = Repository::new();
    review(&repository, &[EMPTY]);
    let report = repository.report(&[]);
    assert_eq!(report.verdict.decision, "merge with fixes");
    resolve(
        &repository,
        &["I1", "--as", "deferred", "--reason", "after the release"],
    );
    // The reviewer raises it in one round and not in the next: it stays open and put off.
    for raised in [&[EMPTY][..], &[SUM][..]] {
        review(&repository, raised);
        let report = repository.report(&[]);
        let finding = of(&report, "empty list");
        assert_eq!(finding.history, History::Open { since: 1 });
        assert_eq!(finding.deferred.as_deref(), Some("after the release"));
        assert_eq!(report.closed, []);
        let decision = if raised == [EMPTY] {
            "merge"
        } else {
            "merge with fixes"
        };
        assert_eq!(
            report.verdict.decision, decision,
            "{}",
            report.verdict.reason
        );
        assert!(!report.verdict.reason.contains(&finding.id) || decision == "merge");
        for text in [report::markdown(&report), report::html(&report)] {
            assert!(text.contains("Put off by the author"), "{text}");
        }
        let known = |n: &review::model::Note| n.text.contains("after the release");
        assert!(report.recommendations.iter().any(known));
    }
    let last = repository.report(&[]);
    resolve(&repository, &[&of(&last, "empty list").id, "--as", "open"]);
    let report = repository.report(&[]);
    assert_eq!(of(&report, "empty list").deferred, None);
}

#[test]
fn declined_finding_hides_no_other_defect_at_its_line() {
    let repository = Repository::new();
    review(&repository, &[EMPTY]);
    repository.report(&[]);
    resolve(
        &repository,
        &["I1", "--as", "declined", "--reason", "callers check"],
    );
    let other = (
        "Negative numbers wrap around silently",
        9,
        "return items[0]",
    );
    review(&repository, &[other]);
    let report = repository.report(&[]);
    assert_eq!(titles(&report), [other.0]);
    assert_eq!(report.findings[0].history, History::New);
    // The answer to one finding does not answer the other.
    assert_ne!(
        report.findings[0].fingerprint,
        of(&report, "empty list").fingerprint
    );
    let report = repository.report(&[]);
    assert_eq!(titles(&report), [other.0]);
}

#[test]
fn fingerprint_does_not_depend_on_the_leading_voice() {
    let repository = Repository::new();
    let say = |name: &str, title: &str, lines: [u32; 2], more: serde_json::Value| {
        let mut finding = json!({"severity": "important", "title": title, "locations": [{"path": "src/count.py", "start": lines[0], "end": lines[1]}], "explanation": "The count became a sum of the items' values."});
        for (key, value) in more.as_object().unwrap() {
            finding[key] = value.clone();
        }
        let text = json!({"findings": [finding]}).to_string();
        entry(name, "command", &[&repository.printer(name, &text)], "")
    };
    let mut seen = Vec::new();
    let fix = json!({"quote": "total += item", "fix": "@@ -4,1 +4,1 @@\n-        total += item\n+        total += 1\n"});
    for (first, second) in [(fix.clone(), json!({})), (json!({}), fix)] {
        let one = say("a", "The count became a sum of values", [4, 4], first);
        let other = say("b", "Sum of values where a count was", [1, 5], second);
        repository.configure(&format!("{one}{other}"));
        let report = repository.report(&["--fresh"]);
        assert_eq!(report.findings.len(), 1, "{:?}", titles(&report));
        seen.push((
            report.findings[0].lead.title.clone(),
            report.findings[0].fingerprint.clone(),
        ));
        // The state is removed: the fingerprint must not come from the earlier round.
        std::fs::remove_dir_all(repository.state()).unwrap();
    }
    assert_ne!(seen[0].0, seen[1].0, "another leads");
    assert_eq!(seen[0].1, seen[1].1);
}

#[test]
fn earlier_option_adds_rounds() {
    let repository = Repository::new();
    review(&repository, &[SUM, EMPTY]);
    let first = repository.report(&[]);
    let json = repository.outside("round-1.json");
    std::fs::write(&json, report::json(&first).to_string()).unwrap();
    // The same report in the form that people write, with an answer.
    let folder = repository.outside("earlier");
    std::fs::create_dir(&folder).unwrap();
    let text = format!(
        "# Review\n\n| | |\n|---|---|\n| **Round** | 1 |\n| **Head** | `{}` |\n\n## Important Issues\n\nI1. **{}** — `src/count.py:4` (important) [A]\n\nI2. **{}** — `src/count.py:9` (important) [A]\n\n## Resolution\n\n| # | Finding | Action | Reason |\n|---|---|---|---|\n| 1 | Important I2: {} | Declined | callers check |\n",
        first.target.head, SUM.0, EMPTY.0, EMPTY.0
    );
    std::fs::write(folder.join("round-1.md"), text).unwrap();
    for (given, history) in [
        (json, History::Open { since: 1 }),
        (
            folder,
            History::Declined {
                since: 1,
                reason: "callers check".to_owned(),
            },
        ),
    ] {
        std::fs::remove_dir_all(repository.state()).unwrap();
        let report = repository.report(&["--earlier", given.to_str().unwrap()]);
        assert_eq!(report.round, 2);
        assert_eq!(of(&report, "sum").history, History::Open { since: 1 });
        assert_eq!(of(&report, "empty list").history, history);
    }
    let wrong = repository.outside("wrong.json");
    std::fs::write(&wrong, "{}").unwrap();
    let output = repository.run(&["--earlier", wrong.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
}
