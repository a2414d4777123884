//! Real analysers, where they are installed.

use review::model::Outcome;

use crate::repository::{Repository, titles};

fn is_installed(program: &str) -> bool {
    let there =
        review::adapters::detect::find(program, &std::env::var_os("PATH").unwrap()).is_some();
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

#[test]
fn without_a_configuration_the_analysers_of_the_machine_review() {
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

#[test]
fn clippy_reviews_rust_of_our_own_but_runs_no_code_of_others() {
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
