//! Tests that cannot run on this machine. libtest counts a test that returns early as passed, so each one is recorded,
//! and `scripts/test` counts and lists the records.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

use crate::machine;

/// Names the file to which records are appended, one line each: the need, the test and the reason, between tabs.
const FILE: &str = "RDD_TEST_SKIPS";

/// What a test needs, and not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The command-line agents that `scripts/install-agents` installs.
    Agents,
    /// An analyser such as ruff, which `scripts/install-packages --tests` installs.
    Analyser,
    /// `chromium` and `chromedriver`.
    Browser,
    /// Cgroups of version 2 that this user may make.
    Cgroups,
    /// A folder with real review reports, which `DEEP_REVIEW_CORPUS` names.
    Corpus,
    /// A kernel that signals the process group of a pidfd (Linux 6.9).
    GroupSignals,
    /// `kubectl`.
    Kubectl,
    /// Namespaces of users, processes, mounts or networks.
    Namespaces,
    /// The rights of root.
    Root,
    /// `tmux`.
    Tmux,
}

impl Need {
    /// Why a test may be skipped for this need even where `CI` is set. Everything else is installed there.
    fn may_be_missing_on_ci(self) -> Option<&'static str> {
        match self {
            Need::Agents => Some("they are 800 MB of other vendors' programs"),
            Need::Cgroups => Some("a container is seldom given any"),
            Need::Corpus => Some("the reports are not part of the project"),
            Need::GroupSignals => Some("Debian 12 has Linux 6.1"),
            Need::Namespaces => Some("a container may forbid them"),
            Need::Root => Some("CI may run as an ordinary user"),
            Need::Analyser | Need::Browser | Need::Kubectl | Need::Tmux => None,
        }
    }
}

/// Records that the running test cannot do its work because `need` is missing; the test returns right afterwards.
///
/// # Panics
/// When `CI` is set and the need is not one that may be missing there.
#[track_caller]
pub fn skip(need: Need, reason: impl Display) {
    let test = test_name();
    eprintln!("skipped: {test}: {reason}");
    if let Some(file) = std::env::var_os(FILE).filter(|file| !file.is_empty()) {
        record(&PathBuf::from(file), need, &test, &reason.to_string());
    }
    let on_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(
        !on_ci || need.may_be_missing_on_ci().is_some(),
        "{test} needs {need:?}, which must not be missing where CI is set: {reason}"
    );
}

fn record(file: &PathBuf, need: Need, test: &str, reason: &str) {
    let reason = reason.replace(['\n', '\t'], " ");
    // One write, so that lines of test programs that run side by side stay whole.
    let line = format!("{need:?}\t{test}\t{reason}\n");
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the file with the skipped tests");
}

/// The test program's name without cargo's hash, and the test's path; libtest names the thread after it.
fn test_name() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy();
    let program = program.rsplit_once('-').map_or(&*program, |(name, _)| name);
    let thread = std::thread::current();
    format!("{program}::{}", thread.name().unwrap_or("?"))
}

/// The path of a program in `PATH` or among the tools that `scripts/install-packages --tests` installs. Where it is
/// missing, records that the test is skipped for this need.
#[track_caller]
#[must_use]
pub fn program_or_skip(need: Need, name: &str) -> Option<PathBuf> {
    let found = which::which_in(name, Some(machine::path_with_tools()), ".").ok();
    if found.is_none() {
        skip(need, format_args!("{name} is not installed"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_lines_of_three_fields() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("skips");
        record(&file, Need::Kubectl, "cli::a", "not\nhere");
        record(&file, Need::Tmux, "cli::b", "no terminal");
        let text = std::fs::read_to_string(&file).expect("the records");
        assert_eq!(
            text,
            "Kubectl\tcli::a\tnot here\nTmux\tcli::b\tno terminal\n"
        );
    }

    #[test]
    fn test_is_named_after_its_program_and_its_path() {
        let name = test_name();
        assert_eq!(
            name,
            "testutils::skip::tests::test_is_named_after_its_program_and_its_path"
        );
    }
}
