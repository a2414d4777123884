//! What is reviewed: revisions, pull requests, patches.

use crate::repository::{REVIEW, Repository, entry};

fn configured() -> Repository {
    let repository = Repository::new();
    let good = repository.printer("good", REVIEW);
    repository.configure(&entry("good", "command", &[&good], ""));
    repository
}

#[test]
fn a_branch_is_reviewed_against_its_merge_base() {
    let repository = configured();
    let base = repository.git(&["rev-parse", "main"]);
    repository.git(&["checkout", "-q", "main"]);
    repository.write("other.txt", "landed meanwhile\n");
    repository.commit("Something else");
    let report = repository.report(&["--head", "feature"]);
    assert_eq!(report.target.base, base);
    assert_eq!(
        report.target.head,
        repository.git(&["rev-parse", "feature"])
    );
    assert_eq!(report.target.files, ["src/count.py"]);
    assert_eq!(report.target.name, "feature");
    assert!(report.target.commits[0].ends_with("Sum instead of count"));
    assert_eq!(
        (
            report.target.changes[0].added,
            report.target.changes[0].removed
        ),
        (1, 1)
    );
}

#[test]
fn a_pull_request_is_fetched_when_asked_for() {
    let origin = configured();
    let repository = configured();
    repository.git(&["remote", "add", "origin", origin.top().to_str().unwrap()]);
    origin.write("src/new.py", "x = 1\n");
    let head = origin.commit("Add new");
    origin.git(&["update-ref", "refs/pull/7/head", &head]);
    origin.git(&["checkout", "-q", "main"]);
    let report = repository.report(&["--pr", "7"]);
    assert_eq!(report.target.head, head);
    assert_eq!(report.target.name, "pr-7");
    assert_eq!(report.target.files, ["src/count.py", "src/new.py"]);
}

#[test]
fn a_patch_is_reviewed_without_touching_the_checkout() {
    let repository = configured();
    let patch = repository.outside("sum.patch");
    std::fs::write(
        &patch,
        repository.git(&["format-patch", "--stdout", "main..feature"]) + "\n",
    )
    .unwrap();
    repository.git(&["checkout", "-q", "main"]);
    let report = repository.report(&["--patch", patch.to_str().unwrap()]);
    assert_eq!(report.target.name, "patch-sum");
    assert_eq!(report.target.files, ["src/count.py"]);
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
    assert_eq!(
        repository.git(&["rev-parse", "HEAD"]),
        repository.git(&["rev-parse", "main"])
    );
}

#[test]
fn what_cannot_be_reviewed_is_said() {
    let repository = configured();
    let wrong = repository.outside("wrong.patch");
    std::fs::write(
        &wrong,
        "--- a/src/count.py\n+++ b/src/count.py\n@@ -1 +1 @@\n-no such line\n+x\n",
    )
    .unwrap();
    for (args, code, said) in [
        (&["--head", "no-such-branch"][..], 4, "no-such-branch"),
        (&["--head=--upload-pack=touch pwned"], 4, "upload-pack"),
        (&["--head", "main"], 4, "nothing to review"),
        (&["--patch", wrong.to_str().unwrap()], 4, "does not apply"),
        (&["--round", "0"], 2, "auto"),
        (&["--reviewer", "nobody"], 2, "nobody"),
        (&["--format", "json,sarif"], 2, "--output"),
    ] {
        let output = repository.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(said), "{args:?}: {errors}");
    }
    assert!(!repository.top().join("pwned").exists());
    repository.assert_clean();
}

#[test]
fn reports_are_written_and_fail_on_sets_the_exit_code() {
    let repository = configured();
    let folder = repository.outside("reports");
    let formats = "markdown,html,json,sarif,github,gitlab";
    let output = repository.run(&[
        "--format",
        formats,
        "--output",
        folder.to_str().unwrap(),
        "--fail-on",
        "important",
    ]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "gl-code-quality-report.json",
            "github-review.json",
            "review.html",
            "review.json",
            "review.md",
            "review.sarif"
        ]
        .map(str::to_owned)
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
    );
    assert!(
        std::fs::read_to_string(folder.join("review.md"))
            .unwrap()
            .contains("The count became a sum")
    );
    assert_eq!(
        repository.run(&["--fail-on", "critical"]).status.code(),
        Some(0)
    );
}
