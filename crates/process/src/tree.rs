//! Ends a process with all its descendants.
//!
//! A process is a member of a tree if one of these holds, and each is checked again in every round:
//!
//! 1. Its parent is a member. (A root that was started as a subreaper keeps orphans in the tree.)
//! 2. Its session is one that a member leads, or led while it was held.
//! 3. The environment that it was started with contains the tree's [`Mark`]. The mark survives a new session and the death
//!    of every process between, because [`crate::spawn`] adds a mark for each child to those above it.
//! 4. It is in the cgroup of a contained child ([`crate::spawn::Spawn::contained`]; Linux, where a cgroup is delegated to
//!    the user). The kernel kills such a cgroup at once.
//!
//! A process is opened and checked as a [`Process`] first, so a bare PID is never signalled. A process that is older than
//! the root is never a member, and neither are this process and its ancestors.
//!
//! Killing a tree that is already gone is a success (hazard 4).
//!
//! Without a cgroup, two kinds of process are missed: one that clears its environment *and* leaves the session *and* loses
//! its parent while the root is dead or not a subreaper; and members that each leave the session, start the next one and
//! end faster than the process table can be read. With a cgroup, a process that moves itself out of it, as its owner can,
//! is still found by the other three.
//!
//! Only deep-review's reviewers are contained, because they run programs that may detach. A cgroup has to be removed by
//! its parent, and the daemon, hostagents and QEMU outlive theirs; their children do not detach.
//!
//! This process does not make itself a subreaper: it would have to reap the orphans, and a library cannot distinguish an
//! adopted orphan from a child that another part of the program is about to wait for. A contained child is a subreaper
//! instead, and the zombies that it does not reap end with it.

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

/// The most nested trees that are marked; beyond this the outermost marks are dropped.
const NESTING_LIMIT: usize = 16;

/// How long a process may take to die of SIGKILL: one in an uninterruptible system call dies when that call returns.
pub(crate) const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// The random name of one tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark(String);

impl Mark {
    /// Returns a new random mark.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "every mark is different; a default would hide that"
    )]
    pub fn new() -> Self {
        Mark(uuid::Uuid::new_v4().simple().to_string())
    }

    /// Returns the mark of the tree whose root is this process; `None` if it was not started by [`crate::spawn`].
    #[must_use]
    pub fn of_current() -> Option<Self> {
        // A child that was started in another way inherits its parent's mark, but leads no session.
        if !sys::child::leads_session() {
            return None;
        }
        let list = sys::own_environment(VARIABLE)?;
        let last = list.rsplit(':').next()?;
        (!last.is_empty()).then(|| Mark(last.to_owned()))
    }

    /// Returns the value of [`VARIABLE`] for a child with this mark, below the trees of `above`.
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

    /// Returns the mark as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A process with all its descendants. Can be stored, and killed from what was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The root process; `None` for all processes that carry the mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Identity>,
    /// The mark that [`crate::spawn`] gave it. Without one, members are found only while the root lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

impl Tree {
    /// Returns the tree of `root`.
    #[must_use]
    pub fn new(root: Identity, mark: Option<Mark>) -> Self {
        Tree {
            root: Some(root),
            mark,
        }
    }

    /// Returns all processes that carry `mark`.
    #[must_use]
    pub fn marked(mark: Mark) -> Self {
        Tree {
            root: None,
            mark: Some(mark),
        }
    }

    /// Returns the members that are alive now.
    pub fn members(&self) -> Result<Vec<Process>, TreeError> {
        let mut hunt = Hunt::new(self)?;
        hunt.gather(Then::List)?;
        Ok(hunt.into_running())
    }
}

/// Why a tree could not be killed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A process could not be inspected or signalled.
    #[error(transparent)]
    Process(#[from] Error),
    /// The process table could not be read.
    #[error("cannot list the processes of this host: {0}")]
    List(#[source] io::Error),
    /// The calling process is a member of the tree.
    #[error("refusing to kill the tree of process {pid}: this process is part of it")]
    Own {
        /// The root of the tree.
        pid: u32,
    },
    /// A process survived SIGKILL, most likely in a system call that does not return (a hung disk or network mount), or new
    /// processes kept appearing.
    #[error("still there {} s after SIGKILL: PIDs {pids:?}; look at their state with ps", KILL_DEADLINE.as_secs())]
    Survived {
        /// The members found in the last round, for people. Never empty.
        pids: Vec<u32>,
    },
}

/// The result of ending a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// The processes that were killed, because they did not end within the grace period. Empty if all ended by themselves or
    /// were already gone; of very many, those that could be counted.
    pub killed: Vec<Identity>,
}

/// Ends the tree: sends SIGTERM to the root, which may end its own children; once it is gone, sends SIGTERM to the remaining
/// members; after `grace` sends SIGKILL to all. Success if all are dead, also if they were dead before. With a grace of zero
/// no SIGTERM is sent.
///
/// All descendants of the root end with it, even those that were meant to outlive it (a daemon's hostagents). To end a
/// single process, signal it as a [`Process`].
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

/// [`kill_tree`] for tokio. Runs to its end even if the future is dropped.
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
    /// The process was already gone.
    WasGone,
    /// It ended on request.
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

/// Stops a process: by `ask` (over its control channel), then by SIGTERM, then by SIGKILL to the whole tree, each step
/// bounded (hazard 17). If the request fails, SIGTERM follows at once. Then ends the descendants that the process
/// leaves. Bounded by both limits and twenty seconds.
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
    // Members are found more reliably while the root lives.
    let mut hunt = Hunt::new(tree)?;
    hunt.gather(Then::Hold)?;
    let deadline = Instant::now() + patience.request;
    let asked = match tokio::time::timeout_at(deadline.into(), ask).await {
        Ok(Ok(())) => root.wait_async(deadline).await.is_exited(),
        Ok(Err(error)) => {
            tracing::warn!(pid, %error, "cannot request the process to stop, sending SIGTERM");
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
