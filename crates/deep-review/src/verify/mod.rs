//! Checks of the findings against the code before the merge. Each finding carries its checks with their results; no
//! finding is dropped.
//!
//! | check | asks | by |
//! |---|---|---|
//! | file, lines | do they exist at the head | the commit's own objects |
//! | quote | is the quoted code there; else where | [`review::verify::quote`] |
//! | diff | did the change write these lines | the diff's hunks, `git blame` against the merge base |
//! | fix-applies | `git apply --check` | [`fix`] |
//! | fix-passes | the user's command, with the fix, in a scratch work tree | [`execute`] |
//! | repro | the reviewer's command, when the user allows it | [`execute`] |

mod blame;
pub mod execute;
mod fix;

use std::collections::BTreeMap;

use review::diff;
use review::model::ReviewerRun;
use review::verify::{check_place, correct_paths, place, quote};

use crate::git::{Git, GitError};
use crate::state::RoundFolder;
use crate::target::Pinned;

/// The optional checks.
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
    let mut files = git.files(head, named.iter().map(String::as_str))?;
    // A path that does not exist may be shortened or have another prefix.
    let missing: Vec<&String> = named
        .iter()
        .filter(|path| files.bytes(path).is_none())
        .collect();
    if !missing.is_empty() {
        let listing = git.bytes(["ls-tree", "-r", "-z", "--name-only", "--full-tree", head])?;
        let tree: place::Tree = diff::fields(&listing).collect();
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        for path in missing {
            if let Some(full) = tree.find(path, &pinned.diff) {
                found.insert(path.clone(), full);
            }
        }
        correct_paths(runs, &found);
        let paths: Vec<String> = named.into_iter().chain(found.into_values()).collect();
        files = git.files(head, paths.iter().map(String::as_str))?;
    }
    for finding in runs.iter_mut().flat_map(|run| &mut run.review.findings) {
        check_place(finding, &files);
        quote::check(finding, &files);
    }
    blame::check(git, pinned, runs);
    fix::check(git, pinned, round.path(), &files, runs)?;
    execute::check(git, pinned, round, runs, options)?;
    Ok(())
}
