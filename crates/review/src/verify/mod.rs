//! What reviewers say, checked against the code before anything is merged. Each finding carries what was checked and
//! how it came out; nothing is dropped.
//!
//! | check | asks | by |
//! |---|---|---|
//! | file, lines | are they there at the head | the commit's own objects |
//! | quote | does the quoted code stand there; where | [`quote`] |
//! | diff | did the change write these lines | the diff's hunks, `git blame` against the merge base |
//! | fix-applies | `git apply --check` | [`fix`] |
//! | fix-passes | the user's command, with the fix, in a scratch work tree | [`execute`] |
//! | repro | the reviewer's command, when the user allows it | [`execute`] |

mod blame;
pub mod execute;
pub mod fix;
pub mod place;
pub mod quote;

use std::collections::BTreeMap;

use crate::git::{Blobs, ChangedFile, Git, GitError};
use crate::model::{Check, CheckKind, CheckResult, Class, Finding, ReviewerRun};
use crate::run::store::RoundFolder;
use crate::target::Pinned;

/// What to check beyond what is always checked.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The command that must pass with a fix applied, program and arguments.
    pub check_fix: Vec<String>,
    /// Whether commands that reviewers wrote may be run.
    pub allow_repro: bool,
}

/// Checks every finding of every reviewer.
pub fn verify(
    git: &Git,
    pinned: &Pinned,
    round: &RoundFolder,
    runs: &mut [ReviewerRun],
    options: &Options,
) -> Result<(), GitError> {
    for run in runs.iter_mut() {
        let work = round.work(&run.name);
        let roots = [work.as_path(), git.top()];
        for finding in &mut run.review.findings {
            finding.checks.clear();
            for location in &mut finding.locations {
                location.path = place::inside(&location.path, &roots);
            }
        }
    }
    let head = &pinned.target.head;
    let all = || runs.iter().flat_map(|run| &run.review.findings);
    let named: Vec<String> = all()
        .flat_map(|finding| finding.locations.iter().map(|l| l.path.clone()))
        .collect();
    let mut blobs = Blobs::read(git, head, named.iter().map(String::as_str))?;
    // A path that is not there may be cut short or have another beginning.
    let missing: Vec<&String> = named
        .iter()
        .filter(|path| blobs.bytes(path).is_none())
        .collect();
    if !missing.is_empty() {
        let tree = place::Tree::read(git, head)?;
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        for path in missing {
            if let Some(full) = tree.find(path, &pinned.diff) {
                found.insert(path.clone(), full);
            }
        }
        correct_paths(runs, &found);
        let paths: Vec<String> = named.into_iter().chain(found.into_values()).collect();
        blobs = Blobs::read(git, head, paths.iter().map(String::as_str))?;
    }
    for finding in runs.iter_mut().flat_map(|run| &mut run.review.findings) {
        check_place(finding, &blobs);
        quote::check(finding, &blobs);
    }
    blame::check(git, pinned, runs)?;
    fix::check(git, pinned, round.path(), &blobs, runs)?;
    execute::check(git, pinned, round, runs, options)?;
    Ok(())
}

fn correct_paths(runs: &mut [ReviewerRun], found: &BTreeMap<String, String>) {
    for finding in runs.iter_mut().flat_map(|run| &mut run.review.findings) {
        for (at, location) in finding.locations.iter_mut().enumerate() {
            let Some(full) = found.get(&location.path) else {
                continue;
            };
            if at == 0 {
                finding.checks.push(check(
                    CheckKind::File,
                    CheckResult::Corrected,
                    format!("{} is {full} at the head", location.path),
                ));
            }
            location.path.clone_from(full);
        }
    }
}

fn check_place(finding: &mut Finding, blobs: &Blobs) {
    let Some(place) = finding.locations.first() else {
        return;
    };
    let Some(text) = blobs.text(&place.path) else {
        finding.checks.push(check(
            CheckKind::File,
            CheckResult::Refuted,
            format!("{} is not there at the head", place.path),
        ));
        return;
    };
    if finding.checks.is_empty() {
        let detail = format!("{} is there at the head", place.path);
        finding
            .checks
            .push(check(CheckKind::File, CheckResult::Confirmed, detail));
    }
    let Some(start) = place.start else { return };
    let end = place.end.unwrap_or(start).max(start);
    let count = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
    let (result, detail) = if start == 0 || start > count.max(1) {
        let said = format!(
            "line {start} is not there, {} has {count} lines",
            place.path
        );
        (CheckResult::Refuted, said)
    } else if end > count.max(1) {
        let said = format!("lines {start}-{end} end beyond the file, which has {count}");
        (CheckResult::Refuted, said)
    } else {
        (
            CheckResult::Confirmed,
            format!("{} is there", lines(start, end)),
        )
    };
    finding.checks.push(check(CheckKind::Lines, result, detail));
}

pub(crate) fn check(kind: CheckKind, result: CheckResult, detail: String) -> Check {
    Check {
        kind,
        result,
        detail,
    }
}

pub(crate) fn lines(start: u32, end: u32) -> String {
    if start == end {
        format!("line {start}")
    } else {
        format!("lines {start}-{end}")
    }
}

/// The place of a finding in the diff.
fn changed<'a>(pinned: &'a Pinned, finding: &Finding) -> Option<&'a ChangedFile> {
    pinned.diff.file(&finding.locations.first()?.path)
}

/// The class that the place tells when the reviewer does not.
fn classify(finding: &mut Finding, class: Class) {
    if finding.class.is_none() {
        finding.class = Some(class);
    }
}
