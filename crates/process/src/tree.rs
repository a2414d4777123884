//! The end of a process and of all that it started.
//!
//! A process belongs to a tree when one of these says so, and each is looked at again in every round:
//!
//! 1. its parent belongs to it (a root started as a subreaper keeps orphans in the tree);
//! 2. its session is one that a member leads or led while we held it;
//! 3. it carries the tree's [`Mark`] in the environment that it was started with, which survives the death of every
//!    process between, and a new session ([`crate::spawn`] adds a mark for each child to those above it).
//!
//! Whoever is found is opened and checked as a [`Process`] first, so no number is ever signalled. A process older than
//! the root is never a member, nor are we or those above us.
//!
//! Killing what is gone already is success (hazard 4).
//!
//! Who clears its environment *and* leaves the session *and* loses its parent while the root is no subreaper, or is
//! dead, is not found. A cgroup of its own for each tree would find it, where one is delegated to the user.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::held::{Process, Signal};
use crate::identity::{self, Error, Identity};
use crate::pause;
use crate::sys::{self, Snapshot};

/// The environment variable that lists the marks of the trees a process belongs to, outermost first, `:` between.
pub const VARIABLE: &str = "RDD_PROCESS_TREE";

/// A tree in a tree in a tree …: the outermost marks are dropped beyond this.
const NESTING_LIMIT: usize = 16;

/// How long SIGKILL may take: a process in an uninterruptible system call dies when that call returns.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A tree that forks faster than we can stop it is killed after this many rounds of stopping, as far as it is known.
const FREEZE_ROUNDS: u32 = 20;

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
        hunt.gather()?;
        Ok(hunt
            .members
            .into_values()
            .filter(Process::is_running)
            .collect())
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
    /// Somebody outlived SIGKILL, most likely in a system call that does not end (a hung disk or network mount).
    #[error("still there {} s after SIGKILL: PIDs {pids:?}; look at their state with ps", KILL_DEADLINE.as_secs())]
    Survived {
        /// Who, for people.
        pids: Vec<u32>,
    },
}

/// What it took to end a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Those that had to be killed, since they did not end within the grace period. Empty when all went by themselves
    /// or were gone before.
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
    hunt.gather()?;
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
    hunt.gather()?;
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
        hunt.gather()?;
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

/// One attempt to end a tree, and whom it holds so far.
struct Hunt {
    tree: Tree,
    root: Option<Process>,
    /// Nobody who started before this is a member.
    since: u64,
    boot_id: String,
    sessions: HashSet<u32>,
    members: HashMap<u32, Process>,
}

impl Hunt {
    fn new(tree: &Tree) -> Result<Self, TreeError> {
        let boot_id = identity::boot_id()?;
        let root = match &tree.root {
            Some(root) => Process::open(root)?,
            None => None,
        };
        // The marks of another boot can be nobody's, but its times mean nothing today.
        let of_this_boot = tree.root.as_ref().filter(|root| root.boot_id() == boot_id);
        let since = of_this_boot.map_or(0, Identity::start_time);
        Ok(Hunt {
            tree: tree.clone(),
            root,
            since,
            boot_id,
            sessions: HashSet::new(),
            members: HashMap::new(),
        })
    }

    /// Takes hold of every member that is not held yet, and returns how many that were.
    fn gather(&mut self) -> Result<usize, TreeError> {
        let all = sys::snapshot().map_err(TreeError::List)?;
        let by_pid: HashMap<u32, &Snapshot> = all.iter().map(|one| (one.pid, one)).collect();
        let ours = ourselves(&by_pid);
        if let Some(root) = &self.root
            && ours.contains(&root.identity().pid())
            && root.is_running()
        {
            return Err(TreeError::Own {
                pid: root.identity().pid(),
            });
        }
        let mut children: HashMap<u32, Vec<&Snapshot>> = HashMap::new();
        for one in &all {
            children.entry(one.parent).or_default().push(one);
        }

        let mut found: Vec<&Snapshot> = all.iter().filter(|one| self.is_evident(one)).collect();
        let mut seen: HashSet<u32> = HashSet::new();
        let mut new = 0;
        while let Some(one) = found.pop() {
            if one.ended
                || one.start_time < self.since
                || ours.contains(&one.pid)
                || !seen.insert(one.pid)
            {
                continue;
            }
            if identity::check_pid(i64::from(one.pid)).is_err() {
                continue;
            }
            if !self.holds(one) {
                let identity = Identity::from_parts(one.pid, one.start_time, self.boot_id.clone());
                let Some(process) = Process::open(&identity)? else {
                    continue;
                };
                self.members.insert(one.pid, process);
                new += 1;
            }
            if one.session == one.pid {
                self.sessions.insert(one.session);
            }
            found.extend(children.get(&one.pid).into_iter().flatten());
        }
        Ok(new)
    }

