//! Cleans up after a dead run: processes that carry its mark, work trees, scratch folders.

use std::time::Duration;

use process::tree::{self, Tree};

use crate::git::Git;
use crate::state::{Home, RoundFolder, TargetFolder};
use crate::worktree;

/// Cleans a target whose lock the caller holds. Failures are only logged, so that the review can proceed.
pub fn target(git: &Git, folder: &TargetFolder) {
    for (_, round) in folder.rounds() {
        if !left_something(&round) {
            continue;
        }
        match round.plan() {
            Ok(Some(plan)) => {
                if let Err(error) = tree::kill_tree(&Tree::marked(plan.mark), Duration::ZERO) {
                    tracing::warn!(%error, "what a dead run left cannot be killed");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot tell what a dead run started"),
        }
        folders(git, &round);
        for folder in [round.path().to_owned(), round.path().join("reviewers")] {
            if let Err(error) = process::file::remove_temporaries(&folder) {
                tracing::warn!(%error, "cannot remove half-written files");
            }
        }
    }
}

/// Cleans the other targets of the repository whose lock is free.
pub fn others(git: &Git, home: &Home, mine: &TargetFolder) {
    for folder in home.targets() {
        if folder.path() == mine.path() || !folder.rounds().iter().any(|(_, r)| left_something(r)) {
            continue;
        }
        if let Ok(_lock) = folder.lock() {
            target(git, &folder);
        }
    }
}

/// A round that cleaned up after itself has none of these folders, and a round that was interrupted between two steps
/// has no report.
fn left_something(round: &RoundFolder) -> bool {
    let there = |name: &str| round.path().join(name).symlink_metadata().is_ok();
    there("work") || there("layers") || there("trash") || there("scratch") || !there("report.json")
}

/// Removes the work trees and scratch folders of a round.
pub fn folders(git: &Git, round: &RoundFolder) {
    let work = round.path().join("work");
    let log = |result: Result<(), worktree::WorktreeError>| {
        if let Err(error) = result {
            tracing::warn!(%error, "cannot clean up");
        }
    };
    for entry in std::fs::read_dir(&work).into_iter().flatten().flatten() {
        log(worktree::remove(git, &entry.path(), &round.trash()));
    }
    for path in worktree::known(git, round.path()) {
        log(worktree::remove(git, &path, &round.trash()));
    }
    log(worktree::empty(&work));
    log(worktree::empty(&round.layers()));
    log(worktree::empty(&round.path().join("scratch")));
    log(worktree::empty(&round.trash()));
}
