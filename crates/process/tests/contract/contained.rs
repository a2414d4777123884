//! Children in their own cgroup (Linux): killing a tree kills every process in its cgroup, no process outside of it, and
//! removes the cgroup.
//!
//! Where the system delegates no cgroup to this user, the tests that need one are skipped with that reason.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use process::spawn::{Child, Spawn};
use process::tree::{Mark, Tree, VARIABLE, kill_tree};
use process::{Process, Signal};
use testutils::{Bystander, Need};

use crate::role::{plain_below, run_as};
use crate::unix::process_in;
use crate::{PATIENCE, ready, soon, wait_for_file};

/// Returns the folder of this process's cgroup if cgroups can be made in it. Does not use the code under test.
fn delegated() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let ours = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = ours.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = Path::new(mount.split(' ').nth(4)?).join(path);
    let probe = folder.join(format!("contract-{}", Mark::new().as_str()));
    std::fs::create_dir(&probe).ok()?;
    std::fs::remove_dir(&probe).unwrap();
    Some(folder)
}

macro_rules! delegated {
    () => {
        match delegated() {
            Some(folder) => folder,
            None => {
                return testutils::skip(
                    Need::Cgroups,
                    "no cgroup of version 2 is delegated to this user",
                );
            }
        }
    };
}

/// Returns the cgroup folders of the tree directly below `folder`.
fn groups(folder: &Path, mark: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().is_some_and(|path| path.contains(mark)))
        .collect()
}

fn mark_of(child: &Child) -> Mark {
    child.tree().mark.unwrap()
}

/// Returns the path of the process's cgroup, as in /proc/PID/cgroup.
fn cgroup(process: &Process) -> String {
    let file = format!("/proc/{}/cgroup", process.identity().pid());
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    line.unwrap_or_default().to_owned()
}

/// Starts a process without an environment, in a session whose leader has ended; writes its PID to `below`, then ends.
const ESCAPE: &str =
    "env -i PATH=\"$PATH\" setsid sh -c 'sleep 1000 & echo $! > below' & wait; echo > ended";

fn shell(script: &str, folder: &Path) -> Spawn {
    Spawn::new("sh").args(["-c", script]).cwd(folder)
}

#[test]
fn h03_orphan_with_a_cleared_environment_and_a_new_session_is_found() {
    let ours = delegated!();
    for root_first in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let script = if root_first {
            ESCAPE.to_owned()
        } else {
            format!("{ESCAPE}; sleep 1000")
        };
        let mut root = shell(&script, folder.path()).contained().spawn().unwrap();
        wait_for_file(&folder.path().join("ended"));
        let below = process_in(&folder.path().join("below"));
        if root_first {
            assert!(root.wait(soon()).is_exited());
        }
        assert!(below.is_running());
        let killed = kill_tree(&root.tree(), Duration::ZERO).unwrap().killed;
        assert!(!below.is_running() && killed.contains(below.identity()));
        assert!(groups(&ours, mark_of(&root).as_str()).is_empty());
    }
}

#[test]
fn h03_member_found_by_an_outer_mark_gets_sigterm_before_sigkill() {
    let ours = delegated!();
    let above = Mark::new();
    let script = "env -i PATH=\"$PATH\" setsid sh -c 'trap \"echo > asked; exit\" TERM; echo $$ > below; \
                  while :; do sleep 0.05; done' & while [ ! -e below ]; do sleep 0.01; done";
    let folder = tempfile::tempdir().unwrap();
    let mut root = shell(script, folder.path())
        .env(VARIABLE, above.as_str())
        .contained()
        .spawn()
        .unwrap();
    assert!(root.wait(soon()).is_exited());
    let below = process_in(&folder.path().join("below"));
    assert_eq!(groups(&ours, above.as_str()).len(), 1);
    kill_tree(&Tree::marked(above.clone()), PATIENCE).unwrap();
    assert!(!below.is_running());
    wait_for_file(&folder.path().join("asked"));
    assert!(groups(&ours, above.as_str()).is_empty());
}

