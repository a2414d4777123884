//! A change cannot disable its own reviewers, and a stranger's change runs no code.

use review::model::{History, Outcome};

use crate::repository::{Repository, entry, titles};

/// An analyser that finds the word `total +=` unless a configuration or a comment disables the rule.
const LINT: &str = r#"
for file in ruff.toml pyproject.toml src/ruff.toml .shellcheckrc; do
  if grep -q ignore "$file" 2>/dev/null; then exit 0; fi
done
if [ -e rust-toolchain.toml ]; then echo "toolchain" >&2; exit 1; fi
grep -n 'total += item' src/count.py | grep -v noqa | while IFS=: read -r line rest; do
  printf '{"message": "Adds items", "code": {"value": "X1"}, "severity": "WARNING", "location": {"path": "src/count.py", "range": {"start": {"line": %s}}}}\n' "$line"
done
"#;

fn with_lint() -> Repository {
    let repository = Repository::new();
    let lint = repository.script("lint", LINT);
    repository.configure(&entry(
        "lint",
        "analyser",
        &[&lint],
        "format = \"rdjsonl\"\n",
    ));
    repository
}

#[test]
fn configuration_of_analysers_comes_from_the_merge_base() {
    for (file, text) in [
        ("ruff.toml", "ignore = [\"X1\"]\n"),
        ("pyproject.toml", "[tool.ruff]\nignore = [\"X1\"]\n"),
        ("src/ruff.toml", "ignore = [\"X1\"]\n"),
        (".shellcheckrc", "ignore=X1\n"),
        ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.70.0\"\n"),
    ] {
        for worktree in ["full", "changed"] {
            let repository = with_lint();
            let lint = repository.outside("lint");
            let more = format!("format = \"rdjsonl\"\nworktree = \"{worktree}\"\n");
            repository.configure(&entry("lint", "analyser", &[lint.to_str().unwrap()], &more));
            repository.write(file, text);
            repository.commit("Configure");
            let report = repository.report(&[]);
            assert_eq!(
                titles(&report),
                ["X1: Adds items"],
                "{file}: {:?}",
                report.reviewers
            );
            let concerns = &report.reviewers[0].review.concerns;
            assert!(
                concerns.iter().any(|note| note.text.contains(file)),
                "{file}: {concerns:?}"
            );
        }
    }
}

#[test]
fn configuration_at_the_base_is_used() {
    let repository = with_lint();
    repository.git(&["checkout", "-q", "main"]);
    repository.write("ruff.toml", "ignore = [\"X1\"]\n");
    repository.commit("Ignore X1");
    repository.git(&["checkout", "-q", "feature"]);
    repository.git(&["rebase", "-q", "main"]);
    repository.git(&["rm", "-q", "ruff.toml"]);
    repository.commit("Remove the configuration");
    let report = repository.report(&[]);
    assert!(report.findings.is_empty());
    assert!(
        report.reviewers[0].review.concerns[0]
            .text
            .contains("ruff.toml")
    );
}

#[test]
fn comment_that_disables_a_rule_fixes_nothing_and_is_reported() {
    let repository = with_lint();
    let first = repository.report(&[]);
    assert_eq!(titles(&first).len(), 1);
    let source = std::fs::read_to_string(repository.top().join("src/count.py")).unwrap();
    repository.write(
        "src/count.py",
        &source.replace("+= item", "+= item  # noqa: X1"),
    );
    repository.commit("Silence the linter");
    let second = repository.report(&[]);
    assert!(second.closed.is_empty(), "{:?}", second.closed);
    assert_eq!(second.findings[0].history, History::Open { since: 1 });
    let concerns = &second.reviewers[0].review.concerns;
    assert!(
        concerns.iter().any(|note| note.text.contains("noqa: X1")),
        "{concerns:?}"
    );
    // Another line of the file shows that the code changed.
    repository.write(
        "src/count.py",
        &source.replace("total += item", "total = total + 1"),
    );
    repository.commit("Count again");
    let third = repository.report(&[]);
    assert_eq!(third.closed[0].history, History::Fixed { since: 1 });
}

#[test]
fn analyser_that_runs_code_is_asked_about_own_commits_only() {
    let repository = Repository::new();
    let ran = repository.outside("ran");
    let build = repository.script("build", &format!("touch '{}'", ran.display()));
    for more in ["executes = true\n", ""] {
        // Without `executes`, the name of the program decides.
        let cargo = repository.outside("cargo");
        std::fs::copy(&build, &cargo).unwrap();
        let program = if more.is_empty() {
            cargo.to_str().unwrap()
        } else {
            &build
        };
        let more = format!("format = \"rdjsonl\"\n{more}");
        repository.configure(&entry("build", "analyser", &[program], &more));
        let asked = |args: &[&str]| {
            let _ = std::fs::remove_file(&ran);
            let report = repository.report(&[args, &["--fresh"]].concat());
            let missing = matches!(report.reviewers[0].outcome, Outcome::Missing { .. });
            assert_eq!(missing, !ran.exists());
            ran.exists()
        };
        assert!(asked(&[]), "own commits");
        // A stranger's commit that was fetched and checked out, as by `gh pr checkout`, under any name.
        let tree = repository.git(&["write-tree"]);
        let stranger = repository.git(&["commit-tree", &tree, "-p", "HEAD", "-m", "Fetched"]);
        repository.git(&["checkout", "-q", "-B", "pr", &stranger]);
        assert!(!asked(&[]), "fetched commits");
        assert!(asked(&["--trust-change"]));
        let patch = repository.outside("change.patch");
        let output = format!("--output={}", patch.display());
        repository.git(&["diff", "--binary", &output, "main", "feature"]);
        assert!(!asked(&[
            "--patch",
            patch.to_str().unwrap(),
            "--base",
            "main"
        ]));
        repository.git(&["checkout", "-q", "feature"]);
    }
}
