//! Findings are checked, and the report shows every check.

use review::model::{CheckKind, CheckResult, Class, Finding};
use serde_json::json;

use crate::repository::{Repository, entry, finding};

fn result(finding: &Finding, kind: CheckKind) -> Option<CheckResult> {
    finding
        .checks
        .iter()
        .rev()
        .find(|check| check.kind == kind)
        .map(|check| check.result)
}

fn said(title: &str, path: &str, line: u32, more: &serde_json::Value) -> serde_json::Value {
    let mut finding = json!({"severity": "important", "title": title, "locations": [{"path": path, "start": line}], "explanation": format!("About {title}.")});
    finding
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    finding
}

#[test]
fn checks_confirm_correct_or_refute() {
    let repository = Repository::new();
    let findings = json!({"findings": [
        said("Alpha adds wrongly", "src/count.py", 4, &json!({"quote": "total += item", "fix": "--- a/src/count.py\n+++ b/src/count.py\n@@ -4 +4 @@\n-        total += item\n+        total += 1\n"})),
        said("Beta subscript raises", "./src/count.py", 2, &json!({"quote": "return items[0]", "fix": "@@ -1,99 +1,99 @@\n def first(items):\n-    return items[0]\n+    return items[0] if items else None\n"})),
        said("Gamma quotes phantoms", "src/count.py", 3, &json!({"quote": "launch_missiles()", "fix": "-    launch_missiles()\n+    pass\n"})),
        said("Delta names nothing", "src/nowhere.py", 1, &json!({})),
        said("Epsilon beyond the end", "count.py", 400, &json!({"fix": "Rewrite it."})),
    ]});
    let liar = repository.printer("liar", &findings.to_string());
    repository.configure(&entry("liar", "command", &[&liar], ""));
    let report = repository.report(&[]);
    assert_eq!(
        report
            .findings
            .iter()
            .map(|f| f.voices.len())
            .sum::<usize>(),
        5,
        "nothing is dropped"
    );
    use CheckKind::{Diff, File, FixApplies, Lines, Quote};
    use CheckResult::{Confirmed, Corrected, Refuted, Unchecked};
    let alpha = finding(&report, "Alpha");
    for kind in [File, Lines, Quote, Diff, FixApplies] {
        assert_eq!(
            result(alpha, kind),
            Some(Confirmed),
            "{kind:?} {:?}",
            alpha.checks
        );
    }
    assert_eq!(alpha.class, Some(Class::Regression));
    let beta = finding(&report, "Beta");
    assert_eq!(beta.locations[0].start, Some(9));
    assert_eq!(result(beta, Quote), Some(Corrected));
    assert_eq!(
        result(beta, FixApplies),
        Some(Corrected),
        "{:?}",
        beta.checks
    );
    assert_eq!(beta.class, Some(Class::Gap));
    let gamma = finding(&report, "Gamma");
    assert_eq!(result(gamma, Quote), Some(Refuted));
    assert_eq!(
        result(gamma, FixApplies),
        Some(Refuted),
        "{:?}",
        gamma.checks
    );
    assert_eq!(result(finding(&report, "Delta"), File), Some(Refuted));
    let epsilon = finding(&report, "Epsilon");
    assert_eq!(result(epsilon, File), Some(Corrected));
    assert_eq!(result(epsilon, Lines), Some(Refuted));
    assert_eq!(result(epsilon, FixApplies), Some(Unchecked));
}

#[test]
fn moved_code_is_no_regression() {
    let repository = Repository::new();
    let block: String = (0..12)
        .map(|n| format!("    value_{n} = compute_something_long({n})\n"))
        .collect();
    repository.git(&["checkout", "-q", "main"]);
    repository.write(
        "src/moved.py",
        &format!("def f():\n{block}\n\ndef g():\n    pass\n"),
    );
    repository.commit("Add");
    repository.git(&["checkout", "-q", "-B", "feature"]);
    repository.write(
        "src/moved.py",
        &format!("def g():\n    pass\n\n\ndef f():\n{block}"),
    );
    repository.commit("Move");
    let line = 6;
    let text = json!({"findings": [said("Moved code", "src/moved.py", line, &json!({}))]});
    let reviewer = repository.printer("reviewer", &text.to_string());
    repository.configure(&entry("reviewer", "command", &[&reviewer], ""));
    let report = repository.report(&[]);
    assert_eq!(
        finding(&report, "Moved code").class,
        Some(Class::Gap),
        "{:?}",
        report.findings
    );
}

