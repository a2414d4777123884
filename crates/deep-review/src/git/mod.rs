//! git, run through bounded commands: argument arrays, `-z` wherever names are listed. No program that a hostile
//! repository's configuration names is run (no hooks, no external diff, no file-system monitor).

mod blobs;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::command::{CommandError, Run};

use review::diff::{self, Diff, DiffError};

/// The time limit of a local git command: a checkout of a very large repository on a slow disk.
const LOCAL: Duration = Duration::from_secs(300);

/// The time limit of a fetch.
const NETWORK: Duration = Duration::from_secs(600);

/// The largest output: a diff, or the blobs of all files that findings name.
const OUTPUT: usize = 256 * 1024 * 1024;

/// The environment variables that git gets. All others are removed: with a `GIT_DIR` from a hook that calls
/// deep-review, git would look at another repository.
pub(crate) const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_SSH_COMMAND",
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "no_proxy",
    "SYSTEMROOT",
    "USERPROFILE",
    "APPDATA",
];

/// Options before the subcommand that disable programs named in the repository's own configuration.
const SAFE: &[&str] = &[
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.quotePath=false",
    "-c",
    "color.ui=false",
    "-c",
    "diff.external=",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "advice.detachedHead=false",
    // 0: a worker for each core. A checkout of 50,000 files is the largest part of a run's overhead.
    "-c",
    "checkout.workers=0",
    // Reviewers see all files, even if the user's own checkout is sparse.
    "-c",
    "core.sparseCheckout=false",
    // A split index could not be copied as one file.
    "-c",
    "core.splitIndex=false",
    "-c",
    "submodule.recurse=false",
    // A file of the user's that the repository may lack.
    "-c",
    "blame.ignoreRevsFile=",
];

/// Why a git command failed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// There is no repository.
    #[error("{path} is in no git repository with a checkout: {reason}")]
    NoRepository {
        /// Where it was looked for.
        path: PathBuf,
        /// git's error.
        reason: String,
    },
    /// A revision that git does not know.
    #[error("git knows no commit {revision:?} in {repository}: {reason}")]
    NoCommit {
        /// As it was given.
        revision: String,
        /// Where.
        repository: PathBuf,
        /// git's error.
        reason: String,
    },
    /// Two commits without a common ancestor.
    #[error("{base} and {head} have no common ancestor; name the base with --base")]
    NoMergeBase {
        /// One commit.
        base: String,
        /// The other commit.
        head: String,
    },
    /// Unexpected output of a diff command.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// Output that git is not expected to print.
    #[error("cannot understand what git printed for {what}: {reason}")]
    Output {
        /// The command.
        what: &'static str,
        /// The unexpected part.
        reason: String,
    },
}

/// A repository with a checkout.
#[derive(Clone, Debug)]
pub struct Git {
    top: PathBuf,
    common: PathBuf,
    /// Names of the configured filters; a `.gitattributes` of the change may name any of them.
    filters: Vec<String>,
}

impl Git {
    /// Opens the repository that contains `folder`.
    pub fn open(folder: &Path) -> Result<Self, GitError> {
        let probe = Git {
            top: folder.to_owned(),
            common: PathBuf::new(),
            filters: Vec::new(),
        };
        let ask = |what: &str| {
            probe
                .lines(["rev-parse", "--path-format=absolute", what])
                .map_err(|error| GitError::NoRepository {
                    path: folder.to_owned(),
                    reason: short(&error),
                })
        };
        let top = ask("--show-toplevel")?;
        let common = ask("--git-common-dir")?;
        Ok(Git {
            top: PathBuf::from(top),
            common: PathBuf::from(common),
            filters: filters(&probe),
        })
    }

    /// Returns the same repository, accessed from another of its work trees.
    #[must_use]
    pub fn at(&self, work_tree: &Path) -> Self {
        Git {
            top: work_tree.to_owned(),
            common: self.common.clone(),
            filters: self.filters.clone(),
        }
    }

    /// Returns the top folder of the checkout.
    #[must_use]
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Returns the `.git` folder that all work trees share; it identifies the repository.
    #[must_use]
    pub fn common(&self) -> &Path {
        &self.common
    }

