//! Checks that run something: only what the user asked for, in a scratch work tree, with a limit, without our secrets.

use std::path::PathBuf;
use std::time::Duration;

use process::command::{CommandError, Output, Run};

use review::plain::one_line;
use review::verify::fix;

use super::Options;
use crate::git::{Git, GitError};
use crate::state::RoundFolder;
use crate::target::Pinned;
use crate::worktree::{self, Extent};
use review::model::{Check, CheckKind, CheckResult, Finding, ReviewerRun};

/// What the user's command may take for one fix: a build with its tests.
const CHECK_FIX: Duration = Duration::from_secs(20 * 60);

/// What a repro may take.
const REPRO: Duration = Duration::from_secs(60);

/// What either may print.
const OUTPUT: usize = 4 * 1024 * 1024;

/// How many commands of one finding are run.
const REPROS: usize = 3;

/// No secrets: what runs here was written by reviewers, or by the author of the change.
const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SYSTEMROOT",
];

/// The work tree's name; no reviewer's slug has a dot.
const NAME: &str = "verify.tree";

pub(super) fn check(
    git: &Git,
    pinned: &Pinned,
    round: &RoundFolder,
    runs: &mut [ReviewerRun],
    options: &Options,
) -> Result<(), GitError> {
    let mut findings: Vec<&mut Finding> = runs
        .iter_mut()
        .flat_map(|run| &mut run.review.findings)
        .collect();
    let wanted = |finding: &Finding| {
        (!options.check_fix.is_empty() && fix::applicable(finding).is_some())
            || (options.allow_repro && !finding.evidence.is_empty())
    };
    if !options.allow_repro {
        for finding in findings
            .iter_mut()
            .filter(|finding| !finding.evidence.is_empty())
        {
            let detail = "the repro was not run; --allow-repro runs it".to_owned();
            finding
                .checks
                .push(Check::new(CheckKind::Repro, CheckResult::Unchecked, detail));
        }
    }
    if !findings.iter().any(|finding| wanted(finding)) {
        return Ok(());
    }
    let tree = Scratch::make(git, pinned, round)?;
    for finding in findings.into_iter().filter(|finding| wanted(finding)) {
        if !options.check_fix.is_empty()
            && let Some(patch) = fix::applicable(finding).map(str::to_owned)
        {
            let (result, detail) = tree.passes(&patch, &options.check_fix);
            finding
                .checks
                .push(Check::new(CheckKind::FixPasses, result, detail));
        }
        if options.allow_repro {
            for evidence in finding.evidence.iter().take(REPROS) {
                let (result, detail) = tree.repro(&evidence.command, evidence.output.as_deref());
                finding
                    .checks
                    .push(Check::new(CheckKind::Repro, result, detail));
            }
        }
    }
    Ok(())
}

struct Scratch<'a> {
    git: &'a Git,
    path: PathBuf,
    trash: PathBuf,
    cache: PathBuf,
}

impl<'a> Scratch<'a> {
    fn make(git: &'a Git, pinned: &Pinned, round: &RoundFolder) -> Result<Self, GitError> {
        let path = round.path().join("work").join(NAME);
        let scratch = Scratch {
            git,
            path,
            trash: round.trash(),
            cache: round.path().join("scratch").join(NAME),
        };
        for folder in [scratch.path.parent(), Some(scratch.cache.as_path())]
            .into_iter()
            .flatten()
        {
            if let Err(error) = process::file::create_private_dir(folder) {
                tracing::warn!(%error, "cannot make a scratch folder");
            }
        }
        worktree::add(git, &scratch.path, &pinned.target.head, Extent::Full, &[]).map_err(
            |error| match error {
                worktree::WorktreeError::Git(error) => error,
                error => GitError::Output {
                    what: "worktree add",
                    reason: error.to_string(),
                },
            },
        )?;
        Ok(scratch)
    }

