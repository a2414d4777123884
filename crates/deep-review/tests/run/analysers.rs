//! Real analysers, if they are installed.

use review::model::{CheckKind, CheckResult, Outcome, Severity};

use crate::repository::{Repository, finding, titles};

fn is_installed(program: &str) -> bool {
    testutils::program_or_skip(testutils::Need::Analyser, program).is_some()
}

#[test]
fn run_without_configuration_uses_installed_analysers() {
    if !is_installed("shellcheck") {
        return;
    }
    let repository = Repository::new();
    repository.write("-rf.sh", "#!/bin/sh\nrm -rf $1/*\n");
    repository.commit("Add a script with a strange name");
    let report = repository.report(&[]);
    let shellcheck = report
        .reviewers
        .iter()
        .find(|run| run.name == "shellcheck")
        .unwrap();
    assert_eq!(shellcheck.outcome, Outcome::Finished { warning: None });
    assert!(
        titles(&report).iter().any(|title| title.contains("SC2115")),
        "{:?}",
        titles(&report)
    );
    assert_eq!(report.findings[0].lead.locations[0].path, "-rf.sh");
}

/// Puts the folder with the analysers that scripts/install-packages installs before the search path.
fn with_tools(repository: &Repository, args: &[&str]) -> std::process::Output {
    repository
        .command(args)
        .env("PATH", testutils::path_with_tools())
        .output()
        .unwrap()
}

fn report(output: &std::process::Output) -> review::model::Report {
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
}

#[test]
fn ruff_reviews_python() {
    if !is_installed("ruff") {
        return;
    }
    let repository = Repository::new();
    repository.write(
        "a folder/ü.py",
        "import os\nimport sys\n\nprint(sys.argv)\n",
    );
    repository.write("broken.py", "def broken(:\n    pass\n");
    repository.commit("Add Python");
    let report = report(&with_tools(
        &repository,
        &["run", "--reviewer", "ruff", "--format", "json"],
    ));
    assert_eq!(
        report.reviewers[0].outcome,
        Outcome::Finished { warning: None },
    );
    let unused = finding(&report, "F401");
    assert_eq!(unused.severity, Severity::Suggestion);
    assert_eq!(unused.locations[0].path, "a folder/ü.py");
    assert_eq!(
        (unused.locations[0].start, unused.locations[0].end),
        (Some(1), None)
    );
    assert!(unused.explanation.len() < 1000, "{}", unused.explanation);
    let syntax = finding(&report, "Expected a parameter");
    assert_eq!(syntax.severity, Severity::Important);
    assert_eq!(syntax.locations[0].path, "broken.py");
    repository.assert_clean();
}

#[test]
fn hadolint_reviews_dockerfiles() {
    if !is_installed("hadolint") {
        return;
    }
    let repository = Repository::new();
    repository.write(
        "Dockerfile",
        "FROM debian:12\nRUN apt-get update && apt-get install curl\n",
    );
    repository.write(
        "a folder/ü.dockerfile",
        "FROM debian:12\nMAINTAINER example\n",
    );
    repository.commit("Add images");
    let report = report(&with_tools(
        &repository,
        &["run", "--reviewer", "hadolint", "--format", "json"],
    ));
    assert_eq!(
        report.reviewers[0].outcome,
        Outcome::Finished { warning: None },
    );
    let deprecated = finding(&report, "DL4000");
    assert_eq!(deprecated.severity, Severity::Important);
    assert_eq!(deprecated.locations[0].path, "a folder/ü.dockerfile");
    assert_eq!(deprecated.locations[0].start, Some(2));
    // Two rules about the same words of one line are two findings.
    for rule in ["DL3008", "DL3014"] {
        let raised = report
            .findings
            .iter()
            .any(|merged| merged.lead.title.contains(rule));
        assert!(raised, "{rule} in {:?}", titles(&report));
    }
    repository.assert_clean();
}

#[test]
fn semgrep_uses_the_rules_of_the_repository() {
    if !is_installed("semgrep") {
        return;
    }
    let repository = Repository::new();
    repository.git(&["checkout", "-q", "main"]);
    repository.write(
        ".semgrep.yml",
        "rules:\n  - id: no-eval\n    languages: [python]\n    severity: ERROR\n    message: eval runs whatever it is given\n    pattern: eval(...)\n",
    );
    repository.commit("Rules");
    repository.git(&["checkout", "-q", "-b", "evaluate"]);
    repository.write("a folder/ü.py", "def run(text):\n    return eval(text)\n");
    repository.commit("Evaluate");
    // clippy is among the analysers of a run without a configuration.
    let report = report(&with_tools(&repository, &["run", "--format", "json"]));
    let semgrep = report.reviewers.iter().find(|run| run.name == "semgrep");
    assert_eq!(
        semgrep.unwrap().outcome,
        Outcome::Finished { warning: None },
    );
    let eval = finding(&report, "no-eval");
    assert_eq!(eval.severity, Severity::Important);
    assert_eq!(eval.locations[0].path, "a folder/ü.py");
    assert_eq!(eval.locations[0].start, Some(2));
    assert_eq!(
        eval.quote.as_deref().map(str::trim),
        Some("return eval(text)")
    );
    repository.assert_clean();
}

#[test]
fn clippy_reviews_own_commits_and_skips_fetched_ones() {
    if !is_installed("cargo-clippy") {
        return;
    }
    let repository = Repository::new();
    repository.write(
        "Cargo.toml",
        "[package]\nname = \"sample\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n",
    );
    repository.write(
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"sample\"\nversion = \"0.1.0\"\n",
    );
    repository.write("src/lib.rs", "pub fn one() -> i32 {\n    return 1;\n}\n");
    repository.commit("Add Rust");
    let report = repository.report(&["--reviewer", "clippy"]);
    assert!(
        titles(&report)
            .iter()
            .any(|title| title.contains("needless_return")),
        "{:?}",
        report.reviewers
    );

    // clippy's suggestion is a fix that was checked to apply.
    let fixed = finding(&report, "needless_return");
    assert!(
        fixed
            .checks
            .iter()
            .any(|check| check.kind == CheckKind::FixApplies
                && check.result == CheckResult::Confirmed),
        "{fixed:?}"
    );

    let patch = repository.outside("change.patch");
    std::fs::write(
        &patch,
        repository.git(&["diff", "--binary", "main", "feature"]) + "\n",
    )
    .unwrap();
    let output = repository.run(&["--patch", patch.to_str().unwrap(), "--base", "main"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("clippy: working"), "{errors}");
}