#[test]
fn processes_that_fork_faster_than_they_are_listed_end_with_their_cgroup() {
    let ours = delegated!();
    let folder = tempfile::tempdir().unwrap();
    // Each process has its own session, and the root has ended.
    let mut root = run_as("storm-leaving", folder.path())
        .contained()
        .spawn()
        .unwrap();
    assert!(root.wait(soon()).is_exited());
    assert_eq!(groups(&ours, mark_of(&root).as_str()).len(), 1);
    kill_tree(&root.tree(), Duration::ZERO).unwrap();
    // The kernel refuses to remove a cgroup that contains a process.
    assert!(groups(&ours, mark_of(&root).as_str()).is_empty());
}

#[test]
fn h06_process_of_another_cgroup_or_moved_into_this_one_survives() {
    let ours = delegated!();
    let stranger = Bystander::new();
    let guest = ready(run_as("sleep", "")).0;
    let (other, _) = ready(run_as("sleep", "").contained());
    let (child, _) = ready(run_as("sleep", "").contained());
    let group = groups(&ours, mark_of(&child).as_str()).remove(0);
    // A process that is older than the tree is never a member, whatever its cgroup is.
    let pid = guest.identity().pid().to_string();
    std::fs::write(group.join("cgroup.procs"), pid).unwrap();
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
    assert!(!child.process().is_running());
    assert!(guest.process().is_running() && other.process().is_running());
    kill_tree(&other.tree(), Duration::ZERO).unwrap();
    kill_tree(&guest.tree(), Duration::ZERO).unwrap();
    stranger.assert_untouched();
}

#[test]
fn h06_process_that_kills_its_own_tree_inside_the_cgroup_survives() {
    let _ours = delegated!();
    let folder = tempfile::tempdir().unwrap();
    let mut inside = run_as("kill-inside", folder.path())
        .contained()
        .spawn()
        .unwrap();
    assert!(inside.wait(soon()).is_exited());
    assert_eq!(wait_for_file(&folder.path().join("lived")), "1\n");
}

#[test]
fn nested_cgroup_ends_alone_and_with_the_outer_one() {
    let ours = delegated!();
    let folder = tempfile::tempdir().unwrap();
    let outer = run_as("outer-contained", folder.path())
        .contained()
        .spawn()
        .unwrap();
    let trees = ["one", "two"].map(|name| {
        let text = wait_for_file(&folder.path().join(name));
        serde_json::from_str::<Tree>(&text).unwrap()
    });
    let [one, two] = trees
        .clone()
        .map(|tree| Process::open(&tree.root.unwrap()).unwrap().unwrap());
    assert!(cgroup(&one).starts_with(&format!("{}/", cgroup(outer.process()))));
    kill_tree(&trees[0], Duration::ZERO).unwrap();
    assert!(!one.is_running() && two.is_running() && outer.process().is_running());
    let group = groups(&ours, mark_of(&outer).as_str()).remove(0);
    assert!(groups(&group, trees[0].mark.as_ref().unwrap().as_str()).is_empty());
    kill_tree(&outer.tree(), Duration::ZERO).unwrap();
    assert!(!two.is_running() && !group.exists());
}

