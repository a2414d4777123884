//! One checkout shared by all reviewers of a round; each reviewer sees it as its own work tree.
//!
//! Writing 50,000 files takes seconds for each reviewer. So a large commit is checked out once, into memory if enough
//! is free, and each reviewer sees the checkout through an overlay: its writes go to its own folder, and the checkout
//! below cannot be written to.
//!
//! ```text
//! run ── starts ──► holder: own mounts; .pristine = memory ◄── git checkout; sealed; "ready"; waits until the run exits
//!  └─ starts ─► reviewer: joins these mounts, takes a copy, mounts .pristine + NAME/upper at its work tree,
//!                           becomes the agent
//! ```
//!
//! *Architecture invariant*: whichever process dies, nothing stays mounted. The mounts are visible to the holder and
//! the reviewers only, and the kernel unmounts them when the last of these processes exits. If the system does not
//! allow it, or the commit is small, each reviewer gets an ordinary checkout.

#[cfg(target_os = "linux")]
pub mod linux;

use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use process::Signal;
use process::spawn::{Child, Readiness, Spawn, Start};
use process::tree;

use crate::git::{ENVIRONMENT, Git, GitError};
use crate::state::{RoundFolder, slug};
use crate::worktree::{Extent, WorktreeError};

/// The smallest number of files worth sharing: a smaller checkout takes a tenth of a second, less than the sharing.
pub const MANY: u64 = 2_000;

/// The checkout is made in memory only if this many times its size is free.
const PLENTY: u64 = 4;

/// The time limit of the holder: git's own limit for a checkout, and the holder's start.
const STARTING: Duration = Duration::from_secs(320);

/// The time limit for a killed holder to exit.
const AN_INSTANT: Duration = Duration::from_secs(5);

/// The variable that names the holder's end of the readiness pipe.
pub const READY: &str = "DEEP_REVIEW_READY";

/// The name of the checkout, below [`RoundFolder::layers`]. No reviewer's folder begins with a dot.
pub const PRISTINE: &str = ".pristine";

/// The name of its index, beside it.
pub const INDEX: &str = ".index";

/// A holder that is still making the checkout.
pub struct Starting {
    child: Child,
    readiness: Option<Readiness>,
    /// Closed when this process ends, however it ends; the holder then exits.
    life: PipeWriter,
    layers: PathBuf,
    program: PathBuf,
}

/// The checkout, while it is held.
pub struct Pristine {
    child: Child,
    _life: PipeWriter,
    layers: PathBuf,
    program: PathBuf,
}

/// Starts a checkout of `commit` for `reviewers` that need all of it. `None`: each reviewer gets its own checkout.
/// `program` is this program; `mark` identifies the run that the holder belongs to.
pub fn begin(
    git: &Git,
    round: &RoundFolder,
    commit: &str,
    program: &Path,
    mark: &str,
    reviewers: usize,
) -> Option<Starting> {
    if reviewers == 0 || !cfg!(target_os = "linux") {
        return None;
    }
    match try_begin(git, round, commit, program, mark, reviewers) {
        Ok(starting) => starting,
        Err(error) => {
            tracing::warn!(%error, "no shared checkout; each reviewer gets one");
            None
        }
    }
}

fn try_begin(
    git: &Git,
    round: &RoundFolder,
    commit: &str,
    program: &Path,
    mark: &str,
    reviewers: usize,
) -> anyhow::Result<Option<Starting>> {
    let extent = measure(git, commit)?;
    if extent.files < MANY {
        return Ok(None);
    }
    let bytes = if extent.bytes.saturating_mul(PLENTY) <= memory_available() {
        extent.bytes
    } else if reviewers > 1 {
        // There is too little memory. One checkout on the disk is still less work than one for each reviewer.
        0
    } else {
        return Ok(None);
    };
    let layers = round.layers();
    process::file::create_private_dir(&layers.join(PRISTINE))?;
    let (theirs, life) = std::io::pipe()?;
    let mut child = Spawn::new(program)
        .args(["hold-checkout", "--memory", &bytes.to_string(), "--commit"])
        .arg(commit)
        .arg("--repository")
        .arg(git.top())
        .arg("--layers")
        .arg(&layers)
        .env_only(ENVIRONMENT)
        .env(tree::VARIABLE, mark)
        .cwd("/")
        .stdin(into_file(theirs))
        .readiness(READY)
        .spawn()?;
    Ok(Some(Starting {
        readiness: child.readiness(),
        child,
        life,
        layers,
        program: program.to_owned(),
    }))
}

