//! The state folder: the pinned target of a run and the answers of its reviewers, so that a second run resumes where a
//! killed one stopped.
//!
//! ```text
//! STATE/REPOSITORY/TARGET/lock          held by the run at work on the target
//!                        /answers.json  the author's answers to earlier findings
//!                        /round-2/plan.json            pinned before anything is started
//!                                /prompt.md            the same for every reviewer
//!                                /reviewers/NAME.json  complete when the reviewer is done
//!                                …/trees/NAME           below work/: work trees; beside it scratch, layers, trash
//!                                /report.json          exists when the round is done
//! ```

pub mod answers;

use std::path::{Path, PathBuf};

use process::file::{self, FileError};
use process::lock::{FileLock, Holder, LockError};
use process::tree::Mark;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::git::Git;
use crate::target::Spec;
use review::model::{Report, ReviewerRun, Target};

/// The size limit of a state file: it holds reviews with their texts, written by this program.
const FILE_LIMIT: u64 = 512 * 1024 * 1024;

/// The permissions of everything here: reviews may quote code that is not public.
const PRIVATE: u32 = 0o600;

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Another process is reviewing the target.
    #[error("{target} is being reviewed by {holder}; wait for it, or stop it")]
    Busy {
        /// The target's name.
        target: String,
        /// The lock holder.
        holder: Holder,
    },
    /// A file cannot be read or parsed.
    #[error("cannot read {path}: {reason}; remove it, and what it holds is asked for again")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// The state of one repository.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

/// The state of one target.
#[derive(Clone, Debug)]
pub struct TargetFolder {
    name: String,
    path: PathBuf,
}

/// The plan of a round, pinned before the first reviewer is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this format.
    pub version: u32,
    /// The target as the user gave it.
    pub spec: Spec,
    /// The target as pinned.
    pub target: Target,
    /// The round's number, from 1.
    pub round: u32,
    /// The mark that every process of the round carries.
    pub mark: Mark,
}

/// The current version of [`Plan`].
pub const PLAN_VERSION: u32 = 1;

/// One round of a target.
#[derive(Clone, Debug)]
pub struct RoundFolder {
    path: PathBuf,
}

impl Home {
    /// Opens the folder of a repository below `state`.
    pub fn open(state: &Path, git: &Git) -> Result<Self, StoreError> {
        let name = git
            .top()
            .file_name()
            .map_or("repository".into(), |name| name.to_string_lossy());
        let id = format!(
            "{}-{}",
            slug(&name),
            hash(git.common().as_os_str().as_encoded_bytes())
        );
        let root = state.join(id);
        file::create_private_dir(&root)?;
        // Links are resolved, because reviewers print resolved paths of their work tree.
        let root = root.canonicalize().unwrap_or(root);
        Ok(Home { root })
    }

    /// Returns the folder of a target, and creates it if it does not exist.
    pub fn target(&self, name: &str) -> Result<TargetFolder, StoreError> {
        let path = self.root.join(slug(name));
        file::create_private_dir(&path)?;
        Ok(TargetFolder {
            name: name.to_owned(),
            path,
        })
    }

    /// Returns the folder in which analysers that build keep their build products between runs.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join(".cache")
    }

    /// Returns all targets of the repository.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetFolder> {
        let mut result: Vec<TargetFolder> = std::fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .map(|entry| {
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.path(),
                )
            })
            .filter(|(name, _)| !name.starts_with('.'))
            .map(|(name, path)| TargetFolder { name, path })
            .collect();
        result.sort_by(|a, b| a.path.cmp(&b.path));
        result
    }
}

impl TargetFolder {
    /// Returns the target whose folder has this path, for the guard, which gets the path as an argument.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        TargetFolder {
            name: path
                .file_name()
                .map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
            path: path.to_owned(),
        }
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock on the target for this process.
    pub fn lock(&self) -> Result<FileLock, StoreError> {
        let path = self.path.join("lock");
        match FileLock::try_acquire(&path, "deep-review run")? {
            Some(lock) => Ok(lock),
            None => Err(StoreError::Busy {
                target: self.name.clone(),
                holder: process::lock::holder(&path)?,
            }),
        }
    }

    /// Returns the rounds, oldest first.
    #[must_use]
    pub fn rounds(&self) -> Vec<(u32, RoundFolder)> {
        let mut result: Vec<(u32, RoundFolder)> = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let number = name.to_str()?.strip_prefix("round-")?.parse().ok()?;
                Some((number, RoundFolder { path: entry.path() }))
            })
            .collect();
        result.sort_by_key(|(number, _)| *number);
        result
    }

    /// Returns the folder of a round.
    #[must_use]
    pub fn round(&self, number: u32) -> RoundFolder {
        RoundFolder {
            path: self.path.join(format!("round-{number}")),
        }
    }

    /// Returns the reports of the finished rounds, oldest first.
    pub fn reports(&self) -> Result<Vec<Report>, StoreError> {
        let mut reports = Vec::new();
        for (_, round) in self.rounds() {
            reports.extend(round.report()?);
        }
        Ok(reports)
    }

    /// Returns the path of the file with the author's answers.
    #[must_use]
    pub fn answers(&self) -> PathBuf {
        self.path.join("answers.json")
    }
}