    fn run(
        &self,
        program: &str,
        args: &[String],
        timeout: Duration,
    ) -> Result<Output, CommandError> {
        Run::new(program, timeout)
            .args(args)
            .cwd(&self.path)
            .env_only(ENVIRONMENT)
            .env("TMPDIR", &self.cache)
            .env("CARGO_TARGET_DIR", self.cache.join("target"))
            .limit(OUTPUT)
            .run_any()
    }

    fn reset(&self) -> Result<(), GitError> {
        let tree = self.git.at(&self.path);
        tree.bytes(["reset", "--hard", "--quiet"])?;
        tree.bytes(["clean", "-ffdxq"])?;
        Ok(())
    }

    fn passes(&self, patch: &str, command: &[String]) -> (CheckResult, String) {
        let Some((program, args)) = command.split_first() else {
            return (CheckResult::Unchecked, "there is no command".to_owned());
        };
        let shown = one_line(&command.join(" "), 100);
        let tree = self.git.at(&self.path);
        let applied = self.reset().and_then(|()| {
            tree.command(["apply", "--whitespace=nowarn", "--unidiff-zero", "-"])
                .input(patch)
                .run()
                .map_err(GitError::from)
        });
        if let Err(error) = applied {
            let reason = crate::git::short(&error);
            return (
                CheckResult::Refuted,
                format!("the fix cannot be applied: {reason}"),
            );
        }
        let result = match self.run(program, args, CHECK_FIX) {
            Ok(output) if output.status.success() => (
                CheckResult::Confirmed,
                format!("`{shown}` passes with the fix"),
            ),
            Ok(output) => (
                CheckResult::Refuted,
                format!(
                    "`{shown}` fails with the fix ({}): {}",
                    output.status,
                    last_line(&output.stderr)
                ),
            ),
            Err(error @ CommandError::TimedOut { .. }) => (CheckResult::Refuted, error.to_string()),
            Err(error) => (CheckResult::Unchecked, error.to_string()),
        };
        if let Err(error) = self.reset() {
            tracing::warn!(%error, "cannot reset the scratch work tree");
        }
        result
    }

    /// A reviewer's command is a line for a shell. That the user allowed it is the only reason why it is run.
    fn repro(&self, command: &str, claimed: Option<&str>) -> (CheckResult, String) {
        if let Err(error) = self.reset() {
            return (CheckResult::Unchecked, error.to_string());
        }
        let shown = one_line(command, 100);
        let output = match self.run("sh", &["-c".to_owned(), command.to_owned()], REPRO) {
            Ok(output) => output,
            Err(CommandError::TimedOut { timeout, .. }) => {
                let said = format!("`{shown}` was still running after {} s", timeout.as_secs());
                return (CheckResult::Unchecked, said);
            }
            Err(error) => return (CheckResult::Unchecked, error.to_string()),
        };
        let said = format!(
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let Some(claimed) = claimed.filter(|claimed| !claimed.trim().is_empty()) else {
            return (
                CheckResult::Unchecked,
                format!(
                    "`{shown}` ended with {}; the reviewer does not say what it shows",
                    output.status
                ),
            );
        };
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (said, lines): (String, Vec<String>) = (
            flat(&said),
            claimed
                .lines()
                .map(flat)
                .filter(|line| !line.is_empty() && line != "..." && line != "…")
                .collect(),
        );
        let shows = lines
            .iter()
            .filter(|line| said.contains(line.as_str()))
            .count();
        if shows == lines.len() {
            (
                CheckResult::Confirmed,
                format!("`{shown}` prints what the reviewer says"),
            )
        } else {
            (
                CheckResult::Refuted,
                format!(
                    "`{shown}` prints {shows} of the {} lines that the reviewer says",
                    lines.len()
                ),
            )
        }
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if let Err(error) = worktree::remove(self.git, &self.path, &self.trash) {
            tracing::warn!(%error, "cannot remove the scratch work tree");
        }
    }
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    one_line(line, 200)
}