impl Starting {
    /// Waits for the checkout. `None`: the system does not allow it.
    #[must_use]
    pub fn wait(self) -> Option<Pristine> {
        let start = self
            .readiness
            .map(|readiness| readiness.wait(Instant::now() + STARTING));
        // On failure `self.child` is dropped, and the closed pipe ends the holder.
        let reason = match start {
            Some(Start::Ready(_)) => {
                return Some(Pristine {
                    child: self.child,
                    _life: self.life,
                    layers: self.layers,
                    program: self.program,
                });
            }
            Some(Start::Refused(reason)) => reason,
            other => format!("{other:?}"),
        };
        tracing::info!(reason, "no shared checkout; each reviewer gets one");
        None
    }
}

impl Pristine {
    /// Makes a work tree at `work` that looks empty from outside; a process started with [`Pristine::argv`] sees all
    /// files in it.
    pub fn lay(
        &self,
        git: &Git,
        name: &str,
        work: &Path,
        commit: &str,
    ) -> Result<(), WorktreeError> {
        crate::worktree::register(git, work, commit)?;
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| WorktreeError::Io {
                action,
                path,
                source,
            }
        };
        let mine = self.layers.join(slug(name));
        for folder in ["upper", "work"] {
            let folder = mine.join(folder);
            std::fs::create_dir_all(&folder).map_err(io("make the folder", &folder))?;
        }
        // The file by which git identifies the work tree, and an index with the files' inode numbers and times.
        let link = work.join(".git");
        std::fs::copy(&link, mine.join("upper/.git")).map_err(io("copy", &link))?;
        let admin = git.at(work).lines(["rev-parse", "--absolute-git-dir"])?;
        let index = self.layers.join(INDEX);
        std::fs::copy(&index, Path::new(&admin).join("index")).map_err(io("copy", &index))?;
        Ok(())
    }

    /// Returns the command that runs `argv` in the work tree of `name`, at `work`.
    #[must_use]
    pub fn argv(&self, name: &str, work: &Path, argv: Vec<String>) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let holder = serde_json::to_string(self.child.identity()).unwrap_or_default();
        let mut result = vec![
            text(&self.program),
            "in-checkout".to_owned(),
            "--holder".to_owned(),
            holder,
            "--layers".to_owned(),
            text(&self.layers),
            "--name".to_owned(),
            slug(name),
            "--at".to_owned(),
            text(work),
            "--".to_owned(),
        ];
        result.extend(argv);
        result
    }
}

impl Drop for Pristine {
    fn drop(&mut self) {
        if let Err(error) = self.child.process().signal(Signal::Kill) {
            tracing::debug!(%error, "the holder of the checkout ends by itself");
        }
        let _ = self.child.wait(Instant::now() + AN_INSTANT);
    }
}

/// Returns how many reviewers need all files.
#[must_use]
pub fn sharers<'a>(extents: impl Iterator<Item = &'a Extent>) -> usize {
    extents.filter(|extent| **extent == Extent::Full).count()
}

struct Size {
    files: u64,
    /// The size in memory, in whole pages.
    bytes: u64,
}

fn measure(git: &Git, commit: &str) -> Result<Size, GitError> {
    const PAGE: u64 = 4096;
    /// The kernel's overhead for each file and folder, besides the content.
    const ENTRY: u64 = 1024;
    let listing = git.bytes([
        "ls-tree",
        "-r",
        "-l",
        "-z",
        "--full-tree",
        "--end-of-options",
        commit,
    ])?;
    let mut size = Size {
        files: 0,
        bytes: 16 * 1024 * 1024,
    };
    for entry in listing
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty())
    {
        let head = entry
            .split(|byte| *byte == b'\t')
            .next()
            .unwrap_or_default();
        // A submodule has no size.
        let bytes = String::from_utf8_lossy(head)
            .rsplit(' ')
            .next()
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or_default();
        size.files += 1;
        size.bytes += bytes.div_ceil(PAGE) * PAGE + ENTRY;
    }
    Ok(size)
}

#[cfg(target_os = "linux")]
fn memory_available() -> u64 {
    linux::memory_available()
}

#[cfg(not(target_os = "linux"))]
fn memory_available() -> u64 {
    0
}

#[cfg(unix)]
fn into_file(pipe: std::io::PipeReader) -> std::fs::File {
    std::fs::File::from(std::os::fd::OwnedFd::from(pipe))
}

#[cfg(windows)]
fn into_file(pipe: std::io::PipeReader) -> std::fs::File {
    std::fs::File::from(std::os::windows::io::OwnedHandle::from(pipe))
}
