//! A run whose verdict may miss a finding exits with status 3, and every form of the report says so first.

use review::model::{Outcome, Severity};

use crate::repository::{REVIEW, Repository, entry};

/// A review with one finding of a severity about the changed line.
fn finding(heading: &str, id: &str) -> String {
    format!(
        "## Findings\n\n### {heading}\n\n{id}. **The count became a sum** — `src/count.py:4`\n\n```python\n        total += item\n```\n\nStrings cannot be added.\n"
    )
}

const HEADING: &str = "echo '## Executive Summary'; echo 'I am looking at the change now.'";

#[test]
fn truncated_answer_is_incomplete_and_its_findings_count() {
    let claude = serde_json::json!({"type": "assistant", "message": {"role": "assistant", "content": [
        {"type": "text", "text": "I found no issues in src/count.py so far. Now reading the rest."}]}});
    let one = finding("Critical Issues", "C1");
    for (name, kind, body, more, findings) in [
        (
            "half",
            "command",
            format!("cat >/dev/null; {HEADING}; exec sleep 600"),
            "timeout = \"500ms\"\n",
            0,
        ),
        (
            "crashed",
            "command",
            format!("cat >/dev/null; {HEADING}; echo 'out of memory' >&2; exit 139"),
            "",
            0,
        ),
        (
            "killed",
            "command",
            format!("cat >/dev/null; {HEADING}; kill -KILL $$"),
            "",
            0,
        ),
        (
            "traceback",
            "command",
            format!("cat >/dev/null; {HEADING}; exit 1"),
            "",
            0,
        ),
        (
            "one-then-killed",
            "command",
            format!("cat >/dev/null; cat <<'M'\n{one}\nM\nkill -SEGV $$"),
            "",
            1,
        ),
        ("silent", "command", "exit 1".to_owned(), "", 0),
        (
            "claude",
            "claude",
            format!("cat >/dev/null; cat <<'M'\n{claude}\nM\nexec sleep 600"),
            "timeout = \"500ms\"\n",
            0,
        ),
    ] {
        let repository = Repository::new();
        let script = repository.script(name, &body);
        repository.configure(&entry(name, kind, &[&script], more));
        let output = repository.run(&["--format", "json", "--fresh"]);
        assert_eq!(output.status.code(), Some(3), "{name}");
        let report: review::model::Report = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report.verdict.incomplete.len(), 1, "{name}");
        assert!(!report.reviewers[0].outcome.is_complete(), "{name}");
        assert_eq!(report.findings.len(), findings, "{name}");
        let decision = if findings == 1 {
            "rework"
        } else {
            "incomplete"
        };
        assert_eq!(report.verdict.decision, decision, "{name}");
    }
}

