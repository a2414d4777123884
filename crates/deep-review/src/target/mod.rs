//! The target of a review, pinned: a head and its merge base with the target branch. Later moves of the branches do not
//! affect it.

mod address;
mod patch;
mod pull;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use review::diff::{Change, ChangedFile, Diff};

use crate::git::{Git, GitError};
use address::Site;
use review::model;

/// The target that the user asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Spec {
    /// A head against a base; without a head, the current checkout.
    Revisions {
        /// The base as given.
        base: Option<String>,
        /// The head as given.
        head: Option<String>,
    },
    /// A pull request of the remote.
    Pull {
        /// Its number.
        number: u64,
        /// The remote.
        remote: String,
        /// The base as given; else the remote's default branch.
        base: Option<String>,
    },
    /// A patch file, applied to the base.
    Patch {
        /// The file, absolute.
        file: PathBuf,
        /// The base as given; else the current checkout.
        base: Option<String>,
    },
}

/// Why a target cannot be pinned.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A git command failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// No base was given, and no usual branch exists.
    #[error(
        "cannot tell which branch this is to land on: none of {tried} is there; name it with --base"
    )]
    NoBase {
        /// The branches that were tried.
        tried: String,
    },
    /// The request could not be fetched.
    #[error(
        "cannot fetch request {number} from the remote {remote} ({published}): {reason}; GitHub, Gitea and Forgejo publish \
         refs/pull/N/head, GitLab refs/merge-requests/N/head (a remote whose host is called so); for other servers fetch \
         it yourself and name it with --head"
    )]
    Request {
        /// Its number.
        number: u64,
        /// The remote.
        remote: String,
        /// The ref that was fetched.
        published: String,
        /// git's error.
        reason: String,
    },
    /// Head and base are the same.
    #[error("nothing to review: {head} has no change against {base}")]
    Empty {
        /// The head.
        head: String,
        /// The base.
        base: String,
    },
    /// The patch does not apply.
    #[error("the patch {file} does not apply to {base}: {reason}")]
    Patch {
        /// The file.
        file: PathBuf,
        /// The commit.
        base: String,
        /// git's error.
        reason: String,
    },
    /// The patch cannot be read.
    #[error("cannot read the patch {file}: {source}")]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// A pinned target with its diff.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The description for the report.
    pub target: model::Target,
    /// The diff.
    pub diff: Diff,
}

/// Returns the name that a target has in all its rounds.
pub fn name(git: &Git, spec: &Spec) -> Result<String, TargetError> {
    Ok(match spec {
        Spec::Revisions { head, .. } => match head.as_deref() {
            None | Some("HEAD") => match git.branch() {
                Some(branch) => branch,
                None => abbreviated(&git.commit("HEAD")?),
            },
            Some(revision) => revision.to_owned(),
        },
        Spec::Pull { number, .. } => format!("pr-{number}"),
        Spec::Patch { file, .. } => {
            let name = file
                .file_stem()
                .map_or("patch".into(), |stem| stem.to_string_lossy());
            format!("patch-{name}")
        }
    })
}

/// Pins a target. Only a pull request is fetched; nothing else uses the network.
pub fn pin(git: &Git, spec: &Spec) -> Result<Pinned, TargetError> {
    let name = name(git, spec)?;
    let (base, head, remote) = match spec {
        Spec::Revisions { base, head } => {
            let head = git.commit(head.as_deref().unwrap_or("HEAD"))?;
            let base = match base {
                Some(base) => git.commit(base)?,
                None => default_base(git)?,
            };
            (base, head, "origin")
        }
        Spec::Pull {
            number,
            remote,
            base,
        } => {
            let (base, head) = pull::fetch(git, *number, remote, base.as_deref())?;
            (base, head, remote.as_str())
        }
        Spec::Patch { file, base } => {
            let base = git.commit(base.as_deref().unwrap_or("HEAD"))?;
            let head = patch::commit(git, file, &base)?;
            (base, head, "origin")
        }
    };
    let base = git.merge_base(&base, &head)?;
    let repo = git.remote_address(remote);
    let site = repo.as_deref().and_then(Site::of);
    let url = site.and_then(|site| match spec {
        Spec::Pull { number, .. } => Some(site.request(*number)),
        // A commit that was not pushed has no page.
        Spec::Revisions { .. } if git.is_at_remote(&head, remote) => {
            Some(site.comparison(&base, &head))
        }
        Spec::Revisions { .. } | Spec::Patch { .. } => None,
    });
    let mut pinned = at(git, name, repo, &base, &head)?;
    pinned.target.url = url;
    Ok(pinned)
}

/// Returns the target that an earlier run pinned.
pub fn at_pin(git: &Git, target: &model::Target) -> Result<Pinned, TargetError> {
    let (base, head) = (git.commit(&target.base)?, git.commit(&target.head)?);
    let mut pinned = at(git, target.name.clone(), target.repo.clone(), &base, &head)?;
    pinned.target.url.clone_from(&target.url);
    Ok(pinned)
}

fn at(
    git: &Git,
    name: String,
    repo: Option<String>,
    base: &str,
    head: &str,
) -> Result<Pinned, TargetError> {
    let diff = git.diff(base, head)?;
    if diff.files.is_empty() {
        return Err(TargetError::Empty {
            head: abbreviated(head),
            base: abbreviated(base),
        });
    }
    let mut files: Vec<String> = diff.files.iter().map(|file| file.path.clone()).collect();
    files.sort();
    let mut pinned = Pinned {
        target: model::Target {
            name,
            repo,
            head: head.to_owned(),
            base: base.to_owned(),
            title: None,
            author: None,
            url: None,
            commits: git.commits(base, head)?,
            files,
            changes: diff.files.iter().map(change).collect(),
        },
        diff,
    };
    // The subject of a single commit; the title of several commits can only come from their author.
    if let [only] = pinned.target.commits.as_slice() {
        pinned.target.title = only.split_once(' ').map(|(_, subject)| subject.to_owned());
    }
    pinned.target.author = git
        .lines([
            "log",
            "-1",
            "--no-show-signature",
            "--format=%an",
            "--end-of-options",
            head,
        ])
        .ok()
        .filter(|name| !name.is_empty());
    Ok(pinned)
}

fn change(file: &ChangedFile) -> model::FileChange {
    model::FileChange {
        path: file.path.clone(),
        old_path: file.old_path.clone(),
        kind: match file.change {
            Change::Added => model::ChangeKind::Added,
            Change::Modified => model::ChangeKind::Modified,
            Change::Deleted => model::ChangeKind::Deleted,
            Change::Renamed => model::ChangeKind::Renamed,
        },
        added: file.hunks.iter().map(|hunk| hunk.new_length).sum(),
        removed: file.hunks.iter().map(|hunk| hunk.old_length).sum(),
        hunks: file.shown.clone(),
    }
}

/// Returns the base branch if none is given: the remote's default branch, else a local one of the usual names.
fn default_base(git: &Git) -> Result<String, TargetError> {
    const USUAL: &[&str] = &[
        "refs/remotes/origin/HEAD",
        "refs/remotes/upstream/HEAD",
        "refs/remotes/origin/main",
        "refs/remotes/origin/master",
        "refs/heads/main",
        "refs/heads/master",
    ];
    USUAL
        .iter()
        .find_map(|name| git.commit_if_there(name))
        .ok_or_else(|| TargetError::NoBase {
            tried: USUAL.join(", "),
        })
}

/// Formats a commit for messages.
#[must_use]
pub fn abbreviated(sha: &str) -> String {
    sha.chars().take(10).collect()
}