impl RoundFolder {
    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins the round.
    pub fn begin(&self, plan: &Plan, prompt: &str) -> Result<(), StoreError> {
        file::create_private_dir(&self.path)?;
        file::create_private_dir(&self.path.join("reviewers"))?;
        file::write_atomic(&self.path.join("prompt.md"), prompt.as_bytes(), PRIVATE)?;
        write_json(&self.path.join("plan.json"), plan)
    }

    /// Returns the plan; `None` if the round was never begun.
    pub fn plan(&self) -> Result<Option<Plan>, StoreError> {
        read_json(&self.path.join("plan.json"))
    }

    /// Returns the prompt of the round.
    pub fn prompt(&self) -> Result<String, StoreError> {
        let path = self.path.join("prompt.md");
        std::fs::read_to_string(&path).map_err(|error| StoreError::Read {
            path,
            reason: error.to_string(),
        })
    }

    /// Records a reviewer's answer.
    pub fn record(&self, run: &ReviewerRun) -> Result<(), StoreError> {
        let path = self.path.join("reviewers");
        write_json(&path.join(format!("{}.json", slug(&run.name))), run)
    }

    /// Returns a reviewer's answer, if there is one.
    pub fn recorded(&self, name: &str) -> Result<Option<ReviewerRun>, StoreError> {
        let path = self.path.join("reviewers");
        read_json(&path.join(format!("{}.json", slug(name))))
    }

    /// Returns the path of a reviewer's work tree.
    #[must_use]
    pub fn work(&self, name: &str) -> PathBuf {
        self.path.join("work").join(slug(name))
    }

    /// Returns the folder of the shared checkout and of the reviewers' overlay layers.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.path.join("layers")
    }

    /// Returns a reviewer's scratch folder.
    #[must_use]
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.path.join("scratch").join(slug(name))
    }

    /// Returns the folder to which work trees are moved before they are deleted.
    #[must_use]
    pub fn trash(&self) -> PathBuf {
        self.path.join("trash")
    }

    /// Returns the folder to which a reviewer's work tree is moved before it is deleted.
    #[must_use]
    pub fn trash_of(&self, name: &str) -> PathBuf {
        self.trash().join(slug(name))
    }

    /// Ends the round.
    pub fn finish(&self, report: &Report) -> Result<(), StoreError> {
        write_json(&self.path.join("report.json"), report)
    }

    /// Returns the path of the report.
    #[must_use]
    pub fn report_file(&self) -> PathBuf {
        self.path.join("report.json")
    }

    /// Returns the report, if the round is finished.
    pub fn report(&self) -> Result<Option<Report>, StoreError> {
        read_json(&self.report_file())
    }
}

/// Writes a value as a file of the state folder.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|error| StoreError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(file::write_atomic(path, &bytes, PRIVATE)?)
}

/// Reads a value that [`write_json`] wrote; `None` if the file does not exist.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let wrong = |reason: String| StoreError::Read {
        path: path.to_owned(),
        reason,
    };
    let size = match std::fs::metadata(path) {
        Ok(meta) => meta.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    if size > FILE_LIMIT {
        return Err(wrong(format!("{size} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| wrong(error.to_string()))
}

/// Returns a file name for a name: safe, short, and different for each name.
#[must_use]
pub fn slug(name: &str) -> String {
    let plain: String = name
        .chars()
        .take(40)
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    if plain == name && !plain.is_empty() && !plain.starts_with('-') {
        plain
    } else {
        format!("{}-{}", plain.trim_matches('-'), hash(name.as_bytes()))
    }
}

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .take(5)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slug_is_safe_and_unique() {
        assert_eq!(slug("pr-12"), "pr-12");
        for name in ["../../etc", "a b", "a-b/", "", ".cache", "-x"] {
            let slug = slug(name);
            assert!(!slug.contains(['/', '.', ' ']), "{slug}");
            assert_ne!(slug, "");
        }
        assert_ne!(slug("a/b"), slug("a b"));
    }
}
