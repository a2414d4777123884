//! Killing a tree kills every member and no other process.

use std::path::Path;
use std::time::Duration;

use process::tree::{Killed, Mark, Tree, TreeError, kill_tree};
use process::{Process, Signal};
use testutils::Bystander;

use crate::role::run_as;
use crate::{process_in, ready, sleeper, soon, wait_for_file};

/// A root, its child, and two grandchildren: one that stays in the session and one that leaves it.
struct Family {
    root: process::spawn::Child,
    middle: Process,
    below: [Process; 2],
}

fn family(folder: &Path, subreaper: bool) -> Family {
    let spawn = run_as("family", folder);
    let root = if subreaper { spawn.subreaper() } else { spawn }
        .spawn()
        .unwrap();
    Family {
        root,
        middle: process_in(&folder.join("middle")),
        below: ["stays", "leaves"].map(|name| process_in(&folder.join(name))),
    }
}

#[test]
fn h03_every_member_is_killed_whichever_died_first_or_left_the_session() {
    for (subreaper, marked, middle_first, root_first) in [
        (false, true, false, false),
        (false, false, false, false),
        (true, false, true, false),
        (false, true, true, false),
        (false, true, false, true),
        (false, true, true, true),
    ] {
        // Only Linux has subreapers, which keep a tree connected without a mark.
        if subreaper && !cfg!(target_os = "linux") {
            continue;
        }
        let case = format!(
            "subreaper {subreaper}, marked {marked}, middle {middle_first}, root {root_first}"
        );
        let folder = tempfile::tempdir().unwrap();
        let mut family = family(folder.path(), subreaper);
        if middle_first {
            family.middle.signal(Signal::Kill).unwrap();
            assert!(family.middle.wait(soon()).is_exited());
        }
        if root_first {
            family.root.process().signal(Signal::Kill).unwrap();
            assert!(family.root.wait(soon()).is_exited());
        }
        assert!(family.below.iter().all(Process::is_running), "{case}");
        let mut tree = family.root.tree();
        if !marked {
            tree.mark = None;
        }
        let killed = kill_tree(&tree, Duration::ZERO).unwrap();
        for below in &family.below {
            assert!(!below.is_running(), "{case}");
            assert!(killed.killed.contains(below.identity()), "{case}");
        }
        assert!(
            !family.middle.is_running() && !family.root.process().is_running(),
            "{case}"
        );
        // h04: killing a tree that is already gone is a success.
        assert_eq!(
            kill_tree(&tree, Duration::from_secs(5)).unwrap(),
            Killed::default(),
            "{case}"
        );
    }
}

#[test]
fn h03_members_that_outlive_an_obedient_root_are_asked_to_stop_and_then_killed() {
    let folder = tempfile::tempdir().unwrap();
    // The root ends at once on request; one child ends on request, the other never.
    let (child, _) = ready(run_as("host", folder.path()));
    let stubborn = process_in(&folder.path().join("stubborn"));
    let killed = kill_tree(&child.tree(), Duration::from_secs(3))
        .unwrap()
        .killed;
    assert_eq!(
        wait_for_file(&folder.path().join("polite.heard")),
        "Requested\n"
    );
    assert!(
        !stubborn.is_running() && killed.contains(stubborn.identity()),
        "{killed:?}"
    );
    assert!(!killed.contains(child.identity()), "{killed:?}");
}

#[test]
fn h04_process_that_ends_on_request_is_not_killed() {
    let (child, _) = ready(run_as("listen", ""));
    assert_eq!(
        kill_tree(&child.tree(), soon() - std::time::Instant::now()).unwrap(),
        Killed::default()
    );
    assert!(!child.process().is_running());
}

#[test]
fn h05_process_that_leads_no_group_is_killed_alone() {
    let folder = tempfile::tempdir().unwrap();
    let leader = run_as("siblings", folder.path()).spawn().unwrap();
    let [member, sibling] = ["member", "sibling"].map(|name| process_in(&folder.path().join(name)));
    let killed = kill_tree(&Tree::new(member.identity().clone(), None), Duration::ZERO).unwrap();
    assert_eq!(killed.killed, [member.identity().clone()]);
    assert!(sibling.is_running() && leader.process().is_running());
    kill_tree(&leader.tree(), Duration::ZERO).unwrap();
}

#[test]
fn h06_bystanders_of_the_same_user_and_of_other_trees_are_not_touched() {
    let bystander = Bystander::new();
    let folder = tempfile::tempdir().unwrap();
    let family = family(folder.path(), true);
    let other = sleeper();
    kill_tree(&family.root.tree(), Duration::from_millis(10)).unwrap();
    assert!(other.process().is_running());
    kill_tree(&Tree::marked(Mark::new()), Duration::from_millis(10)).unwrap();
    kill_tree(&other.tree(), Duration::ZERO).unwrap();
    bystander.assert_untouched();
}

#[test]
fn nested_tree_ends_alone_and_with_the_outer_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut outer = run_as("outer", folder.path()).spawn().unwrap();
    let trees = ["one", "two"].map(|name| {
        let text = wait_for_file(&folder.path().join(name));
        serde_json::from_str::<Tree>(&text).unwrap()
    });
    let [one, two] = trees.clone().map(|tree| {
        let identity = tree.root.unwrap();
        Process::open(&identity).unwrap().unwrap()
    });
    kill_tree(&trees[0], Duration::ZERO).unwrap();
    assert!(!one.is_running() && two.is_running() && outer.process().is_running());
    // The same after the process that started it has ended.
    outer.process().signal(Signal::Kill).unwrap();
    assert!(outer.wait(soon()).is_exited());
    assert!(two.is_running());
    // By the mark alone, which the child has in its environment.
    let marked = Tree::marked(outer.tree().mark.unwrap());
    let members = marked.members().unwrap();
    assert!(members.iter().any(|one| one.identity() == two.identity()));
    kill_tree(&marked, Duration::ZERO).unwrap();
    assert!(!two.is_running());
    kill_tree(&outer.tree(), Duration::ZERO).unwrap();
}

#[test]
fn tree_of_the_calling_process_is_not_killed() {
    let own = Tree::new(process::Identity::of_current().unwrap(), None);
    assert!(matches!(
        kill_tree(&own, Duration::ZERO),
        Err(TreeError::Own { .. })
    ));
}

/// Unix has its own version, which uses sessions (`unix.rs`).
#[cfg(windows)]
#[test]
fn a_tree_that_forks_all_the_time_ends_too() {
    let child = run_as("breed", "60").spawn().unwrap();
    testutils::poll(crate::PATIENCE, "a crowd", || {
        let count = child.tree().members().unwrap().len();
        if count > 9 { Ok(()) } else { Err(count) }
    });
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
    assert!(child.tree().members().unwrap().is_empty());
}
