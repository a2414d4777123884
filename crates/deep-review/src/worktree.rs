//! A detached work tree for each reviewer, and its removal, whatever state the reviewer left it in.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::FileLock;

use review::diff::ChangedFile;

use crate::git::{Git, GitError};

/// The part of the repository that a reviewer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// All files. Reviewers of a large repository may share what they do not write to ([`crate::pristine`]).
    #[default]
    Full,
    /// All files, in a checkout that shares nothing with another reviewer.
    Own,
    /// The changed files, and the files beside and above them (where configuration lies). An analyser that looks at
    /// files one by one needs no more, and a checkout of 50,000 files takes seconds.
    Changed,
}

/// Why a work tree could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum WorktreeError {
    /// A git command failed.
    #[error("cannot make a work tree: {}", crate::git::short(.0))]
    Git(#[from] GitError),
    /// Another process held the lock on the repository's work trees for too long.
    #[error(transparent)]
    Busy(#[from] process::lock::LockError),
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The operation.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
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
    // Not by `worktree add`, because it would hold the lock during the whole checkout.
    git.at(path)
        .bytes(["read-tree", "--reset", "-u", "--end-of-options", commit])?;
    Ok(())
}

/// Makes a work tree that is registered with git, without files or an index.
pub fn register(git: &Git, path: &Path, commit: &str) -> Result<(), WorktreeError> {
    let _alone = alone(git)?;
    // Forced: git may still have a work tree registered at this path, if a state folder was deleted.
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
    // One level of each folder: its own files, not those in its subfolders.
    let mut args = vec!["ls-tree".to_owned(), "-z".to_owned(), commit.to_owned()];
    args.push("--".to_owned());
    args.extend(folders);
    let listing = tree.bytes(&args)?;
    let mut input = Vec::new();
    for entry in listing.split(|byte| *byte == 0).filter(|e| !e.is_empty()) {
        let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else {
            continue;
        };
        // A link may lead outside the work tree, and an analyser of files has no use for it.
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

/// Removes the work tree at `path`, whatever state it is in. If it does not exist, this is a no-op. The work tree is
/// first renamed into `trash`, so that it disappears at once; [`empty`] does the slow part.
pub fn remove(git: &Git, path: &Path, trash: &Path) -> Result<(), WorktreeError> {
    discard(path, trash)?;
    // Without its folder, git unregisters the work tree without reading what the reviewer left in it. The usual cause
    // of a failure here is that it was unregistered before; in other cases `git worktree prune` unregisters it.
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

/// Moves a folder into `trash`. If it does not exist, this is a no-op.
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

/// Deletes the folders that [`remove`] moved into `trash`.
pub fn empty(trash: &Path) -> Result<(), WorktreeError> {
    let Err(first) = std::fs::remove_dir_all(trash) else {
        return Ok(());
    };
    if first.kind() == std::io::ErrorKind::NotFound {
        return Ok(());
    }
    // A reviewer may have removed the permission to delete.
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

/// Restores write permission, folder by folder; links are not followed.
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

/// The time limit for the lock: each run holds it for some milliseconds, longer on a slow disk.
const ALONE: Duration = Duration::from_secs(60);

/// The lock that every run in the repository holds while git registers or unregisters a work tree. git then reads the
/// data of all other work trees, and fails if another git process has half written or half removed them (`failed to
/// read .git/worktrees/NAME/commondir`).
fn alone(git: &Git) -> Result<FileLock, WorktreeError> {
    let file = git.common().join("deep-review.lock");
    let deadline = Instant::now() + ALONE;
    Ok(FileLock::acquire(&file, "a run of deep-review", deadline)?)
}

/// Returns the registered work trees below a folder, including those whose folder is gone: a run may be killed between
/// moving a work tree away and unregistering it.
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
    fn folders_above_a_file_are_listed() {
        assert_eq!(folders_above("a/b/c.rs"), ["./", "a/", "a/b/"]);
        assert_eq!(folders_above("c.rs"), ["./"]);
    }
}
