//! Checks that run commands: only those that the user allowed, in a scratch work tree, with a time limit, without
//! secrets.

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

/// The time limit of the user's command for one fix: a build with its tests.
const CHECK_FIX: Duration = Duration::from_secs(20 * 60);

/// The time limit of a repro.
const REPRO: Duration = Duration::from_secs(60);

/// The output limit of both.
const OUTPUT: usize = 4 * 1024 * 1024;

/// The most commands of one finding that are run.
const REPROS: usize = 3;

/// Variables without secrets: the commands were written by reviewers, or by the author of the change.
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
    // The same for every finding.
    let mut without_fix = None;
    for finding in findings.into_iter().filter(|finding| wanted(finding)) {
        if !options.check_fix.is_empty()
            && let Some(patch) = fix::applicable(finding).map(str::to_owned)
        {
            let fails = *without_fix.get_or_insert_with(|| tree.fails(&options.check_fix));
            let (result, detail) = tree.passes(&patch, &options.check_fix, fails);
            finding
                .checks
                .push(Check::new(CheckKind::FixPasses, result, detail));
        }
        if options.allow_repro {
            for evidence in finding.evidence.clone().iter().take(REPROS) {
                let fix = fix::applicable(finding).map(str::to_owned);
                let claimed = evidence.output.as_deref();
                let (result, detail) = tree.repro(&evidence.command, claimed, fix.as_deref());
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

    /// Applies a fix to the head. The error says why that failed.
    fn with_fix(&self, patch: &str) -> Result<(), String> {
        let tree = self.git.at(&self.path);
        self.reset()
            .and_then(|()| {
                tree.command(["apply", "--whitespace=nowarn", "--unidiff-zero", "-"])
                    .input(patch)
                    .run()
                    .map_err(GitError::from)
            })
            .map_err(|error| format!("the fix cannot be applied: {}", crate::git::short(&error)))?;
        let changed = tree
            .bytes(["status", "--porcelain", "-z"])
            .map_err(|error| crate::git::short(&error))?;
        match changed.is_empty() {
            true => Err("the fix changes nothing".to_owned()),
            false => Ok(()),
        }
    }

    /// Returns whether the user's command fails without any fix.
    fn fails(&self, command: &[String]) -> bool {
        let Some((program, args)) = command.split_first() else {
            return false;
        };
        self.reset().is_ok()
            && self
                .run(program, args, CHECK_FIX)
                .is_ok_and(|output| !output.status.success())
    }

    /// Returns whether the user's command passes with the fix. `fails`: the command fails without the fix, so that
    /// passing proves something.
    fn passes(&self, patch: &str, command: &[String], fails: bool) -> (CheckResult, String) {
        let Some((program, args)) = command.split_first() else {
            return (CheckResult::Unchecked, "there is no command".to_owned());
        };
        let shown = one_line(&command.join(" "), 100);
        if let Err(reason) = self.with_fix(patch) {
            return (CheckResult::Refuted, reason);
        }
        let result = match self.run(program, args, CHECK_FIX) {
            Ok(output) if output.status.success() && fails => (
                CheckResult::Confirmed,
                format!("`{shown}` fails without the fix and passes with it"),
            ),
            Ok(output) if output.status.success() => (
                CheckResult::Unchecked,
                format!("`{shown}` passes with the fix and without it, which proves nothing"),
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

    /// Runs a repro at the head and with the fix. It proves the claim if the defect shows at the head and the command
    /// succeeds without it once the fix is applied: a command that always prints its claim proves nothing.
    fn repro(
        &self,
        command: &str,
        claimed: Option<&str>,
        patch: Option<&str>,
    ) -> (CheckResult, String) {
        let shown = one_line(command, 100);
        if let Err(error) = self.reset() {
            return (CheckResult::Unchecked, error.to_string());
        }
        let before = match self.shell(command) {
            Ok(output) => output,
            Err(reason) => return (CheckResult::Unchecked, reason),
        };
        let lines = lines(claimed.unwrap_or_default());
        let found = printed(&before, &lines);
        if matches!(before.status.code(), Some(126 | 127)) {
            let reason = format!("`{shown}` cannot be run here ({})", before.status);
            return (CheckResult::Unchecked, reason);
        }
        if found < lines.len() {
            let all = lines.len();
            let reason =
                format!("`{shown}` prints {found} of the {all} lines that the reviewer says");
            return (CheckResult::Refuted, reason);
        }
        if lines.is_empty() && before.status.success() {
            let reason = format!("`{shown}` succeeds, and the reviewer does not say what it shows");
            return (CheckResult::Unchecked, reason);
        }
        let at_head = match lines.is_empty() {
            true => format!("`{shown}` fails ({})", before.status),
            false => format!("`{shown}` prints what the reviewer says"),
        };
        let Some(patch) = patch else {
            let reason = format!("{at_head}; without a fix that applies this proves nothing");
            return (CheckResult::Unchecked, reason);
        };
        let after = self.with_fix(patch).and_then(|()| self.shell(command));
        let result = match after {
            Err(reason) => (CheckResult::Unchecked, format!("{at_head}; {reason}")),
            Ok(after) if !after.status.success() => {
                let reason = format!("{at_head}; it fails with the fix, too ({})", after.status);
                (CheckResult::Unchecked, reason)
            }
            Ok(after) if !lines.is_empty() && printed(&after, &lines) == lines.len() => {
                let reason =
                    format!("{at_head}, and prints the same with the fix: this proves nothing");
                (CheckResult::Unchecked, reason)
            }
            Ok(_) => (
                CheckResult::Confirmed,
                format!("{at_head}, and no more with the fix"),
            ),
        };
        if let Err(error) = self.reset() {
            tracing::warn!(%error, "cannot reset the scratch work tree");
        }
        result
    }

    fn shell(&self, command: &str) -> Result<Output, String> {
        match self.run("sh", &["-c".to_owned(), command.to_owned()], REPRO) {
            Ok(output) => Ok(output),
            Err(CommandError::TimedOut { timeout, .. }) => Err(format!(
                "`{}` was still running after {} s",
                one_line(command, 100),
                timeout.as_secs()
            )),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Returns the lines that a repro should print, white space normalised.
fn lines(claimed: &str) -> Vec<String> {
    let lines = claimed.lines().map(flat);
    lines
        .filter(|line| !line.is_empty() && line != "..." && line != "…")
        .collect()
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns how many of the lines a command printed.
fn printed(output: &Output, lines: &[String]) -> usize {
    let said = flat(&format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ));
    lines
        .iter()
        .filter(|line| said.contains(line.as_str()))
        .count()
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