#[test]
fn fixes_and_repros_run_only_if_allowed() {
    let repository = Repository::new();
    let fix = |line: &str| {
        format!(
            "--- a/src/count.py\n+++ b/src/count.py\n@@ -4 +4 @@\n-        total += item\n+        {line}\n"
        )
    };
    let text = json!({"findings": [
        said("Good fix", "src/count.py", 4, &json!({"fix": fix("total += 1"), "evidence": [{"command": "grep item$ src/count.py; true", "output": "total += item"}]})),
        said("Broken remedy elsewhere", "src/count.py", 9, &json!({"fix": fix("total += 2"), "evidence": [{"command": "echo no", "output": "yes"}]})),
    ]});
    let reviewer = repository.printer("reviewer", &text.to_string());
    repository.configure(&entry("reviewer", "command", &[&reviewer], ""));
    let report = repository.report(&[]);
    let good = finding(&report, "Good fix");
    assert_eq!(result(good, CheckKind::FixPasses), None);
    assert_eq!(result(good, CheckKind::Repro), Some(CheckResult::Unchecked));

    let report = repository.report(&["--check-fix", "grep -q 1$ src/count.py", "--allow-repro"]);
    let (good, bad) = (
        finding(&report, "Good fix"),
        finding(&report, "Broken remedy"),
    );
    assert_eq!(
        result(good, CheckKind::FixPasses),
        Some(CheckResult::Confirmed),
        "{:?}",
        good.checks
    );
    assert_eq!(
        result(good, CheckKind::Repro),
        Some(CheckResult::Confirmed),
        "{:?}",
        good.checks
    );
    assert_eq!(
        result(bad, CheckKind::FixPasses),
        Some(CheckResult::Refuted)
    );
    assert_eq!(result(bad, CheckKind::Repro), Some(CheckResult::Refuted));
}

#[test]
fn repro_that_shows_the_same_with_the_fix_proves_nothing() {
    let repository = Repository::new();
    let real = "--- a/src/count.py\n+++ b/src/count.py\n@@ -4 +4 @@\n-        total += item\n+        total += 1\n";
    let empty = "--- a/src/count.py\n+++ b/src/count.py\n@@ -4 +4 @@\n-        total += item\n+        total += item\n";
    let cases = [
        ("One echoes its claim", "echo X", "X", Some(real)),
        (
            "Two has a fix without effect",
            "grep item$ src/count.py; true",
            "total += item",
            Some(empty),
        ),
        ("Three fails in any case", "false", "", Some(real)),
        (
            "Four has no fix",
            "grep item$ src/count.py",
            "total += item",
            None,
        ),
        ("Five cannot be run", "no-such-program-here", "", Some(real)),
        ("Six succeeds and claims nothing", "true", "", Some(real)),
        (
            "Seven breaks with the fix",
            "grep item$ src/count.py",
            "total += item",
            Some(real),
        ),
    ];
    let findings: Vec<serde_json::Value> = cases
        .iter()
        .map(|(title, command, output, fix)| {
            let evidence = json!([{"command": command, "output": output}]);
            said(
                title,
                "src/count.py",
                4,
                &json!({"fix": fix, "evidence": evidence}),
            )
        })
        .collect();
    let text = json!({"findings": findings}).to_string();
    let reviewer = repository.printer("reviewer", &text);
    repository.configure(&entry("reviewer", "command", &[&reviewer], ""));
    let report = repository.report(&["--check-fix", "true", "--allow-repro"]);
    let said = report.reviewers[0].review.findings.iter();
    for finding in said {
        let title = &finding.title;
        let checks = &finding.checks;
        assert_eq!(
            result(finding, CheckKind::Repro),
            Some(CheckResult::Unchecked),
            "{title}: {checks:?}"
        );
        // `true` passes without any fix, so it proves nothing.
        assert_ne!(
            result(finding, CheckKind::FixPasses),
            Some(CheckResult::Confirmed),
            "{title}: {checks:?}"
        );
    }
}
