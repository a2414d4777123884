//! One attempt to end a tree: who belongs to it ([`crate::tree`] says by which signs), and the signals to them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::cgroup::Cgroup;
use crate::held::{Process, Signal};
use crate::identity::{self, Identity};
use crate::pause;
use crate::sys::{self, Snapshot};
use crate::tree::{KILL_DEADLINE, Killed, Tree, TreeError, VARIABLE};

/// A tree that forks faster than we can stop it is killed after this many rounds of stopping, as far as it is known.
const FREEZE_ROUNDS: u32 = 20;

/// The same as time, for a table of processes that is long to read: a fraction of [`KILL_DEADLINE`].
const FREEZE_LIMIT: Duration = Duration::from_secs(2);

/// Members that are held at a time, each by a descriptor, of which this process often may have 1024 and needs others.
/// Those beyond are signalled when they are found, and looked for again until none is left.
const HELD_LIMIT: usize = 256;

/// From the end of a group's last process until the kernel counts it as empty: an instant.
const EMPTYING: Duration = Duration::from_millis(200);

/// What is done to a member as soon as it is found and was not held before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is held, however many there are.
    List,
    /// It is held, and nothing else.
    Hold,
    /// It is stopped, and those that it has started since the table was read are found too.
    Freeze,
    /// It is killed.
    Kill,
}

/// Whom it holds so far.
pub(crate) struct Hunt {
    tree: Tree,
    root: Option<Process>,
    /// Nobody who started before this is a member.
    since: u64,
    boot_id: String,
    /// Those that a member leads or led while we held it, and when that one started.
    sessions: HashMap<u32, u64>,
    members: HashMap<u32, Process>,
    /// Numbers and start times of those that are stopped, but not held.
    crowd: HashSet<(u32, u64)>,
    /// Those of the tree, unless one is among them who may not be killed.
    cgroups: HashSet<Cgroup>,
    /// Sessions that we or those above us are in.
    our_sessions: HashSet<u32>,
}

impl Hunt {
    pub(crate) fn new(tree: &Tree) -> Result<Self, TreeError> {
        let boot_id = identity::boot_id()?;
        let root = match &tree.root {
            Some(root) => Process::open(root)?,
            None => None,
        };
        // The marks of another boot can be nobody's, but its times mean nothing today.
        let of_this_boot = tree.root.as_ref().filter(|root| root.boot_id() == boot_id);
        let since = of_this_boot.map_or(0, Identity::start_time);
        // Also one whose members nobody ever sees, so short are their lives.
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

    /// Those that are held and run.
    pub(crate) fn into_running(self) -> Vec<Process> {
        self.members
            .into_values()
            .filter(Process::is_running)
            .collect()
    }

    fn running(&self) -> impl Iterator<Item = &Process> {
        self.members.values().filter(|one| one.is_running())
    }

    /// Takes hold of every member that is not held yet, and returns who that was. Of the crowd that cannot be held all
    /// are new each time, except to who stops them.
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
        // Room for others. Who led a session is kept, to signal its group.
        let sessions = &self.sessions;
        self.members
            .retain(|pid, one| sessions.contains_key(pid) || one.is_running());
        // The number of a leader that is gone may mean a stranger by now, who leads one of its own.
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

    /// False when it has gone meanwhile.
    fn take(&mut self, one: &Snapshot, then: Then, new: &mut Vec<u32>) -> Result<bool, TreeError> {
        let identity = Identity::from_parts(one.pid, one.start_time, self.boot_id.clone());
        let Some(process) = Process::open(&identity)? else {
            return Ok(false);
        };
        // One that cannot be signalled is there at the last look, and it is that failure which counts.
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

    /// Those who are members whoever their parents are, and the cgroups of the tree.
    fn evident(&mut self, all: &[Snapshot], ours: &HashSet<u32>) -> Vec<Snapshot> {
        // In a group of the tree, and not to be ended with it.
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

    /// Waits until everybody who is held has ended, and says whether they have.
    fn wait_for_members(&self, deadline: Instant) -> bool {
        self.members
            .values()
            .all(|process| process.wait(deadline).is_exited())
    }

    fn signal_members(&self, signal: Signal) -> Result<(), TreeError> {
        let mut failed = None;
        for (pid, process) in &self.members {
            // Those in the group that a session begins with are in the session, so in the tree. In one step, also when
            // they start each other faster than they can be counted.
            if self.sessions.get(pid) == Some(&process.identity().start_time())
                && !self.our_sessions.contains(pid)
            {
                process.signal_group(signal);
            }
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
                self.clear_away();
                return Ok(true);
            }
            if !pause::until_next_look(deadline) {
                return Ok(false);
            }
        }
    }

    /// SIGKILL to everybody. They are stopped first, parents before children as they are found, so that nobody forks
    /// between being found and being killed.
    pub(crate) fn kill(&mut self) -> Result<Killed, TreeError> {
        let deadline = Instant::now() + KILL_DEADLINE;
        let mut killed: HashSet<Identity> = HashSet::new();
        let mut latest = Vec::new();
        loop {
            let frozen = self.freeze();
            killed.extend(self.running().map(|one| one.identity().clone()));
            // Also when not all could be looked at: this needs no look.
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
                // Nobody at any look, and a group that the kernel does not count as empty: nobody to tell of.
                if latest.is_empty() {
                    break;
                }
                return Err(TreeError::Survived { pids: latest });
            }
        }
        self.clear_away();
        Ok(Killed {
            killed: killed.into_iter().collect(),
        })
    }

    /// Stops everybody, as far as they can be found.
    fn freeze(&mut self) -> Result<(), TreeError> {
        let until = Instant::now() + FREEZE_LIMIT;
        for _ in 0..FREEZE_ROUNDS {
            // One that cannot be stopped may still be killed, and it is that failure which counts.
            let _ = self.signal_members(Signal::Stop);
            if self.gather(Then::Freeze)?.is_empty() || Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }

    /// Whether anybody is in a cgroup of the tree, also one that cannot be seen.
    fn is_populated(&self) -> bool {
        self.cgroups.iter().any(Cgroup::is_populated)
    }

    /// Who of the tree is there now, and who came.
    fn left(&mut self) -> Result<Vec<u32>, TreeError> {
        let mut pids = self.gather(Then::Hold)?;
        pids.extend(self.running().map(|one| one.identity().pid()));
        pids.extend(self.cgroups.iter().flat_map(Cgroup::pids));
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Removes the cgroups of a tree that has ended, also of one that ended by itself.
    fn clear_away(&self) {
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

/// This process and those above it.
fn ourselves(by_pid: &HashMap<u32, &Snapshot>) -> HashSet<u32> {
    let mut ours = HashSet::new();
    let mut pid = std::process::id();
    while pid != 0 && ours.insert(pid) {
        pid = by_pid.get(&pid).map_or(0, |one| one.parent);
    }
    ours
}
