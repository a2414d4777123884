//! Checks whether a proposed fix applies to the head: as it is, or after its headers and line numbers are corrected.

use std::path::Path;

use review::files::Files;
use review::model::{Check, CheckKind, CheckResult, Finding, ReviewerRun};
use review::plain::one_line;
use review::verify::fix::{ended, is_diff, path_of, rebuild, with_headers};

use crate::git::{Git, GitError};
use crate::target::Pinned;

/// The size limit of a fix; a longer diff is not checked.
const LONGEST: usize = 256 * 1024;

pub(super) fn check(
    git: &Git,
    pinned: &Pinned,
    folder: &Path,
    files: &Files,
    runs: &mut [ReviewerRun],
) -> Result<(), GitError> {
    if !runs
        .iter()
        .flat_map(|run| &run.review.findings)
        .any(|finding| finding.fix.is_some())
    {
        return Ok(());
    }
    // A separate index: fixes are applied to the head without a checkout.
    let index = Index::read(git, folder, &pinned.target.head)?;
    for finding in runs.iter_mut().flat_map(|run| &mut run.review.findings) {
        if let Some((result, detail)) = judge(&index, finding, files) {
            finding
                .checks
                .push(Check::new(CheckKind::FixApplies, result, detail));
        }
    }
    Ok(())
}

fn judge(index: &Index<'_>, finding: &mut Finding, files: &Files) -> Option<(CheckResult, String)> {
    let fix = finding.fix.clone()?;
    if !is_diff(&fix) {
        return Some((CheckResult::Unchecked, "the fix is no diff".to_owned()));
    }
    if fix.len() > LONGEST {
        return Some((
            CheckResult::Unchecked,
            format!("the fix has {} bytes", fix.len()),
        ));
    }
    let given = ended(&fix);
    let has_headers = given.lines().any(|line| line.starts_with("+++ "));
    // git needs an option for patches without context lines.
    if has_headers
        && (index.applies(&given, &[]).is_ok()
            || index.applies(&given, &["--unidiff-zero"]).is_ok())
    {
        return Some((CheckResult::Confirmed, "the fix applies".to_owned()));
    }
    let path = path_of(&given, finding);
    let reason = match index.applies(&given, &[]) {
        Ok(()) => "it has no file headers".to_owned(),
        Err(reason) => reason,
    };
    let Some(path) = path else {
        return Some((
            CheckResult::Refuted,
            format!("the fix does not apply: {reason}"),
        ));
    };
    let headed = with_headers(&given, &path);
    if let Some(text) = &headed {
        for options in [&["--recount"][..], &["--recount", "--unidiff-zero"]] {
            if index.applies(text, options).is_ok() {
                finding.fix = Some(text.clone());
                return Some((
                    CheckResult::Corrected,
                    "the fix applies once its headers and counts are put right".to_owned(),
                ));
            }
        }
    }
    let near = finding.locations.first().and_then(|place| place.start);
    if let Some(text) = files.text(&path)
        && let Some(rebuilt) = rebuild(&given, &path, &text, near)
        && index.applies(&rebuilt, &["--unidiff-zero"]).is_ok()
    {
        finding.fix = Some(rebuilt);
        return Some((
            CheckResult::Corrected,
            format!("the fix applies to {path} once its line numbers are put right"),
        ));
    }
    Some((
        CheckResult::Refuted,
        format!("the fix does not apply: {reason}"),
    ))
}

struct Index<'a> {
    git: &'a Git,
    file: std::path::PathBuf,
}

impl<'a> Index<'a> {
    fn read(git: &'a Git, folder: &Path, head: &str) -> Result<Self, GitError> {
        let file = folder.join("verify.index");
        let index = Index { git, file };
        index
            .command(&["read-tree", "--end-of-options", head])
            .run()?;
        Ok(index)
    }

    fn command(&self, args: &[&str]) -> process::command::Run {
        self.git.command(args).env("GIT_INDEX_FILE", &self.file)
    }

    fn applies(&self, patch: &str, options: &[&str]) -> Result<(), String> {
        let mut args = vec!["apply", "--cached", "--check", "--whitespace=nowarn"];
        args.extend(options);
        args.push("-");
        self.command(&args)
            .input(patch)
            .run()
            .map(|_| ())
            .map_err(|error| one_line(&crate::git::short(&error.into()), 200))
    }
}

impl Drop for Index<'_> {
    fn drop(&mut self) {
        let _ = process::file::remove_if_there(&self.file);
    }
}
