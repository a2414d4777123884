//! The targets of a review: revisions, pull requests, patches.

use crate::repository::{REVIEW, Repository, entry};

fn configured() -> Repository {
    let repository = Repository::new();
    let good = repository.printer("good", REVIEW);
    repository.configure(&entry("good", "command", &[&good], ""));
    repository
}

#[test]
fn branch_is_reviewed_against_its_merge_base() {
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
fn pull_request_is_fetched_on_request() {
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
fn patch_is_reviewed_without_changing_the_checkout() {
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
fn invalid_targets_fail_with_the_reason() {
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
        (&["--patch", "no.patch"], 4, "cannot read the patch"),
        (
            &["--pr", "5", "--remote", "."],
            4,
            "(refs/pull/5/head): fatal: ",
        ),
        (&["--pr", "5", "--remote", "."], 4, "name it with --head"),
        (&["--round", "0"], 2, "auto"),
        (&["--reviewer", "unknown-reviewer"], 2, "unknown-reviewer"),
        (&["--format", "json,sarif"], 2, "--output"),
    ] {
        let output = repository.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(said), "{args:?}: {errors}");
        // The message appears once, and without git's command line.
        let causes = errors.matches("No such file or directory").count();
        assert!(
            causes <= 1 && !errors.contains("core.hooksPath"),
            "{errors}"
        );
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

#[test]
fn published_change_has_a_page_without_a_token() {
    let repository = configured();
    repository.git(&[
        "remote",
        "add",
        "origin",
        "https://me:s3cret-t0ken@github.com/owner/name.git",
    ]);
    // The commit was not pushed.
    assert_eq!(repository.report(&[]).target.url, None);
    repository.git(&["update-ref", "refs/remotes/origin/feature", "feature"]);
    let report = repository.report(&["--base", "main"]);
    let (base, head) = (
        repository.git(&["rev-parse", "main"]),
        repository.git(&["rev-parse", "feature"]),
    );
    assert_eq!(
        report.target.url.as_deref(),
        Some(format!("https://github.com/owner/name/compare/{base}...{head}").as_str())
    );
    assert_eq!(
        report.target.repo.as_deref(),
        Some("https://github.com/owner/name.git")
    );
    assert!(!serde_json::to_string(&report).unwrap().contains("s3cret"));
}

#[test]
fn added_and_removed_lines_match_git() {
    let repository = configured();
    let lines: Vec<String> = (1..60).map(|n| format!("line {n}")).collect();
    repository.write("long.txt", &(lines.join("\n") + "\n"));
    repository.write("becomes-a-link", "one\ntwo\nthree\n");
    repository.write("goes", "x\ny");
    let base = repository.commit("Before");
    let changed: Vec<String> = lines
        .iter()
        .enumerate()
        .filter(|(n, _)| *n != 30)
        .map(|(n, line)| match n {
            3 | 4 | 50 => format!("-{line}\n+more"),
            _ => line.clone(),
        })
        .collect();
    repository.write("long.txt", &changed.join("\n"));
    std::fs::remove_file(repository.top().join("becomes-a-link")).unwrap();
    std::os::unix::fs::symlink("long.txt", repository.top().join("becomes-a-link")).unwrap();
    std::fs::remove_file(repository.top().join("goes")).unwrap();
    repository.write("src/new.py", "x = 1\n");
    repository.commit("After");
    let report = repository.report(&["--base", &base]);
    let mut counted: Vec<String> = report
        .target
        .changes
        .iter()
        .map(|change| format!("{}\t{}\t{}", change.added, change.removed, change.path))
        .collect();
    counted.sort();
    let numstat = repository.git(&["diff", "--no-ext-diff", "--numstat", &base, "HEAD"]);
    let mut expected: Vec<&str> = numstat.lines().collect();
    expected.sort_unstable();
    assert_eq!(counted, expected);
}

#[test]
fn applicable_fix_is_in_sarif() {
    let repository = configured();
    let folder = repository.outside("reports");
    let output = repository.run(&[
        "--format",
        "sarif,github",
        "--output",
        folder.to_str().unwrap(),
    ]);
    assert!(output.status.success());
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let sarif = read("review.sarif");
    let change = &sarif["runs"][0]["results"][0]["fixes"][0]["artifactChanges"][0];
    assert_eq!(change["artifactLocation"]["uri"], "src/count.py");
    let replacement = &change["replacements"][0];
    assert_eq!(
        replacement["deletedRegion"],
        serde_json::json!({"startLine": 4, "startColumn": 1, "endLine": 5, "endColumn": 1})
    );
    assert_eq!(
        replacement["insertedContent"]["text"],
        "        total += 1\n"
    );
    let github = read("github-review.json");
    let comment = &github["comments"][0];
    assert_eq!(
        (&comment["line"], &comment["start_line"]),
        (&4.into(), &serde_json::Value::Null)
    );
    let body = comment["body"].as_str().unwrap();
    assert!(
        body.ends_with("\n```suggestion\n        total += 1\n```\n"),
        "{body}"
    );
}

#[test]
fn inapplicable_fix_is_left_out_of_sarif() {
    let repository = Repository::new();
    let lie = REVIEW
        .replace("-        total += item", "-        no_such_line += item")
        .replace("@@ -4", "--- a/src/count.py\n+++ b/src/count.py\n@@ -4");
    let good = repository.printer("good", &lie);
    repository.configure(&entry("good", "command", &[&good], ""));
    for format in ["sarif", "github"] {
        let output = repository.run(&[
            "--format",
            format,
            "--round",
            if format == "sarif" { "1" } else { "2" },
        ]);
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            !text.contains("\"fixes\"") && !text.contains("```suggestion"),
            "{text}"
        );
    }
}

#[test]
fn report_in_two_formats_counts_once() {
    let repository = configured();
    let folder = repository.outside("reports");
    let folder = folder.to_str().unwrap();
    repository.run(&["--format", "markdown,json", "--output", folder]);
    let output = repository
        .command(&["stats", "--json", folder])
        .output()
        .unwrap();
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&all[0]["reports"], &all[0]["reported"]),
        (&1.into(), &1.into()),
        "{all}"
    );
}
