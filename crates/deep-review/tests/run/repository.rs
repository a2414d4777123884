//! A git repository of a test's own, and the program run in it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use review::model::{Finding, Report};

/// A time limit far above what any test takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    /// `main` with one file, and `feature` checked out, with a change of it.
    pub(crate) fn new() -> Self {
        let repository = Repository {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(repository.top()).unwrap();
        repository.git(&["init", "-q", "-b", "main"]);
        repository.write("src/count.py", "def count(items):\n    total = 0\n    for item in items:\n        total += 1\n    return total\n\n\ndef first(items):\n    return items[0]\n");
        repository.commit("Base");
        repository.git(&["checkout", "-q", "-b", "feature"]);
        repository.write("src/count.py", "def count(items):\n    total = 0\n    for item in items:\n        total += item\n    return total\n\n\ndef first(items):\n    return items[0]\n");
        repository.commit("Sum instead of count");
        repository
    }

    pub(crate) fn top(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@localhost"])
            .args(args)
            .current_dir(self.top())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.top().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Commits without filters, which the repository's own configuration would run.
    pub(crate) fn commit_without_filters(&self, message: &str) {
        let quiet = [
            "-c",
            "core.fsmonitor=false",
            "-c",
            "filter.evil.process=",
            "-c",
            "filter.evil.clean=",
            "-c",
            "filter.evil.required=false",
        ];
        self.git(&[&quiet[..], &["add", "-A"]].concat());
        self.git(&[&quiet[..], &["commit", "-q", "-m", message]].concat());
    }

    /// Writes a script that plays a reviewer; returns its path.
    pub(crate) fn script(&self, name: &str, body: &str) -> String {
        let path = self.outside(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes a script that prints a file's content whatever its arguments are; returns its path.
    pub(crate) fn printer(&self, name: &str, text: &str) -> String {
        let file = self.outside(&format!("{name}.out"));
        std::fs::write(&file, text).unwrap();
        self.script(name, &format!("cat >/dev/null\ncat '{}'", file.display()))
    }

    pub(crate) fn configure(&self, toml: &str) {
        std::fs::write(self.outside("config.toml"), toml).unwrap();
    }

    /// Returns the command, with the configuration if there is one.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_in(&self.state(), args)
    }

    /// Returns [`Repository::command`] with another state folder, as another user has.
    pub(crate) fn command_in(&self, state: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deep-review"));
        command
            .arg("--state")
            .arg(state)
            .args(args)
            .current_dir(self.top())
            .env("XDG_CONFIG_HOME", self.outside("no-configuration"))
            .stdin(Stdio::null());
        if args.first() == Some(&"run") && self.outside("config.toml").exists() {
            command.arg("--config").arg(self.outside("config.toml"));
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let mut all = vec!["run"];
        all.extend(args);
        self.command(&all).output().unwrap()
    }

    /// Runs a review that must succeed, and returns its report.
    pub(crate) fn report(&self, args: &[&str]) -> Report {
        let mut all = vec!["--format", "json"];
        all.extend(args);
        let output = self.run(&all);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(0 | 3)),
            "{}: {errors}",
            output.status
        );
        self.assert_clean();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"))
    }

    /// Checks that no work tree, scratch folder or process is left.
    pub(crate) fn assert_clean(&self) {
        let found = self.left_over();
        assert!(found.is_empty(), "left behind: {found:?}");
    }

    pub(crate) fn left_over(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .git(&["worktree", "list", "--porcelain"])
            .lines()
            .filter_map(|line| line.strip_prefix("worktree "))
            .skip(1)
            .map(|path| format!("work tree {path}"))
            .collect();
        for name in ["work", "layers", "scratch", "trash"] {
            for round in self.rounds() {
                if round.join(name).symlink_metadata().is_ok() {
                    found.push(format!("{}/{name}", round.display()));
                }
            }
        }
        found.extend(self.processes());
        found
    }

    /// Returns the processes whose command line or working directory is in the test's folder.
    pub(crate) fn processes(&self) -> Vec<String> {
        let folder = self.folder.path().canonicalize().unwrap();
        let folder = folder.to_str().unwrap();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            if pid != std::process::id() && (line.contains(folder) || cwd.starts_with(folder)) {
                found.push(format!("process {pid}: {line}"));
            }
        }
        found
    }

    pub(crate) fn rounds(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for repository in list(&self.state()) {
            for target in list(&repository) {
                let rounds = list(&target);
                found.extend(rounds.into_iter().filter(|round| {
                    round
                        .file_name()
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .starts_with("round-")
                }));
            }
        }
        found
    }
}

fn list(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

/// Returns a reviewer entry of a configuration.
pub(crate) fn entry(name: &str, kind: &str, command: &[&str], more: &str) -> String {
    format!("[[reviewer]]\nname = {name:?}\nkind = {kind:?}\ncommand = {command:?}\n{more}\n")
}

/// A review in Markdown with one finding about the change.
pub(crate) const REVIEW: &str = "\
## Executive Summary

One defect.

## Findings

### Important Issues

I1. **The count became a sum** — `src/count.py:4`

```python
        total += item
```

Callers want the number of items, and strings cannot be added.

Fix:

```diff
@@ -4,1 +4,1 @@
-        total += item
+        total += 1
```

## Coverage Summary

| File | Status |
|---|---|
| src/count.py | I1 |
";

pub(crate) fn finding<'a>(report: &'a Report, title: &str) -> &'a Finding {
    let found = report
        .findings
        .iter()
        .flat_map(|merged| &merged.voices)
        .find(|voice| voice.finding.title.contains(title));
    &found
        .unwrap_or_else(|| panic!("{title} in {:?}", titles(report)))
        .finding
}

pub(crate) fn titles(report: &Report) -> Vec<&str> {
    report
        .findings
        .iter()
        .map(|finding| finding.lead.title.as_str())
        .collect()
}
