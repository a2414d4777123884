//! The reviewers of a run without a configuration: the analysers that are installed, for the languages in the change.
//! All of them work offline.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::Kind;
use super::config::Reviewer;
use crate::worktree::Extent;
use review::parse::Format;

struct Analyser {
    name: &'static str,
    command: &'static [&'static str],
    format: Format,
    only: &'static [&'static str],
    extent: Extent,
    executes: bool,
    /// A file that the repository must have for this analyser to be useful.
    needs: Option<&'static str>,
}

const KNOWN: &[Analyser] = &[
    Analyser {
        name: "clippy",
        command: &[
            "cargo",
            "clippy",
            "--offline",
            "--quiet",
            "--workspace",
            "--message-format=json",
        ],
        format: Format::Cargo,
        only: &[".rs"],
        extent: Extent::Full,
        // clippy runs build scripts and procedural macros of the change.
        executes: true,
        needs: Some("Cargo.toml"),
    },
    Analyser {
        name: "shellcheck",
        command: &["shellcheck", "--format=checkstyle", "--", "{files}"],
        format: Format::Checkstyle,
        only: &[".sh", ".bash", ".dash", ".ksh", ".bats"],
        extent: Extent::Changed,
        executes: false,
        needs: None,
    },
    Analyser {
        name: "ruff",
        command: &[
            "ruff",
            "check",
            "--output-format=sarif",
            "--no-cache",
            "--force-exclude",
            "--",
            "{files}",
        ],
        format: Format::Sarif,
        only: &[".py", ".pyi"],
        extent: Extent::Changed,
        executes: false,
        needs: None,
    },
    Analyser {
        name: "hadolint",
        command: &["hadolint", "--format", "sarif", "--", "{files}"],
        format: Format::Sarif,
        only: &["Dockerfile", ".dockerfile"],
        extent: Extent::Changed,
        executes: false,
        needs: None,
    },
    Analyser {
        name: "semgrep",
        command: &[
            "semgrep",
            "scan",
            "--config=.semgrep.yml",
            "--sarif",
            "--quiet",
            "--metrics=off",
            "--disable-version-check",
            "--",
            "{files}",
        ],
        format: Format::Sarif,
        only: &[],
        extent: Extent::Changed,
        executes: false,
        // Without the repository's own rules semgrep would download some.
        needs: Some(".semgrep.yml"),
    },
];

impl Analyser {
    fn reviewer(&self) -> Reviewer {
        let mut reviewer = Reviewer::new(self.name, Kind::Analyser, self.command);
        reviewer.format = self.format;
        reviewer.only = self.only.iter().map(|end| (*end).to_owned()).collect();
        reviewer.worktree = self.extent;
        reviewer.executes = Some(self.executes);
        reviewer
    }
}

/// Returns the reviewers that can be named without a configuration: the analysers, and the agents with their own
/// defaults.
#[must_use]
pub fn known() -> Vec<Reviewer> {
    let agents = [
        ("claude", Kind::Claude),
        ("codex", Kind::Codex),
        ("gemini", Kind::Gemini),
    ];
    KNOWN
        .iter()
        .map(Analyser::reviewer)
        .chain(agents.map(|(name, kind)| Reviewer::new(name, kind, &[])))
        .collect()
}

/// Returns the analysers for a change of `files` that are installed in the folders of `path`. `is_there` reports
/// whether the repository has a file: configuration at the merge base, anything else at the head. `runs_code`: whether to include analysers that run code of the
/// change.
#[must_use]
pub fn analysers(
    files: &[&str],
    path: &OsStr,
    is_there: impl Fn(&str) -> bool,
    runs_code: bool,
) -> Vec<Reviewer> {
    KNOWN
        .iter()
        .filter(|known| runs_code || !known.executes)
        .filter(|known| known.needs.is_none_or(&is_there))
        .map(Analyser::reviewer)
        .filter(|reviewer| files.iter().any(|file| reviewer.wants(file)))
        .filter(|reviewer| is_installed(reviewer, path))
        .collect()
}

fn is_installed(reviewer: &Reviewer, path: &OsStr) -> bool {
    match reviewer.command.as_slice() {
        [cargo, clippy, ..] if cargo == "cargo" && clippy == "clippy" => {
            find("cargo", path).is_some() && find("cargo-clippy", path).is_some()
        }
        [program, ..] => find(program, path).is_some(),
        [] => false,
    }
}

/// Returns the file that a program's name resolves to in a search path.
#[must_use]
pub fn find(program: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(format!("{program}{}", std::env::consts::EXE_SUFFIX)))
        .find(|file| is_executable(file))
}

#[cfg(unix)]
fn is_executable(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &std::path::Path) -> bool {
    file.is_file()
}