#[test]
fn cgroup_is_removed_with_its_last_process_and_a_left_over_by_the_next_start() {
    let ours = delegated!();
    let above = Mark::new();
    let contained = |role: &str| {
        run_as(role, "")
            .env(VARIABLE, above.as_str())
            .contained()
            .spawn()
    };
    let mut child = contained("nothing").unwrap();
    assert!(child.wait(soon()).is_exited());
    assert!(groups(&ours, above.as_str()).is_empty());
    // A child that cannot start.
    let never = Spawn::new("no-such-program")
        .env(VARIABLE, above.as_str())
        .contained();
    assert!(never.spawn().is_err());
    assert!(groups(&ours, above.as_str()).is_empty());
    // A child whose handle is dropped.
    let child = contained("sleep").unwrap();
    let process = Process::open(child.identity()).unwrap().unwrap();
    drop(child);
    assert_eq!(groups(&ours, above.as_str()).len(), 1);
    process.signal(Signal::Kill).unwrap();
    assert!(process.wait(soon()).is_exited());

    // A left-over of a crashed parent, and a cgroup that another process is about to use.
    let left = ours.join(format!("rdd-tree-{}", Mark::new().as_str()));
    std::fs::create_dir_all(left.join("rdd-tree-below")).unwrap();
    let used = ours.join(format!("rdd-tree-{}", Mark::new().as_str()));
    // The other tests start children too, and may remove the folder as a left-over before it is locked.
    let lock = testutils::poll(PATIENCE, "a folder that is locked", || {
        let _ = std::fs::create_dir(&used);
        let lock = std::fs::File::open(&used).map_err(|error| error.to_string())?;
        lock.try_lock_shared().map_err(|error| error.to_string())?;
        if used.exists() {
            Ok(lock)
        } else {
            Err("it was removed".to_owned())
        }
    });
    // The kernel may take an instant to count a group as empty.
    testutils::poll(PATIENCE, "no left-overs", || {
        let mut child = contained("nothing").unwrap();
        assert!(child.wait(soon()).is_exited());
        if groups(&ours, above.as_str()).is_empty() && !left.exists() {
            Ok(())
        } else {
            Err("still there")
        }
    });
    assert!(used.exists());
    std::fs::remove_dir(&used).unwrap();
    drop(lock);
}

#[test]
fn without_a_cgroup_the_tree_is_killed_all_the_same() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let Some(point) = mount.and_then(|line| line.split(' ').nth(4)) else {
        return testutils::skip(Need::Cgroups, "no cgroup of version 2 is mounted");
    };
    for (case, change) in [
        ("read-only", "mount -o remount,bind,ro \"$MNT\""),
        ("something over it", "mount -t tmpfs none \"$MNT\""),
        ("none", "umount -l \"$MNT\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        // In its own mount namespace, so that no other process loses its cgroups.
        let unshare = |script: &str| {
            let mut unshare = Command::new("unshare");
            unshare
                .args(["--mount", "--propagation", "private", "sh", "-c", script])
                .arg(std::env::current_exe().unwrap())
                .env("MNT", point);
            unshare
        };
        let allowed = unshare(change).output();
        if !allowed.is_ok_and(|output| output.status.success()) {
            testutils::skip(
                Need::Namespaces,
                format_args!("{case}: this user may not change mounts"),
            );
            continue;
        }
        let run = unshare(&format!("{change}; exec \"$0\" \"$@\""));
        let output = plain_below(run, "without-a-cgroup", folder.path())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{case}: {printed}");
        assert_eq!(wait_for_file(&folder.path().join("done")), "done\n");
    }
}

/// The part of `without_a_cgroup_the_tree_is_killed_all_the_same` that runs where no cgroup can be made.
pub(crate) fn without_a_cgroup(folder: &Path) {
    let family = run_as("family", folder).contained().spawn().unwrap();
    let below = ["middle", "stays", "leaves"].map(|name| crate::process_in(&folder.join(name)));
    let ours = Process::open(&process::Identity::of_current().unwrap())
        .unwrap()
        .unwrap();
    assert!(below.iter().all(|process| cgroup(process) == cgroup(&ours)));
    // The orphans stay in the tree when the middle process ends, even without a mark, because the root is a subreaper.
    below[0].signal(Signal::Kill).unwrap();
    assert!(below[0].wait(soon()).is_exited());
    let mut tree = family.tree();
    tree.mark = None;
    kill_tree(&tree, Duration::ZERO).unwrap();
    assert!(!below.iter().any(Process::is_running));
    std::fs::write(folder.join("done"), "done\n").unwrap();
}

/// Kills the tree of which this process is the root, without killing this process.
pub(crate) fn kill_inside(folder: &Path) {
    let mark = Mark::of_current().unwrap();
    let child = run_as("sleep", folder.join("sleeper")).spawn().unwrap();
    crate::process_in(&folder.join("sleeper"));
    let killed = kill_tree(&Tree::marked(mark), Duration::ZERO).unwrap();
    assert_eq!(killed.killed, [child.identity().clone()]);
    std::fs::write(folder.join("lived"), "1\n").unwrap();
}