    /// Builds a bounded git command in this repository, without running it.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        let mut run = Run::new("git", LOCAL)
            .env_only(ENVIRONMENT)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("LC_ALL", "C")
            .args(SAFE)
            .args(args)
            .cwd(&self.top)
            .limit(OUTPUT);
        // Set by variables, because `-c` would misread a name that contains `=`.
        let mut count = 0;
        for filter in &self.filters {
            for (key, value) in NO_FILTER {
                run = run
                    .env(
                        format!("GIT_CONFIG_KEY_{count}"),
                        format!("filter.{filter}.{key}"),
                    )
                    .env(format!("GIT_CONFIG_VALUE_{count}"), value);
                count += 1;
            }
        }
        run.env("GIT_CONFIG_COUNT", count.to_string())
    }

    /// Runs the command and returns its standard output.
    pub fn bytes<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Vec<u8>, GitError> {
        Ok(self.command(args).run()?.stdout)
    }

    /// Runs the command and returns its standard output as text, without the line end.
    pub fn lines<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String, GitError> {
        let bytes = self.bytes(args)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// Returns the commit that a revision names. A hostile revision (`--upload-pack=…`) is never parsed as an option.
    pub fn commit(&self, revision: &str) -> Result<String, GitError> {
        self.lines([
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &format!("{revision}^{{commit}}"),
        ])
        .map_err(|error| GitError::NoCommit {
            revision: revision.to_owned(),
            repository: self.top.clone(),
            reason: short(&error),
        })
    }

    /// Returns the commit that a revision names, if it exists.
    #[must_use]
    pub fn commit_if_there(&self, revision: &str) -> Option<String> {
        self.commit(revision).ok()
    }

    /// Returns the merge base of two commits.
    pub fn merge_base(&self, base: &str, head: &str) -> Result<String, GitError> {
        self.lines(["merge-base", "--end-of-options", base, head])
            .map_err(|_| GitError::NoMergeBase {
                base: base.to_owned(),
                head: head.to_owned(),
            })
    }

    /// Returns `sha subject` of the commits from `base` to `head`, oldest first.
    pub fn commits(&self, base: &str, head: &str) -> Result<Vec<String>, GitError> {
        let bytes = self.bytes([
            "log",
            "-z",
            "--reverse",
            "--no-show-signature",
            "--format=%h %s",
            "--end-of-options",
            &format!("{base}..{head}"),
        ])?;
        Ok(diff::fields(&bytes).collect())
    }

    /// Returns the commits with their messages, for the prompt.
    pub fn messages(&self, base: &str, head: &str) -> Result<String, GitError> {
        self.lines([
            "log",
            "--reverse",
            "--no-show-signature",
            "--format=commit %H%nAuthor: %an%n%n%w(0,4,4)%B",
            "--end-of-options",
            &format!("{base}..{head}"),
        ])
    }

    /// Returns the branch that is checked out.
    #[must_use]
    pub fn branch(&self) -> Option<String> {
        self.lines(["symbolic-ref", "--quiet", "--short", "HEAD"])
            .ok()
            .filter(|name| !name.is_empty())
    }

    /// Returns the address of a remote, without the user and password in it.
    #[must_use]
    pub fn remote_address(&self, remote: &str) -> Option<String> {
        let address = self
            .lines(["config", "--get", &format!("remote.{remote}.url")])
            .ok()?;
        Some(without_credentials(&address))
    }

    /// Returns whether a remote-tracking branch contains the commit.
    #[must_use]
    pub fn is_at_remote(&self, commit: &str, remote: &str) -> bool {
        let found = self.lines([
            "for-each-ref",
            "--count=1",
            "--format=x",
            "--contains",
            commit,
            &format!("refs/remotes/{remote}/"),
        ]);
        found.is_ok_and(|found| !found.is_empty())
    }

    /// Fetches refs of a remote; each is `+from:to`.
    pub fn fetch(&self, remote: &str, refs: &[String]) -> Result<(), GitError> {
        let mut args: Vec<OsString> = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--end-of-options",
            remote,
        ]
        .iter()
        .map(OsString::from)
        .collect();
        args.extend(refs.iter().map(OsString::from));
        let run = Run::new("git", NETWORK)
            .env_only(ENVIRONMENT)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .args(SAFE)
            .args(args)
            .cwd(&self.top);
        run.run()?;
        Ok(())
    }

    /// Returns whether every commit from `base` to `head` was made in this repository by its author: the reflog has it
    /// as a commit or as part of a rebase, and its author is its committer. A fetched commit is in no such entry,
    /// whatever name it carries.
    pub fn is_own_work(&self, base: &str, head: &str) -> Result<bool, GitError> {
        let range = format!("{base}..{head}");
        let format = "--format=%H%x09%ae%x09%ce";
        let commits = self.lines(["log", format, "--end-of-options", &range])?;
        let made = ["log", "--walk-reflogs", "--all", "--format=%H%x09%gs"];
        let made = self.lines(made).unwrap_or_default();
        let made: std::collections::HashSet<&str> = made
            .lines()
            .filter_map(|entry| entry.split_once('\t'))
            .filter(|(_, action)| action.starts_with("commit") || action.starts_with("rebase"))
            .map(|(commit, _)| commit)
            .collect();
        Ok(commits.lines().all(|line| {
            let mut fields = line.split('\t');
            let commit = fields.next().unwrap_or_default();
            made.contains(commit) && fields.next() == fields.next()
        }))
    }

    /// Returns what changed from `base` to `head`, with the hunks.
    pub fn diff(&self, base: &str, head: &str) -> Result<Diff, GitError> {
        let common = [
            "diff-tree",
            "-r",
            "-M",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--no-relative",
            "--src-prefix=a/",
            "--dst-prefix=b/",
        ];
        let mut args = common.to_vec();
        args.extend(["-z", "--raw", "--end-of-options", base, head]);
        let raw = self.bytes(&args)?;
        let mut args = common.to_vec();
        args.extend(["-p", "-U3", "--end-of-options", base, head]);
        let patch = self.bytes(&args)?;
        Ok(diff::understand(&raw, &patch)?)
    }
}

