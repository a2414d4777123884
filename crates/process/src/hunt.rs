//! One attempt to end a tree: finds its members (by the criteria of [`crate::tree`]) and signals them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::held::{Process, Signal};
use crate::identity::{self, Identity};
use crate::pause;
use crate::sys::{self, Snapshot};
use crate::tree::{KILL_DEADLINE, Killed, Tree, TreeError, VARIABLE};

/// Rounds of SIGSTOP after which a tree that forks faster than it is stopped is killed as far as it is known.
const FREEZE_ROUNDS: u32 = 20;

/// The same as a time limit, for a long process table: a fraction of [`KILL_DEADLINE`].
const FREEZE_LIMIT: Duration = Duration::from_secs(2);

/// Members that are held at a time, each by a descriptor; a process often has at most 1024 descriptors and needs others.
/// Further members are signalled when they are found, and searched again until none is left.
const HELD_LIMIT: usize = 256;

/// How long the kernel may take to count a cgroup as empty after its last process has ended.
const EMPTYING: Duration = Duration::from_millis(200);

/// What happens to a new member when it is found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The member is held, without a limit on their number.
    List,
    /// The member is held.
    Hold,
    /// The member is stopped, and the children that it started since the table was read are searched.
    Freeze,
    /// The member is killed.
    Kill,
}

/// The members of a tree that are known so far.
pub(crate) struct Hunt {
    tree: Tree,
    root: Option<Process>,
    /// A process that started before this time is not a member.
    since: u64,
    boot_id: String,
    /// The sessions that a member leads, or led while it was held, with the member's start time.
    sessions: HashMap<u32, u64>,
    members: HashMap<u32, Process>,
    /// PIDs and start times of members that are stopped, but not held.
    crowd: HashSet<(u32, u64)>,
    /// The cgroups of the tree, without one that contains a process which must not be killed.
    cgroups: HashSet<Cgroup>,
    /// The sessions of this process and its ancestors.
    our_sessions: HashSet<u32>,
}

impl Hunt {
    pub(crate) fn new(tree: &Tree) -> Result<Self, TreeError> {
        let boot_id = identity::boot_id()?;
        let root = match &tree.root {
            Some(root) => Process::open(root)?,
            None => None,
        };
        // No process carries a mark of another boot, but the start times of another boot are not comparable.
        let of_this_boot = tree.root.as_ref().filter(|root| root.boot_id() == boot_id);
        let since = of_this_boot.map_or(0, Identity::start_time);
        // Includes a cgroup whose members live too briefly to be seen.
        let cgroups = tree
            .mark
            .iter()
            .flat_map(|mark| Cgroup::below_us(mark.as_str()));
        Ok(Hunt {
            cgroups: cgroups.collect(),
            tree: tree.clone(),
            root,
            since,
            boot_id,
            sessions: HashMap::new(),
            members: HashMap::new(),
            crowd: HashSet::new(),
            our_sessions: HashSet::new(),
        })
    }

    /// Returns the held members that run.
    pub(crate) fn into_running(self) -> Vec<Process> {
        self.members
            .into_values()
            .filter(Process::is_running)
            .collect()
    }

    fn running(&self) -> impl Iterator<Item = &Process> {
        self.members.values().filter(|one| one.is_running())
    }

