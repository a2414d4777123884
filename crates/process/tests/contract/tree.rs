//! The end of all, and of nobody else.

use std::path::Path;
use std::time::Duration;

use process::spawn::Spawn;
use process::tree::{Killed, Mark, Tree, TreeError, kill_tree};
use process::{Process, Signal};
use testutils::Bystander;

use crate::{process_in, soon, wait_for_file};

/// Root, middle, and below the middle one that stays in the session and one that leaves it.
const THREE_GENERATIONS: &str = r#"
sh -c 'sleep 1000 & echo $! > stays; setsid sleep 1000 & echo $! > leaves; echo $$ > middle; wait' &
wait; sleep 1000
"#;

struct Family {
    root: process::spawn::Child,
    middle: Process,
    below: [Process; 2],
}

fn family(folder: &Path, subreaper: bool) -> Family {
    let spawn = Spawn::new("sh").args(["-c", THREE_GENERATIONS]).cwd(folder);
    let root = if subreaper { spawn.subreaper() } else { spawn }
        .spawn()
        .unwrap();
    let below = [
        process_in(&folder.join("stays")),
        process_in(&folder.join("leaves")),
    ];
    Family {
        root,
        middle: process_in(&folder.join("middle")),
        below,
    }
}

#[test]
fn h03_nobody_survives_whoever_died_first_and_whoever_left() {
    for (subreaper, marked, middle_first, root_first) in [
        (false, true, false, false),
        (false, false, false, false),
        (true, false, true, false),
        (false, true, true, false),
        (false, true, false, true),
        (false, true, true, true),
    ] {
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
        // h04: killed is killed.
        assert_eq!(
            kill_tree(&tree, Duration::from_secs(5)).unwrap(),
            Killed::default(),
            "{case}"
        );
    }
}

#[test]
fn h03_an_orphan_without_a_mark_is_found_by_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sh -c 'env -i sleep 1000 & echo $! > below' & wait; echo > orphaned; sleep 1000";
    let script = script.replace("env -i", "env -i PATH=\"$PATH\"");
    let root = Spawn::new("sh")
        .args(["-c", &script])
        .cwd(folder.path())
        .spawn()
        .unwrap();
    wait_for_file(&folder.path().join("orphaned"));
    let below = process_in(&folder.path().join("below"));
    kill_tree(&root.tree(), Duration::ZERO).unwrap();
    assert!(!below.is_running());
}

#[test]
fn h03_those_who_stay_after_the_root_ended_on_request_are_asked_and_then_killed() {
    let folder = tempfile::tempdir().unwrap();
    // The root goes at once; one child goes when asked, the other never.
    let script = r#"
        sh -c 'trap "echo asked > polite; exit" TERM; echo > r1; while :; do sleep 1000 & wait $!; done' &
        sh -c 'trap "" TERM; echo $$ > stubborn; while :; do sleep 1000 & wait $!; done' &
        while ! test -s stubborn || ! test -e r1; do sleep 0.01; done
        echo ready > ready; trap exit TERM; sleep 1000 & wait"#;
    let child = Spawn::new("sh")
        .args(["-c", script])
        .cwd(folder.path())
        .spawn()
        .unwrap();
    wait_for_file(&folder.path().join("ready"));
    let stubborn = process_in(&folder.path().join("stubborn"));
    let killed = kill_tree(&child.tree(), Duration::from_millis(500))
        .unwrap()
        .killed;
    assert_eq!(wait_for_file(&folder.path().join("polite")), "asked\n");
    assert!(
        !stubborn.is_running() && killed.contains(stubborn.identity()),
        "{killed:?}"
    );
    assert!(!killed.contains(child.identity()), "{killed:?}");
}

#[test]
fn h04_what_ends_on_sigterm_is_not_killed() {
    let child = Spawn::new("sleep").arg("1000").spawn().unwrap();
    assert_eq!(
        kill_tree(&child.tree(), soon() - std::time::Instant::now()).unwrap(),
        Killed::default()
    );
    assert!(!child.process().is_running());
}

#[test]
fn h05_a_process_that_leads_no_group_dies_alone() {
    let folder = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! > member; sleep 1000 & echo $! > sibling; wait; sleep 1000";
    let leader = Spawn::new("sh")
        .args(["-c", script])
        .cwd(folder.path())
        .spawn()
        .unwrap();
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
    let other = Spawn::new("sleep").arg("1000").spawn().unwrap();
    kill_tree(&family.root.tree(), Duration::from_millis(10)).unwrap();
    assert!(other.process().is_running());
    kill_tree(&Tree::marked(Mark::new()), Duration::from_millis(10)).unwrap();
    kill_tree(&other.tree(), Duration::ZERO).unwrap();
    bystander.assert_untouched();
}

#[test]
fn a_tree_within_a_tree_ends_alone_and_with_the_outer_one() {
    let folder = tempfile::tempdir().unwrap();
    let mark = Mark::new();
    let spawn = |name: &str| {
        Spawn::new("sleep")
            .arg("1000")
            .env(process::tree::VARIABLE, mark.as_str())
            .cwd(folder.path())
            .arg(name)
    };
    let (one, two) = (spawn("0").spawn().unwrap(), spawn("0").spawn().unwrap());
    kill_tree(&one.tree(), Duration::ZERO).unwrap();
    assert!(!one.process().is_running() && two.process().is_running());
    assert_eq!(Tree::marked(mark.clone()).members().unwrap().len(), 1);
    kill_tree(&Tree::marked(mark), Duration::ZERO).unwrap();
    assert!(!two.process().is_running());
}

#[test]
fn nobody_kills_itself_by_mistake() {
    let own = Tree::new(process::Identity::of_current().unwrap(), None);
    assert!(matches!(
        kill_tree(&own, Duration::ZERO),
        Err(TreeError::Own { .. })
    ));
}

#[test]
fn a_tree_that_forks_all_the_time_ends_too() {
    let script = "while :; do setsid sh -c 'sleep 0.05; sh -c \"sleep 1000\"' & sleep 0.001; done";
    let child = Spawn::new("sh").args(["-c", script]).spawn().unwrap();
    testutils::poll(crate::PATIENCE, "a crowd", || {
        let count = child.tree().members().unwrap().len();
        if count > 20 { Ok(()) } else { Err(count) }
    });
    kill_tree(&child.tree(), Duration::ZERO).unwrap();
    assert!(child.tree().members().unwrap().is_empty());
}

/// In a container the session's leader is often outside the PID namespace, and `getsid` answers 0.
#[cfg(target_os = "linux")]
#[test]
fn a_process_whose_session_is_led_from_outside_its_pid_namespace_is_no_root_of_a_tree() {
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("mark");
    let namespace = ["--user", "--map-root-user", "--pid", "--fork"];
    let allowed = std::process::Command::new("unshare")
        .args(namespace)
        .arg("true")
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("skipped: this machine allows no user and PID namespace");
        return;
    }
    let output = crate::role::run_below("unshare", &namespace, "mark", &answer)
        .env(process::tree::VARIABLE, "0123456789abcdef")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(std::fs::read_to_string(&answer).unwrap(), "None");
}
