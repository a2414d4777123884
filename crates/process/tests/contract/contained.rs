//! Children in a cgroup of their own (Linux): who cannot get away, who is left alone, and what remains.
//!
//! Where the system delegates no cgroups to this user, the tests that need one say so and are skipped.

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

/// The folder of this process's cgroup, when cgroups can be made in it. Found by other means than those under test.
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

/// The folders of a tree right below `folder`.
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

/// The cgroup that the process is in, as the kernel names it.
fn cgroup(process: &Process) -> String {
    let file = format!("/proc/{}/cgroup", process.identity().pid());
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    line.unwrap_or_default().to_owned()
}

/// Starts, with no environment and in a session whose leader has ended, a process whose PID is in `below`; then it ends.
const ESCAPE: &str =
    "env -i PATH=\"$PATH\" setsid sh -c 'sleep 1000 & echo $! > below' & wait; echo > ended";

fn shell(script: &str, folder: &Path) -> Spawn {
    Spawn::new("sh").args(["-c", script]).cwd(folder)
}

#[test]
fn h03_who_clears_its_environment_leaves_the_session_and_loses_its_parents_is_found() {
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
fn h03_one_that_is_found_by_a_mark_above_is_asked_before_it_is_killed() {
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
fn a_storm_that_nobody_can_follow_ends_in_its_cgroup() {
    let ours = delegated!();
    let folder = tempfile::tempdir().unwrap();
    // Each in a session of its own, and the root has gone.
    let mut root = run_as("storm-leaving", folder.path())
        .contained()
        .spawn()
        .unwrap();
    assert!(root.wait(soon()).is_exited());
    assert_eq!(groups(&ours, mark_of(&root).as_str()).len(), 1);
    kill_tree(&root.tree(), Duration::ZERO).unwrap();
    // The kernel lets nobody remove a group that somebody is in.
    assert!(groups(&ours, mark_of(&root).as_str()).is_empty());
}

#[test]
fn h06_who_is_in_another_cgroup_or_came_into_this_one_is_left_alone() {
    let ours = delegated!();
    let stranger = Bystander::new();
    let guest = ready(run_as("sleep", "")).0;
    let (other, _) = ready(run_as("sleep", "").contained());
    let (child, _) = ready(run_as("sleep", "").contained());
    let group = groups(&ours, mark_of(&child).as_str()).remove(0);
    // Older than the tree, so none of it, wherever it is.
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
fn h06_who_kills_a_tree_from_inside_its_cgroup_lives() {
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
fn a_cgroup_within_a_cgroup_ends_alone_and_with_the_outer_one() {
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
fn a_cgroup_goes_with_its_last_process_and_one_that_was_left_with_the_next_child() {
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
    // One that never starts.
    let never = Spawn::new("no-such-program")
        .env(VARIABLE, above.as_str())
        .contained();
    assert!(never.spawn().is_err());
    assert!(groups(&ours, above.as_str()).is_empty());
    // One whose parent forgets it.
    let child = contained("sleep").unwrap();
    let process = Process::open(child.identity()).unwrap().unwrap();
    drop(child);
    assert_eq!(groups(&ours, above.as_str()).len(), 1);
    process.signal(Signal::Kill).unwrap();
    assert!(process.wait(soon()).is_exited());

    // What a parent left that crashed at any moment, and one that another is about to use.
    let left = ours.join(format!("rdd-tree-{}", Mark::new().as_str()));
    std::fs::create_dir_all(left.join("rdd-tree-below")).unwrap();
    let used = ours.join(format!("rdd-tree-{}", Mark::new().as_str()));
    // The other tests start children too, and may take it for a left-over until it is locked.
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
fn without_a_cgroup_all_is_as_before() {
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
        // In mounts of its own, so that nobody else is without.
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
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{case}: {said}");
        assert_eq!(wait_for_file(&folder.path().join("done")), "done\n");
    }
}

/// What `without_a_cgroup_all_is_as_before` does where there is none.
pub(crate) fn without_a_cgroup(folder: &Path) {
    let family = run_as("family", folder).contained().spawn().unwrap();
    let below = ["middle", "stays", "leaves"].map(|name| crate::process_in(&folder.join(name)));
    let ours = Process::open(&process::Identity::of_current().unwrap())
        .unwrap()
        .unwrap();
    assert!(below.iter().all(|process| cgroup(process) == cgroup(&ours)));
    // Kept in the tree when the middle one goes, also without a mark: the root is a subreaper.
    below[0].signal(Signal::Kill).unwrap();
    assert!(below[0].wait(soon()).is_exited());
    let mut tree = family.tree();
    tree.mark = None;
    kill_tree(&tree, Duration::ZERO).unwrap();
    assert!(!below.iter().any(Process::is_running));
    std::fs::write(folder.join("done"), "done\n").unwrap();
}

/// Kills the tree that it is in itself, below its root.
pub(crate) fn kill_inside(folder: &Path) {
    let mark = Mark::of_current().unwrap();
    let child = run_as("sleep", folder.join("sleeper")).spawn().unwrap();
    crate::process_in(&folder.join("sleeper"));
    let killed = kill_tree(&Tree::marked(mark), Duration::ZERO).unwrap();
    assert_eq!(killed.killed, [child.identity().clone()]);
    std::fs::write(folder.join("lived"), "1\n").unwrap();
}