/// Settings that disable a filter (gitattributes(5), "filter"): the file's content is then the commit's own.
const NO_FILTER: [(&str, &str); 4] = [
    ("smudge", ""),
    ("clean", ""),
    ("process", ""),
    ("required", "false"),
];

/// Returns the filters that are configured, for the repository or the user. A checkout would run those that the change
/// names, and what they do with a hostile change (fetch from an address that it names) is an unacceptable risk.
fn filters(git: &Git) -> Vec<String> {
    let listed = git.bytes([
        "config",
        "--null",
        "--name-only",
        "--get-regexp",
        "^filter\\.",
    ]);
    // Exit code 1: there are none.
    let mut names: Vec<String> = diff::fields(&listed.unwrap_or_default())
        .filter_map(|key| {
            let (name, _) = key.strip_prefix("filter.")?.rsplit_once('.')?;
            Some(name.to_owned())
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Returns the line in which git gives the reason, else the last line, without the command line before it.
pub(crate) fn short(error: &GitError) -> String {
    match error {
        GitError::Command(CommandError::Failed { stderr, status, .. }) => {
            let why = |line: &&str| line.starts_with("fatal: ") || line.starts_with("error: ");
            match stderr.lines().find(why).or(stderr.lines().last()) {
                Some(line) => line.to_owned(),
                None => status.to_string(),
            }
        }
        other => other.to_string(),
    }
}

fn without_credentials(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            // Tokens are passed as parameters, too.
            let path = path.split(['?', '#']).next().unwrap_or(path);
            format!("{scheme}://{host}/{path}")
        }
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_removed_from_an_address() {
        for (address, shown) in [
            ("https://me:tok@host/a/b.git", "https://host/a/b.git"),
            ("https://host/a@b.git", "https://host/a@b.git"),
            ("https://host/a/b?private_token=x", "https://host/a/b"),
            ("git@host:a/b.git", "git@host:a/b.git"),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
    }
}
