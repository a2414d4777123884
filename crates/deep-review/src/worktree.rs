//! A detached work tree for each reviewer, and its removal whatever the reviewer did to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::FileLock;

use review::diff::ChangedFile;

use crate::git::{Git, GitError};

/// What of the repository a reviewer needs to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// Everything. Reviewers of a large repository may share what they do not write to ([`crate::pristine`]).
    #[default]
    Full,
    /// Everything, in a checkout that shares nothing with another reviewer.
    Own,
    /// The changed files, and the files beside and above them (where configuration lies). An analyser that looks at
    /// files one by one needs no more, and a checkout of 50,000 files takes seconds.
    Changed,
}

/// Why a work tree could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum WorktreeError {
    /// git said no.
    #[error("cannot make a work tree: {}", crate::git::short(.0))]
    Git(#[from] GitError),
    /// Another process holds the lock on the work trees of the repository for too long.
    #[error(transparent)]
    Busy(#[from] process::lock::LockError),
    /// The system said no.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Makes a work tree of `commit` at `path`, in a state that git calls detached.
pub fn add(
    git: &Git,
    path: &Path,
    commit: &str,
    extent: Extent,
    changed: &[ChangedFile],
) -> Result<(), WorktreeError> {
    register(git, path, commit)?;
    if extent == Extent::Changed {
        return populate(git, path, commit, changed);
    }
    // Not by `worktree add`, which would have to be waited for by everybody else.
    git.at(path)
        .bytes(["read-tree", "--reset", "-u", "--end-of-options", commit])?;
    Ok(())
}

/// Makes a work tree that git knows and that has no files and no index yet.
pub fn register(git: &Git, path: &Path, commit: &str) -> Result<(), WorktreeError> {
    let _alone = alone(git)?;
    // By force: git may still know a work tree at this path, of a state folder that was deleted under it.
    git.command(["worktree", "add", "--force", "--detach", "--quiet"])
        .args(["--no-checkout", "--end-of-options"])
        .arg(path)
        .arg(commit)
        .run()
        .map_err(GitError::from)?;
    Ok(())
}

fn populate(
    git: &Git,
    path: &Path,
    commit: &str,
    changed: &[ChangedFile],
) -> Result<(), WorktreeError> {
    let tree = git.at(path);
    let mut folders: Vec<String> = changed
        .iter()
        .filter(|file| file.is_file())
        .flat_map(|file| folders_above(&file.path))
        .collect();
    folders.sort();
    folders.dedup();
    tree.bytes(["read-tree", "--end-of-options", commit])?;
    // One level of each folder: its own files, not those further down.
    let mut args = vec!["ls-tree".to_owned(), "-z".to_owned(), commit.to_owned()];
    args.push("--".to_owned());
    args.extend(folders);
    let listing = tree.bytes(&args)?;
    let mut input = Vec::new();
    for entry in listing.split(|byte| *byte == 0).filter(|e| !e.is_empty()) {
        let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else {
            continue;
        };
        // A link may lead anywhere, and an analyser of files has no use for it.
        if entry.starts_with(b"100") {
            input.extend_from_slice(&entry[tab + 1..]);
            input.push(0);
        }
    }
    tree.command(["checkout-index", "--quiet", "-z", "--stdin"])
        .input(input)
        .run()
        .map_err(GitError::from)?;
    Ok(())
}

/// `a/b/c.rs` → `./`, `a/`, `a/b/`: with a slash at the end git lists what is inside.
fn folders_above(path: &str) -> Vec<String> {
    let mut result = vec!["./".to_owned()];
    result.extend(
        path.match_indices('/')
            .map(|(at, _)| path[..=at].to_owned()),
    );
    result
}

/// Takes the work tree at `path` away, whatever was done to it. One that is not there is success. It is renamed
/// into `trash` first, so that it is gone at once; [`empty`] does the slow part.
pub fn remove(git: &Git, path: &Path, trash: &Path) -> Result<(), WorktreeError> {
    discard(path, trash)?;
    // With its folder gone, git forgets it without a look at what the reviewer left in it. That it was forgotten
    // before is the usual reason to fail here, and `git worktree prune` forgets it otherwise.
    process::crash::point("review.work-moved");
    let _alone = alone(git)?;
    if let Err(error) = git
        .command([
            "worktree",
            "remove",
            "--force",
            "--force",
            "--end-of-options",
        ])
        .arg(path)
        .run()
    {
        tracing::debug!(%error, "git does not know the work tree");
    }
    Ok(())
}

/// Puts a folder into `trash`. One that is not there is success.
pub fn discard(path: &Path, trash: &Path) -> Result<(), WorktreeError> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| WorktreeError::Io {
            action,
            path,
            source,
        }
    };
    std::fs::create_dir_all(trash).map_err(io("make the folder", trash))?;
    let mut number = 0u32;
    let aside = loop {
        let aside = trash.join(format!("{}-{number}", std::process::id()));
        if aside.symlink_metadata().is_err() {
            break aside;
        }
        number += 1;
    };
    std::fs::rename(path, &aside).map_err(io("move away", path))
}

/// Deletes what [`remove`] put aside.
pub fn empty(trash: &Path) -> Result<(), WorktreeError> {
    let Err(first) = std::fs::remove_dir_all(trash) else {
        return Ok(());
    };
    if first.kind() == std::io::ErrorKind::NotFound {
        return Ok(());
    }
    // A reviewer may have taken away our permission to delete.
    permit(trash);
    match std::fs::remove_dir_all(trash) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(WorktreeError::Io {
            action: "remove",
            path: trash.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Gives us back the permission to write, folder by folder; links are not followed.
fn permit(folder: &Path) {
    let Ok(meta) = folder.symlink_metadata() else {
        return;
    };
    if !meta.is_dir() {
        return;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700));
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        permit(&entry.path());
    }
}

/// How long one run waits for the others: each holds the lock for some milliseconds, more on a slow disk.
const ALONE: Duration = Duration::from_secs(60);

/// Held while git makes or forgets a work tree, by all runs in the repository. Each time it reads what it knows of all
/// the others, and dies over one that another git has half made or half forgotten (`failed to read
/// .git/worktrees/NAME/commondir`).
fn alone(git: &Git) -> Result<FileLock, WorktreeError> {
    let file = git.common().join("deep-review.lock");
    let deadline = Instant::now() + ALONE;
    Ok(FileLock::acquire(&file, "a run of deep-review", deadline)?)
}

/// The work trees below a folder that git knows, also those whose folder is gone: a run may die between moving a work
/// tree away and having git forget it.
pub fn known(git: &Git, below: &Path) -> Vec<PathBuf> {
    let Ok(below) = below.canonicalize() else {
        return Vec::new();
    };
    let listed = match git.bytes(["worktree", "list", "--porcelain", "-z"]) {
        Ok(listed) => listed,
        Err(error) => {
            tracing::warn!(%error, "cannot list the work trees");
            return Vec::new();
        }
    };
    String::from_utf8_lossy(&listed)
        .split('\0')
        .filter_map(|line| line.strip_prefix("worktree "))
        .map(PathBuf::from)
        .filter(|path| path.starts_with(&below))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_above_a_file() {
        assert_eq!(folders_above("a/b/c.rs"), ["./", "a/", "a/b/"]);
        assert_eq!(folders_above("c.rs"), ["./"]);
    }
}
