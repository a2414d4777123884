//! A commit made from a patch file, which is applied to the base in a separate index, so that the checkout is not
//! changed.

use std::path::Path;

use super::TargetError;
use crate::git::{Git, GitError};

/// The size limit of a patch, which is read whole.
const LIMIT: u64 = 64 * 1024 * 1024;

/// Returns the commit of the patch. The same patch on the same base gives the same commit, so that a run can be
/// resumed.
pub(super) fn commit(git: &Git, file: &Path, base: &str) -> Result<String, TargetError> {
    let failed = |source| TargetError::Read {
        file: file.to_owned(),
        source,
    };
    let size = std::fs::metadata(file).map_err(failed)?.len();
    if size > LIMIT {
        return Err(failed(std::io::Error::other(format!(
            "{size} bytes, the limit is {LIMIT}"
        ))));
    }
    let patch = std::fs::read(file).map_err(failed)?;
    let index = git
        .common()
        .join(format!("deep-review-{}.index", std::process::id()));
    let result = in_index(git, &index, &patch, file, base);
    // After a crash this is a stray file in .git that no program reads.
    let _ = process::file::remove_if_there(&index);
    let lock = index.with_extension("index.lock");
    let _ = process::file::remove_if_there(&lock);
    result
}

fn in_index(
    git: &Git,
    index: &Path,
    patch: &[u8],
    file: &Path,
    base: &str,
) -> Result<String, TargetError> {
    let with = |args: &[&str]| git.command(args).env("GIT_INDEX_FILE", index);
    with(&["read-tree", "--end-of-options", base])
        .run()
        .map_err(GitError::from)?;
    with(&["apply", "--cached", "--whitespace=nowarn", "-"])
        .input(patch)
        .run()
        .map_err(|error| TargetError::Patch {
            file: file.to_owned(),
            base: super::abbreviated(base),
            reason: crate::git::short(&error.into()),
        })?;
    let tree = with(&["write-tree"]).run().map_err(GitError::from)?.text();
    let name = file
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut run = git.command(["commit-tree", "-p", base, "-F", "-", &tree]);
    for (variable, value) in [
        ("GIT_AUTHOR_NAME", "deep-review"),
        ("GIT_AUTHOR_EMAIL", "deep-review@localhost"),
        ("GIT_AUTHOR_DATE", "1000000000 +0000"),
        ("GIT_COMMITTER_NAME", "deep-review"),
        ("GIT_COMMITTER_EMAIL", "deep-review@localhost"),
        ("GIT_COMMITTER_DATE", "1000000000 +0000"),
    ] {
        run = run.env(variable, value);
    }
    let output = run
        .input(format!("Patch {name}\n"))
        .run()
        .map_err(GitError::from)?;
    Ok(output.text())
}