    /// Whether it is a member whatever its parent is.
    fn is_evident(&self, one: &Snapshot) -> bool {
        let is_root = || {
            self.root.as_ref().is_some_and(|root| {
                root.identity().pid() == one.pid && root.identity().start_time() == one.start_time
            })
        };
        let is_marked = || {
            self.tree
                .mark
                .as_ref()
                .is_some_and(|mark| sys::carries(one.pid, VARIABLE, mark.as_str()))
        };
        !one.ended
            && one.start_time >= self.since
            && (is_root() || self.holds(one) || self.sessions.contains(&one.session) || is_marked())
    }

    fn holds(&self, one: &Snapshot) -> bool {
        self.members
            .get(&one.pid)
            .is_some_and(|process| process.identity().start_time() == one.start_time)
    }

    /// Waits until everybody who is held has ended, and says whether they have.
    fn wait_for_members(&self, deadline: Instant) -> bool {
        self.members
            .values()
            .all(|process| process.wait(deadline).is_exited())
    }

    fn signal_members(&self, signal: Signal) -> Result<(), TreeError> {
        let mut failed = None;
        for process in self.members.values() {
            // One that may not be signalled keeps nobody else alive.
            if let Err(error) = process.signal(signal) {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Who cannot be asked is killed later, and it is that failure which counts.
    fn ask<'a>(whom: impl Iterator<Item = &'a Process>) {
        for process in whom {
            if let Err(error) = crate::stop::ask(process) {
                tracing::debug!(%error, "a process cannot be asked to end");
            }
        }
    }

    /// Asks with SIGTERM; true when the whole tree has gone before the deadline.
    fn terminate(&mut self, deadline: Instant) -> Result<bool, TreeError> {
        if let Some(root) = &self.root {
            Self::ask(std::iter::once(root));
            if !root.wait(deadline).is_exited() {
                return Ok(false);
            }
        }
        loop {
            self.gather()?;
            Self::ask(self.members.values());
            if !self.wait_for_members(deadline) {
                return Ok(false);
            }
            if self.gather()? == 0 {
                return Ok(true);
            }
        }
    }

    /// SIGKILL to everybody. They are stopped first, parents before children as they are found, so that nobody forks
    /// between being found and being killed.
    fn kill(&mut self) -> Result<Killed, TreeError> {
        let deadline = Instant::now() + KILL_DEADLINE;
        let mut killed: HashSet<Identity> = HashSet::new();
        loop {
            for _ in 0..FREEZE_ROUNDS {
                let new = self.gather()?;
                // One that cannot be stopped may still be killed, and it is that failure which counts.
                let _ = self.signal_members(Signal::Stop);
                if new == 0 {
                    break;
                }
            }
            killed.extend(
                self.members
                    .values()
                    .filter(|one| one.is_running())
                    .map(|one| one.identity().clone()),
            );
            let sent = self.signal_members(Signal::Kill);
            let gone = self.wait_for_members(if sent.is_ok() {
                deadline
            } else {
                Instant::now()
            });
            sent?;
            if gone && self.gather()? == 0 {
                return Ok(Killed {
                    killed: killed.into_iter().collect(),
                });
            }
            if !pause::until_next_look(deadline) {
                let alive = self.members.values().filter(|one| one.is_running());
                return Err(TreeError::Survived {
                    pids: alive.map(|one| one.identity().pid()).collect(),
                });
            }
        }
    }
}

/// This process and those above it.
fn ourselves(by_pid: &HashMap<u32, &Snapshot>) -> HashSet<u32> {
    let mut ours = HashSet::new();
    let mut pid = std::process::id();
    while pid != 0 && ours.insert(pid) {
        pid = by_pid.get(&pid).map_or(0, |one| one.parent);
    }
    ours
}
