//! Whether a proposed fix applies to the head: as it is, or once its headers and line numbers are put right.
//!
//! Reviewers write diffs without file headers, with wrong counts and wrong line numbers, or with no `@@` at all. What
//! such a diff removes and keeps is looked for in the file, and a correct diff is made of it.

use std::path::Path;

use crate::git::{Blobs, Git, GitError, parse_patch_paths};
use crate::model::{CheckKind, CheckResult, Finding, ReviewerRun};
use crate::target::Pinned;

/// A fix is short; a longer diff is not looked at.
const LONGEST: usize = 256 * 1024;

pub(super) fn check(
    git: &Git,
    pinned: &Pinned,
    folder: &Path,
    blobs: &Blobs,
    runs: &mut [ReviewerRun],
) -> Result<(), GitError> {
    if !runs
        .iter()
        .flat_map(|run| &run.review.findings)
        .any(|finding| finding.fix.is_some())
    {
        return Ok(());
    }
    // An index of its own: fixes are tried against the head without a checkout.
    let index = Index::read(git, folder, &pinned.target.head)?;
    for finding in runs.iter_mut().flat_map(|run| &mut run.review.findings) {
        if let Some((result, detail)) = judge(&index, finding, blobs) {
            finding
                .checks
                .push(super::check(CheckKind::FixApplies, result, detail));
        }
    }
    Ok(())
}

fn judge(index: &Index<'_>, finding: &mut Finding, blobs: &Blobs) -> Option<(CheckResult, String)> {
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
    // Without context lines git wants to be told that there are none.
    if has_headers
        && (index.applies(&given, &[]).is_ok()
            || index.applies(&given, &["--unidiff-zero"]).is_ok())
    {
        return Some((CheckResult::Confirmed, "the fix applies".to_owned()));
    }
    let path = fix_path(&given, finding);
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
    if let Some(text) = blobs.text(&path)
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

/// The diff of a finding whose fix applies.
pub(super) fn applicable(finding: &Finding) -> Option<&str> {
    let applies = finding.checks.iter().any(|check| {
        check.kind == CheckKind::FixApplies
            && matches!(
                check.result,
                CheckResult::Confirmed | CheckResult::Corrected
            )
    });
    finding.fix.as_deref().filter(|_| applies)
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
            .map_err(|error| crate::adapters::one_line(&crate::git::short(&error.into()), 200))
    }
}

impl Drop for Index<'_> {
    fn drop(&mut self) {
        let _ = process::file::remove_if_there(&self.file);
    }
}

/// Whether a fix is a diff and no prose or plain code.
#[must_use]
pub fn is_diff(fix: &str) -> bool {
    fix.lines().any(|line| line.starts_with("@@"))
        || (fix
            .lines()
            .any(|line| line.starts_with('+') || line.starts_with('-'))
            && fix.lines().all(|line| {
                line.is_empty() || line.starts_with(['+', '-', ' ', '\t', '\\', 'd', 'i'])
            }))
}

fn ended(fix: &str) -> String {
    let mut text: String = fix
        .lines()
        .map(|line| line.trim_end_matches('\r'))
        .collect::<Vec<_>>()
        .join("\n");
    text.push('\n');
    text
}

/// The file that a fix is for: the one it names, else the finding's own.
fn fix_path(fix: &str, finding: &Finding) -> Option<String> {
    let named = parse_patch_paths(fix);
    let own = finding.locations.first().map(|place| place.path.clone());
    match named.as_slice() {
        [] => own,
        [one] => Some(match own {
            // A path that is cut short is the finding's.
            Some(own) if own.ends_with(one.as_str()) => own,
            _ => one.clone(),
        }),
        _ => None,
    }
}

/// The hunks below headers of our own; `None` without a hunk header.
fn with_headers(fix: &str, path: &str) -> Option<String> {
    let start = fix.lines().position(|line| line.starts_with("@@ -"))?;
    let body: Vec<&str> = fix.lines().skip(start).collect();
    Some(format!("--- a/{path}\n+++ b/{path}\n{}\n", body.join("\n")))
}