    /// Opens every member that is not held yet, and returns their PIDs. Members beyond [`HELD_LIMIT`] count as new each time,
    /// except when they are being stopped.
    pub(crate) fn gather(&mut self, then: Then) -> Result<Vec<u32>, TreeError> {
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
        // Makes room for other members. Leaders of sessions are kept, to signal their groups.
        let sessions = &self.sessions;
        self.members
            .retain(|pid, one| sessions.contains_key(pid) || one.is_running());
        // The PID of a leader that is gone may have been reused by a process that leads its own session.
        self.sessions.retain(|number, start_time| {
            by_pid
                .get(number)
                .is_none_or(|one| one.start_time == *start_time)
        });
        let of_ours = all.iter().filter(|one| ours.contains(&one.pid));
        self.our_sessions = of_ours.map(|one| one.session).collect();

        let mut found = self.evident(&all, &ours);
        let mut seen: HashSet<u32> = HashSet::new();
        let mut new = Vec::new();
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
            if !self.holds(&one) && !self.take(&one, then, &mut new)? {
                continue;
            }
            if one.session == one.pid {
                self.sessions.insert(one.pid, one.start_time);
            }
            let listed = children.get(&one.pid).into_iter().flatten();
            found.extend(listed.copied().cloned());
            if then == Then::Freeze {
                found.extend(sys::children(one.pid));
            }
        }
        Ok(new)
    }

    /// Returns false if the process has ended meanwhile.
    fn take(&mut self, one: &Snapshot, then: Then, new: &mut Vec<u32>) -> Result<bool, TreeError> {
        let identity = Identity::from_parts(one.pid, one.start_time, self.boot_id.clone());
        let Some(process) = Process::open(&identity)? else {
            return Ok(false);
        };
        // A member that cannot be signalled is still found in the last round, and that failure is reported.
        let _ = match then {
            Then::List | Then::Hold => Ok(()),
            Then::Freeze => process.signal(Signal::Stop),
            Then::Kill => process.signal(Signal::Kill),
        };
        let is_known = if then == Then::List || self.members.len() < HELD_LIMIT {
            self.members.insert(one.pid, process);
            false
        } else {
            then == Then::Freeze && !self.crowd.insert((one.pid, one.start_time))
        };
        if !is_known {
            new.push(one.pid);
        }
        Ok(true)
    }

    /// Finds the members that are recognized without their parents, and the cgroups of the tree.
    fn evident(&mut self, all: &[Snapshot], ours: &HashSet<u32>) -> Vec<Snapshot> {
        // Cgroups of the tree that contain a process which must not be killed.
        let mut spared: HashSet<Cgroup> = HashSet::new();
        let mut found = Vec::new();
        for one in all.iter().filter(|one| !one.ended) {
            let mark = self.tree.mark.as_ref();
            let cgroup = mark.and_then(|mark| Cgroup::of(one.pid, mark.as_str()));
            let is_young = one.start_time >= self.since;
            if is_young && (cgroup.is_some() || self.is_evident(one)) {
                found.push(one.clone());
            }
            if let Some(cgroup) = cgroup {
                if !is_young || ours.contains(&one.pid) {
                    spared.insert(cgroup);
                } else {
                    self.cgroups.insert(cgroup);
                }
            }
        }
        self.cgroups.retain(|cgroup| !spared.contains(cgroup));
        found
    }

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
        is_root() || self.holds(one) || self.sessions.contains_key(&one.session) || is_marked()
    }

    fn holds(&self, one: &Snapshot) -> bool {
        self.members
            .get(&one.pid)
            .is_some_and(|process| process.identity().start_time() == one.start_time)
    }

    /// Waits until all held members have ended, and returns whether they have.
    fn wait_for_members(&self, deadline: Instant) -> bool {
        self.members
            .values()
            .all(|process| process.wait(deadline).is_exited())
    }

    fn signal_members(&self, signal: Signal) -> Result<(), TreeError> {
        let mut failed = None;
        for (pid, process) in &self.members {
            // The process group that a session starts with is in the session, so in the tree. It is signalled atomically,
            // even if its processes start each other faster than they can be counted.
            if self.sessions.get(pid) == Some(&process.identity().start_time())
                && !self.our_sessions.contains(pid)
            {
                process.signal_group(signal);
            }
            // A member that cannot be signalled does not keep the others alive.
            if let Err(error) = process.signal(signal) {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Sends SIGTERM. A failure is only logged, because the member is killed later, and that failure is reported.
    fn ask<'a>(processes: impl Iterator<Item = &'a Process>) {
        for process in processes {
            if let Err(error) = crate::stop::ask(process) {
                tracing::debug!(%error, "cannot send SIGTERM to a process");
            }
        }
    }

    /// Ends the tree by SIGTERM; returns true if the whole tree is gone before the deadline.
    pub(crate) fn terminate(&mut self, deadline: Instant) -> Result<bool, TreeError> {
        if let Some(root) = &self.root {
            Self::ask(std::iter::once(root));
            if !root.wait(deadline).is_exited() {
                return Ok(false);
            }
        }
        loop {
            self.gather(Then::Hold)?;
            Self::ask(self.members.values());
            if !self.wait_for_members(deadline) {
                return Ok(false);
            }
            if self.left()?.is_empty() && !self.is_populated() {
                self.remove_cgroups();
                return Ok(true);
            }
            if !pause::until_next_look(deadline) {
                return Ok(false);
            }
        }
    }

    /// Kills all members. They are stopped first, parents before children as they are found, so that none forks between
    /// being found and being killed.
    pub(crate) fn kill(&mut self) -> Result<Killed, TreeError> {
        let deadline = Instant::now() + KILL_DEADLINE;
        let mut killed: HashSet<Identity> = HashSet::new();
        let mut latest = Vec::new();
        loop {
            let frozen = self.freeze();
            killed.extend(self.running().map(|one| one.identity().clone()));
            // Even if not all processes could be inspected, because a cgroup needs no inspection.
            for cgroup in &self.cgroups {
                cgroup.kill();
            }
            frozen?;
            let sent = self.signal_members(Signal::Kill);
            if !self.crowd.is_empty() {
                self.gather(Then::Kill)?;
                self.crowd.clear();
            }
            sent?;
            self.wait_for_members(deadline);
            let left = self.left()?;
            if left.is_empty() && !self.is_populated() {
                break;
            }
            if !left.is_empty() {
                latest = left;
            }
            if !pause::until_next_look(deadline) {
                // No member was found in any round, but the kernel does not count a cgroup as empty: no PID to report.
                if latest.is_empty() {
                    break;
                }
                return Err(TreeError::Survived { pids: latest });
            }
        }
        self.remove_cgroups();
        Ok(Killed {
            killed: killed.into_iter().collect(),
        })
    }

    /// Stops all members that can be found.
    fn freeze(&mut self) -> Result<(), TreeError> {
        let until = Instant::now() + FREEZE_LIMIT;
        for _ in 0..FREEZE_ROUNDS {
            // A member that cannot be stopped may still be killed, and that failure is reported.
            let _ = self.signal_members(Signal::Stop);
            if self.gather(Then::Freeze)?.is_empty() || Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether a process is in a cgroup of the tree, even one that is not visible.
    fn is_populated(&self) -> bool {
        self.cgroups.iter().any(Cgroup::is_populated)
    }

    /// Returns the PIDs of the members that are alive now, new ones included.
    fn left(&mut self) -> Result<Vec<u32>, TreeError> {
        let mut pids = self.gather(Then::Hold)?;
        pids.extend(self.running().map(|one| one.identity().pid()));
        pids.extend(self.cgroups.iter().flat_map(Cgroup::pids));
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Removes the cgroups of a tree that has ended, even if it ended by itself.
    fn remove_cgroups(&self) {
        let mark = self.tree.mark.as_ref();
        let mut left = mark.map_or_else(Vec::new, |mark| Cgroup::below_us(mark.as_str()));
        left.extend(self.cgroups.iter().cloned());
        let deadline = Instant::now() + EMPTYING;
        loop {
            left.retain(|cgroup| !cgroup.remove());
            if left.is_empty() || !pause::until_next_look(deadline) {
                return;
            }
        }
    }
}

/// Returns the PIDs of this process and its ancestors.
fn ourselves(by_pid: &HashMap<u32, &Snapshot>) -> HashSet<u32> {
    let mut ours = HashSet::new();
    let mut pid = std::process::id();
    while pid != 0 && ours.insert(pid) {
        pid = by_pid.get(&pid).map_or(0, |one| one.parent);
    }
    ours
}
