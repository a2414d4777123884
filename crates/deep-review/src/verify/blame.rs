//! Asks `git blame` which lines of findings the change only moved.

use std::collections::{BTreeMap, BTreeSet};

use review::model::ReviewerRun;
use review::verify::blame;

use crate::git::{Git, GitError};
use crate::target::Pinned;

/// The most files that are blamed: blame with copies takes long on a huge file, and is not worth it for findings in
/// generated code.
const FILES: usize = 200;

pub(super) fn check(git: &Git, pinned: &Pinned, runs: &mut [ReviewerRun]) {
    let mut wanted: BTreeMap<String, BTreeSet<(u32, u32)>> = BTreeMap::new();
    for finding in runs.iter().flat_map(|run| &run.review.findings) {
        if let Some((path, range)) = blame::question(&pinned.diff, finding) {
            wanted.entry(path.to_owned()).or_default().insert(range);
        }
    }
    let mut moved: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for (path, ranges) in wanted.into_iter().take(FILES) {
        // If blame fails, the diff alone decides.
        match moved_lines(git, pinned, &path, &ranges) {
            Ok(lines) => {
                moved.insert(path, lines);
            }
            Err(error) => tracing::debug!(path, %error, "git cannot blame the file"),
        }
    }
    let none = BTreeSet::new();
    for finding in runs.iter_mut().flat_map(|run| &mut run.review.findings) {
        let place = finding.locations.first();
        let moved = place.and_then(|p| moved.get(&p.path)).unwrap_or(&none);
        blame::check(&pinned.diff, &pinned.target.base, finding, moved);
    }
}

/// Returns the lines of a file that blame attributes to the merge base or to an earlier commit.
fn moved_lines(
    git: &Git,
    pinned: &Pinned,
    path: &str,
    ranges: &BTreeSet<(u32, u32)>,
) -> Result<BTreeSet<u32>, GitError> {
    let mut args: Vec<String> = ["blame", "--porcelain", "--no-textconv", "-M", "-C"]
        .map(str::to_owned)
        .to_vec();
    for (start, end) in ranges {
        args.push(format!("-L{start},{end}"));
    }
    args.push(format!("{}..{}", pinned.target.base, pinned.target.head));
    args.push("--".to_owned());
    args.push(path.to_owned());
    let bytes = git.bytes(&args)?;
    Ok(blame::moved_lines(&String::from_utf8_lossy(&bytes)))
}