/// One hunk as a reviewer wrote it: lines with their signs.
fn hunks(fix: &str) -> Vec<Vec<(char, &str)>> {
    let mut hunks = vec![Vec::new()];
    for line in fix.lines() {
        if line.starts_with("@@") {
            hunks.push(Vec::new());
            continue;
        }
        let header = ["--- ", "+++ ", "diff --git ", "index ", "\\ "];
        if header.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        let (sign, text) = match line.chars().next() {
            Some(sign @ ('+' | '-' | ' ')) => (sign, &line[1..]),
            // An empty context line, or one whose sign was lost.
            _ => (' ', line),
        };
        if let Some(hunk) = hunks.last_mut() {
            hunk.push((sign, text));
        }
    }
    for hunk in &mut hunks {
        while hunk
            .last()
            .is_some_and(|(sign, text)| *sign == ' ' && text.trim().is_empty())
        {
            hunk.pop();
        }
        while hunk
            .first()
            .is_some_and(|(sign, text)| *sign == ' ' && text.trim().is_empty())
        {
            hunk.remove(0);
        }
    }
    hunks.retain(|hunk| hunk.iter().any(|(sign, _)| *sign != ' '));
    hunks
}

/// A diff against the file as it is, without context: what the fix keeps and removes is looked for line by line,
/// white space at the ends apart, nearest to `near`.
fn rebuild(fix: &str, path: &str, text: &str, near: Option<u32>) -> Option<String> {
    let file: Vec<&str> = text.split_inclusive('\n').collect();
    let mut result = format!("--- a/{path}\n+++ b/{path}\n");
    let mut shift: i64 = 0;
    let mut from = 0;
    for hunk in hunks(fix) {
        let old: Vec<&str> = hunk
            .iter()
            .filter(|(sign, _)| *sign != '+')
            .map(|(_, text)| *text)
            .collect();
        if old.is_empty() {
            return None;
        }
        let fits = |at: &usize| {
            old.iter()
                .zip(&file[*at..])
                .all(|(wanted, there)| wanted.trim() == there.trim())
        };
        let last = file.len().checked_sub(old.len())?;
        let target = near.map_or(from, |line| (line as usize).saturating_sub(1));
        let at = (from..=last)
            .filter(fits)
            .min_by_key(|at| at.abs_diff(target))?;
        let (mut minus, mut plus) = (Vec::new(), Vec::new());
        let mut cursor = at;
        // The lines between the first and the last change; context is taken from the file.
        for (sign, line) in &hunk {
            match sign {
                '-' => {
                    minus.push(file[cursor]);
                    cursor += 1;
                }
                '+' => plus.push(format!("{line}\n")),
                _ => {
                    let there = file[cursor];
                    minus.push(there);
                    plus.push(there.to_owned());
                    cursor += 1;
                }
            }
        }
        let (removed, added) = (minus.len(), plus.len());
        let new_start = i64::try_from(at + 1).ok()? + shift;
        result.push_str(&format!(
            "@@ -{},{removed} +{new_start},{added} @@\n",
            at + 1
        ));
        for line in minus {
            push(&mut result, '-', line);
        }
        for line in &plus {
            push(&mut result, '+', line);
        }
        shift += i64::try_from(added).ok()? - i64::try_from(removed).ok()?;
        from = cursor;
    }
    (from > 0).then_some(result)
}

fn push(to: &mut String, sign: char, line: &str) {
    to.push(sign);
    to.push_str(line);
    if !line.ends_with('\n') {
        to.push_str("\n\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_diff() {
        for (text, is) in [
            ("@@ -1 +1 @@\n-a\n+b", true),
            ("-a\n+b", true),
            (" ctx\n-a\n+b\n", true),
            ("Use `b` instead of a.", false),
            ("let x = 1;", false),
            ("- first do this\nThen that", false),
        ] {
            assert_eq!(is_diff(text), is, "{text}");
        }
    }

    #[test]
    fn a_hunk_without_numbers_is_found_in_the_file() {
        let file = "a\n  b\nc\nb\n";
        let rebuilt = rebuild(" a\n-b\n+B\n c\n", "x", file, None).unwrap();
        assert_eq!(
            rebuilt,
            "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n-a\n-  b\n-c\n+a\n+B\n+c\n"
        );
        assert_eq!(rebuild("-z\n+B\n", "x", file, None), None);
        let near = rebuild("-b\n+B\n", "x", file, Some(4)).unwrap();
        assert!(near.contains("@@ -4,1 +4,1 @@"), "{near}");
    }
}