#[test]
fn incomplete_verdict_comes_first_in_every_format() {
    let repository = Repository::new();
    let half = repository.script("half", &format!("cat >/dev/null; {HEADING}; exit 139"));
    let good = repository.printer("good", REVIEW);
    repository.configure(
        &[
            entry("good", "command", &[&good], ""),
            entry("half", "command", &[&half], ""),
        ]
        .concat(),
    );
    let folder = repository.outside("out");
    let output = repository.run(&[
        "--format",
        "markdown,html,json,sarif,github,gitlab",
        "-o",
        folder.to_str().unwrap(),
        "--fail-on",
        "important",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let json = |name: &str| serde_json::from_str::<serde_json::Value>(&read(name)).unwrap();
    let markdown = read("review.md");
    assert!(
        markdown
            .lines()
            .nth(2)
            .unwrap()
            .starts_with("**Incomplete.**"),
        "{markdown}"
    );
    let html = read("review.html");
    let (first, verdict) = (
        html.find("<strong>Incomplete</strong>"),
        html.find("id=\"findings\""),
    );
    assert!(first.unwrap() < verdict.unwrap());
    assert_eq!(
        json("review.json")["verdict"]["incomplete"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let run = &json("review.sarif")["runs"][0];
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let text = &run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"];
    assert!(text.as_str().unwrap().starts_with("Incomplete"), "{text}");
    let body = &json("github-review.json")["body"];
    assert!(
        body.as_str().unwrap().starts_with("**Incomplete.**"),
        "{body}"
    );
    let first = &json("gl-code-quality-report.json")[0]["description"];
    assert!(first.as_str().unwrap().starts_with("Incomplete"), "{first}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("incomplete: the answer of half is cut off"),
        "{errors}"
    );
}

#[test]
fn unparsed_text_is_shown_and_incomplete_without_a_finding() {
    let repository = Repository::new();
    for (text, code) in [
        (
            "## Critical Issues\n\nThe whole file src/count.py:4 is wrong, it adds what it should count.\n",
            3,
        ),
        (
            "## Findings\n\n- It adds up strings in the loop and that cannot work for any caller.\n",
            3,
        ),
        (r#"{"verdict": "the sum in src/count.py:4 is wrong"}"#, 3),
        ("No issues found.", 0),
        ("LGTM", 0),
        ("## Findings\n\n### Critical Issues\n\nNone.\n", 0),
    ] {
        let agent = repository.printer("agent", text);
        repository.configure(&entry("agent", "command", &[&agent], ""));
        let folder = repository.outside("out");
        let output = repository.run(&[
            "--format",
            "markdown,html,json,sarif,github,gitlab",
            "-o",
            folder.to_str().unwrap(),
            "--fresh",
        ]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}: {errors}");
        if code == 0 {
            continue;
        }
        let words = if text.contains("strings") {
            "adds up strings"
        } else {
            "src/count.py:4"
        };
        let report: review::model::Report =
            serde_json::from_slice(&std::fs::read(folder.join("review.json")).unwrap()).unwrap();
        if !report.findings.is_empty() {
            panic!("{text} is read: take another one");
        }
        for form in [
            "review.md",
            "review.html",
            "review.json",
            "review.sarif",
            "github-review.json",
            "gl-code-quality-report.json",
        ] {
            let shown = std::fs::read_to_string(folder.join(form)).unwrap();
            // The summary shows it, not only the appendix.
            let shown = shown.split("Appendix").next().unwrap();
            assert!(shown.contains(words), "{form} of {text}");
        }
    }
}

#[test]
fn agreement_never_lowers_the_severity_that_counts() {
    let repository = Repository::new();
    let critical = finding("Critical Issues", "C1");
    let suggestion = finding("Suggestions", "S1");
    let important = finding("Important Issues", "I1");
    let lint = r#"{"source": {"name": "lint"}, "diagnostics": [{"message": "The count became a sum", "code": {"value": "X1"}, "severity": "WARNING", "location": {"path": "src/count.py", "range": {"start": {"line": 4}}}}]}"#;
    for (texts, fail_on, decision, shown) in [
        (
            vec![("a", "command", &critical[..])],
            "critical",
            "rework",
            Severity::Critical,
        ),
        (
            vec![("a", "command", &critical), ("b", "command", &suggestion)],
            "critical",
            "rework",
            Severity::Suggestion,
        ),
        (
            vec![
                ("a", "command", &suggestion),
                ("b", "command", &critical),
                ("c", "command", &important),
            ],
            "critical",
            "rework",
            Severity::Important,
        ),
        (
            vec![("a", "command", &important), ("lint", "analyser", lint)],
            "important",
            "merge with fixes",
            Severity::Important,
        ),
        (
            vec![("a", "command", &critical), ("lint", "analyser", lint)],
            "critical",
            "rework",
            Severity::Critical,
        ),
    ] {
        let entries: Vec<String> = texts
            .iter()
            .map(|(name, kind, text)| {
                let script = repository.printer(name, text);
                let more = if *kind == "analyser" {
                    "format = \"rdjson\"\n"
                } else {
                    ""
                };
                entry(name, kind, &[&script], more)
            })
            .collect();
        repository.configure(&entries.concat());
        let output = repository.run(&["--format", "json", "--fresh", "--fail-on", fail_on]);
        let report: review::model::Report = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{:?}", report.verdict);
        assert_eq!(report.verdict.decision, decision);
        assert_eq!(report.findings.len(), 1, "{texts:?}");
        assert_eq!(report.findings[0].severity, shown);
        if shown == Severity::Suggestion {
            let said = report.findings[0].disagreement.as_deref().unwrap();
            assert!(said.contains("counts as critical"), "{said}");
        }
        assert!(
            report
                .reviewers
                .iter()
                .all(|run| matches!(run.outcome, Outcome::Finished { .. }))
        );
    }
}
