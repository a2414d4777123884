//! The end of a process and of all that it started.
//!
//! A process belongs to a tree when one of these says so, and each is looked at again in every round:
//!
//! 1. its parent belongs to it (a root started as a subreaper keeps orphans in the tree);
//! 2. its session is one that a member leads or led while we held it;
//! 3. it carries the tree's [`Mark`] in the environment that it was started with, which survives the death of every
//!    process between, and a new session ([`crate::spawn`] adds a mark for each child to those above it).
//!
//! 4. it is in the cgroup that a child which was asked to be contained got, where one is delegated to the user (Linux,
//!    [`crate::spawn::Spawn::contained`]); such a group is ended by the kernel at once.
//!
//! Whoever is found is opened and checked as a [`Process`] first, so no number is ever signalled. A process older than
//! the root is never a member, nor are we or those above us.
//!
//! Killing what is gone already is success (hazard 4).
//!
//! Without a cgroup, who clears its environment *and* leaves the session *and* loses its parent while the root is no
//! subreaper, or is dead, is not found; and a tree whose processes each leave the session, start the next one and end
//! faster than the table of processes can be read is caught by luck only. With one, who moves itself out of it, as its
//! owner can, is still looked for by the other three.
//!
//! Only children that get away if they can are contained: deep-review's reviewers. A group has to be removed by somebody,
//! and the daemon, hostagents and QEMU outlive whoever that could be; nor do they hide.
//!
//! This process does not make itself a subreaper to keep orphans: it would have to reap them, and a library cannot tell
//! an orphan that it adopted from a child that another part of the program started and is about to wait for. A contained
//! child is one instead, and what it does not reap ends as a zombie with it.

use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::held::Process;
use crate::hunt::{Hunt, Then};
use crate::identity::{Error, Identity};
use crate::sys;

/// The environment variable that lists the marks of the trees a process belongs to, outermost first, `:` between.
pub const VARIABLE: &str = "RDD_PROCESS_TREE";

/// A tree in a tree in a tree …: the outermost marks are dropped beyond this.
const NESTING_LIMIT: usize = 16;

/// How long SIGKILL may take: a process in an uninterruptible system call dies when that call returns.
pub(crate) const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// The random name of one tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark(String);

impl Mark {
    /// A mark that nobody has.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "each one is another; a default would hide that"
    )]
    pub fn new() -> Self {
        Mark(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The mark of the tree whose root is the calling process: `None` when it was not started by [`crate::spawn`].
    #[must_use]
    pub fn of_current() -> Option<Self> {
        // A child that was started by other means inherits its parent's mark, but leads no session.
        if !sys::child::leads_session() {
            return None;
        }
        let list = sys::own_environment(VARIABLE)?;
        let last = list.rsplit(':').next()?;
        (!last.is_empty()).then(|| Mark(last.to_owned()))
    }

    /// The value of [`VARIABLE`] for a child with this mark, below the trees of `above`.
    #[must_use]
    pub fn below(&self, above: Option<&str>) -> String {
        let mut marks: Vec<&str> = above
            .unwrap_or_default()
            .split(':')
            .filter(|mark| !mark.is_empty())
            .collect();
        marks.push(&self.0);
        marks[marks.len().saturating_sub(NESTING_LIMIT)..].join(":")
    }

    /// The mark as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A process and all that it started. Can be stored, and killed from what was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The first process; `None` for whoever carries the mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Identity>,
    /// The mark that [`crate::spawn`] gave it. Without one, members are found only while the root lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

impl Tree {
    /// The tree under `root`.
    #[must_use]
    pub fn new(root: Identity, mark: Option<Mark>) -> Self {
        Tree {
            root: Some(root),
            mark,
        }
    }

    /// Everybody who carries `mark`.
    #[must_use]
    pub fn marked(mark: Mark) -> Self {
        Tree {
            root: None,
            mark: Some(mark),
        }
    }

    /// Who of the tree runs at this moment.
    pub fn members(&self) -> Result<Vec<Process>, TreeError> {
        let mut hunt = Hunt::new(self)?;
        hunt.gather(Then::List)?;
        Ok(hunt.into_running())
    }
}

/// Why a tree could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A process could not be looked at or signalled.
    #[error(transparent)]
    Process(#[from] Error),
    /// The process table could not be read.
    #[error("cannot list the processes of this host: {0}")]
    List(#[source] io::Error),
    /// The caller is part of what it wants to kill.
    #[error("refusing to kill the tree of process {pid}: this process is part of it")]
    Own {
        /// The root of the tree.
        pid: u32,
    },
    /// Somebody outlived SIGKILL, most likely in a system call that does not end (a hung disk or network mount), or
    /// others came all the time.
    #[error("still there {} s after SIGKILL: PIDs {pids:?}; look at their state with ps", KILL_DEADLINE.as_secs())]
    Survived {
        /// Who was there at the last look, for people. Never empty.
        pids: Vec<u32>,
    },
}

/// What it took to end a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Those that had to be killed, since they did not end within the grace period. Empty when all went by themselves
    /// or were gone before; of a crowd, those that could be counted.
    pub killed: Vec<Identity>,
}

/// Ends the tree: SIGTERM to the root, which may end its children as it sees fit; once it is gone SIGTERM to those it
/// left; after `grace` SIGKILL to everybody. All dead is success, also when they were dead before. With a grace of zero
/// nobody is asked.
///
/// Everything below the root ends with it, also what was meant to outlive it (a daemon's hostagents): to end one process
/// alone, signal it as a [`Process`].
///
/// Bounded by `grace` and ten seconds. Blocks the thread.
pub fn kill_tree(tree: &Tree, grace: Duration) -> Result<Killed, TreeError> {
    let mut hunt = Hunt::new(tree)?;
    let deadline = Instant::now() + grace;
    hunt.gather(Then::Hold)?;
    if !grace.is_zero() && hunt.terminate(deadline)? {
        return Ok(Killed::default());
    }
    hunt.kill()
}

/// [`kill_tree`] for tokio. Goes on to its end when it is cancelled.
pub async fn kill_tree_async(tree: &Tree, grace: Duration) -> Result<Killed, TreeError> {
    let tree = tree.clone();
    match tokio::task::spawn_blocking(move || kill_tree(&tree, grace)).await {
        Ok(result) => result,
        Err(error) => Err(TreeError::List(io::Error::other(error))),
    }
}

/// How a process was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was gone before.
    WasGone,
    /// It ended as it was asked.
    OnRequest,
    /// It ended on SIGTERM.
    OnSignal,
    /// It was killed.
    ByForce,
}

/// How long each step of [`stop`] may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the request to the end of the process.
    pub request: Duration,
    /// From SIGTERM to the end of the tree.
    pub signal: Duration,
}

/// Stops a process: `ask` (over its control channel), then SIGTERM, then SIGKILL to the whole tree, each step bounded
/// (hazard 17). A request that fails goes on to SIGTERM at once. What the process leaves behind is ended too. Bounded
/// by both patiences and twenty seconds.
pub async fn stop<E: Display>(
    tree: &Tree,
    patience: Patience,
    ask: impl Future<Output = Result<(), E>>,
) -> Result<Stopped, TreeError> {
    let root = match &tree.root {
        Some(root) => Process::open(root)?,
        None => None,
    };
    let Some(root) = root else {
        kill_tree_async(tree, patience.signal).await?;
        return Ok(Stopped::WasGone);
    };
    let pid = root.identity().pid();
    // Who belongs to the tree is known better before its root has gone.
    let mut hunt = Hunt::new(tree)?;
    hunt.gather(Then::Hold)?;
    let deadline = Instant::now() + patience.request;
    let asked = match tokio::time::timeout_at(deadline.into(), ask).await {
        Ok(Ok(())) => root.wait_async(deadline).await.is_exited(),
        Ok(Err(error)) => {
            tracing::warn!(pid, %error, "the process cannot be asked to stop, sending SIGTERM");
            false
        }
        Err(_elapsed) => {
            tracing::warn!(pid, "the request to stop was not answered, sending SIGTERM");
            false
        }
    };
    let identity = root.identity().clone();
    let signal = patience.signal;
    let ending = tokio::task::spawn_blocking(move || {
        hunt.gather(Then::Hold)?;
        if hunt.terminate(Instant::now() + signal)? {
            return Ok(Killed::default());
        }
        hunt.kill()
    });
    let killed = match ending.await {
        Ok(result) => result?,
        Err(error) => return Err(TreeError::List(io::Error::other(error))),
    };
    Ok(if killed.killed.contains(&identity) {
        Stopped::ByForce
    } else if asked {
        Stopped::OnRequest
    } else {
        Stopped::OnSignal
    })
}
