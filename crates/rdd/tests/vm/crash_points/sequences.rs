//! A test for each sequence of steps: kills the process at each of its points and checks the recovery.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use testutils::poll;
use testutils::stub_guest::PowerButton;

use super::world::{Declared, PATIENCE, VM, World};
use super::{Way, points};

#[test]
fn h23_killed_create_command_does_not_block_the_next_one() {
    let world = World::new();
    let template = world.template.to_string_lossy().into_owned();
    world.rdd(&["svc", "start"]);
    for point in points(Way::CreateCommand) {
        let died = world.armed(point, &["limavm", "create", VM, &template, "--wait"]);
        assert_eq!(died.status.code(), None, "{point}: {}", died.text());
        if world.field("{.metadata.name}").is_empty() {
            // The user repeats the command.
            world.create(false);
        }
        world.settles(point, Declared::Stopped);
        world.rdd(&["limavm", "delete", VM, "--wait"]);
        world.settles(point, Declared::Deleted);
    }
}

#[test]
fn h23_daemon_killed_while_it_creates_a_vm_continues_after_its_restart() {
    let world = World::new();
    let template = world.template.to_string_lossy().into_owned();
    for point in points(Way::Create) {
        world.arm(point);
        // The command may or may not receive the response before the daemon dies.
        world.armed("", &["limavm", "create", VM, &template, "--wait=false"]);
        world.wait_for_death(point);
        world.recover();
        world.settles(point, Declared::Stopped);
        // The VM is complete: it runs.
        if point == "prepare.after-rename" {
            world.rdd(&["limavm", "start", VM, "--wait"]);
        }
        world.rdd(&["limavm", "delete", VM, "--wait"]);
        world.settles(point, Declared::Deleted);
    }
}

#[test]
fn h15_start_killed_at_any_point_is_repeated_or_adopted() {
    let world = World::new();
    world.rdd(&["svc", "start"]);
    world.create(false);
    let keys = world.instance.lima_home().join("_config");
    let ways = [Way::Start, Way::StartWithoutKeys, Way::StartWithBadKeys];
    for way in ways {
        for point in points(way) {
            if way != Way::Start {
                // A stopped VM does not need them.
                let _ = fs::remove_dir_all(&keys);
            }
            if way == Way::StartWithBadKeys {
                fs::create_dir_all(&keys).unwrap();
                fs::write(keys.join("user"), "no key").unwrap();
            }
            world.arm(point);
            world.rdd(&["limavm", "start", VM, "--wait=false"]);
            world.wait_for_death(point);
            world.recover();
            world.settles(point, Declared::Running);
            world.rdd(&["limavm", "stop", VM, "--wait"]);
            world.settles(point, Declared::Stopped);
        }
    }
}

/// On a swapping host QEMU needs seconds to create its control socket. A hostagent that dies meanwhile has not recorded
/// the process, and the next hostagent must not start a second one.
#[test]
fn h34_slow_qemu_whose_hostagent_died_is_not_started_twice() {
    const POINT: &str = "qemu.start.after-spawn";
    let world = World::new();
    let may_start = world.instance.scratch().join("may-start");
    world.slow_qemu(&may_start);
    world.rdd(&["svc", "start"]);
    world.create(false);
    world.arm(POINT);
    world.rdd(&["limavm", "start", VM, "--wait=false"]);
    world.wait_for_death(POINT);
    let first = world.processes(&["qemu-system", VM]).remove(0);
    world.recover();
    let socket = world.instance.lima_home().join(VM).join("ha.sock");
    poll(PATIENCE, "the next hostagent", || {
        UnixStream::connect(&socket)
    });
    fs::write(&may_start, "").unwrap();
    world.settles(POINT, Declared::Running);
    let now = world.processes(&["qemu-system", VM]).remove(0);
    assert_eq!(now.process.identity(), first.process.identity());
}

#[test]
fn h18_hostagent_killed_during_adoption_does_not_touch_the_guest() {
    let world = World::new();
    world.rdd(&["svc", "start"]);
    world.create(true);
    let qemu = |world: &World| world.processes(&["qemu-system"]).remove(0);
    let before = qemu(&world);
    for point in points(Way::Adopt) {
        world.kill(&["svc", "serve"]);
        world.kill(&["hostagent"]);
        world.arm(point);
        world.wait_for_death(point);
        world.recover();
        world.settles(point, Declared::Running);
        assert_eq!(
            qemu(&world).process.identity(),
            before.process.identity(),
            "{point}"
        );
    }
}

#[test]
fn h17_stop_killed_at_any_point_is_completed() {
    stopped(PowerButton::Obeyed, Way::Stop);
}

#[test]
fn h17_forced_stop_killed_at_any_point_is_completed() {
    stopped(PowerButton::Ignored, Way::StopByForce);
}

fn stopped(button: PowerButton, way: Way) {
    let world = World::with(button);
    world.rdd(&["svc", "start"]);
    world.create(false);
    let patience = r#"{"spec":{"stop":{"gracePeriod":"1s"}}}"#;
    world.kubectl(&["patch", "limavm", VM, "--type=merge", "-p", patience]);
    for point in points(way) {
        world.arm(point);
        world.rdd(&["limavm", "start", VM, "--wait"]);
        world.rdd(&["limavm", "stop", VM, "--wait=false"]);
        world.wait_for_death(point);
        world.recover();
        world.settles(point, Declared::Stopped);
    }
}

#[test]
fn restart_killed_at_any_point_happens_once() {
    let world = World::new();
    world.rdd(&["svc", "start"]);
    world.create(true);
    for point in points(Way::Restart) {
        let before: u32 = world.field("{.status.restartCount}").parse().unwrap();
        world.arm(point);
        world.rdd(&["limavm", "restart", VM, "--wait=false"]);
        world.wait_for_death(point);
        world.recover();
        let wanted = (before + 1).to_string();
        poll(PATIENCE, &format!("one restart after {point}"), || {
            let count = world.field("{.status.restartCount}");
            if count == wanted { Ok(()) } else { Err(count) }
        });
        world.settles(point, Declared::Running);
        assert_eq!(world.field("{.status.restartCount}"), wanted, "{point}");
    }
}

#[test]
fn h24_template_change_killed_at_any_point_takes_effect() {
    let world = World::new();
    world.rdd(&["svc", "start"]);
    world.create(false);
    let copy = format!("{VM}-template");
    let text = fs::read_to_string(&world.template).unwrap();
    for (index, point) in points(Way::Template).enumerate() {
        world.arm(point);
        let memory = format!("memory: {}MiB", 65 + index);
        let changed = text.replace("memory: 64MiB", &memory);
        let patch = serde_json::json!({ "data": { "template": changed } }).to_string();
        world.kubectl(&["patch", "configmap", &copy, "--type=merge", "-p", &patch]);
        world.wait_for_death(point);
        world.recover();
        let version = world.kubectl(&[
            "get",
            "configmap",
            &copy,
            "-o",
            "jsonpath={.metadata.resourceVersion}",
        ]);
        poll(PATIENCE, &format!("the template after {point}"), || {
            let seen = world.field("{.status.observedTemplateResourceVersion}");
            if seen == version { Ok(()) } else { Err(seen) }
        });
        world.settles(point, Declared::Stopped);
        let yaml = world.instance.lima_home().join(VM).join("lima.yaml");
        let yaml = fs::read_to_string(yaml).unwrap();
        assert!(yaml.contains(&memory), "{point}: {yaml}");
    }
}

#[test]
fn h22_delete_killed_at_any_point_is_completed() {
    let world = World::new();
    world.rdd(&["svc", "start"]);
    for point in points(Way::Delete) {
        // The VM runs where the sequence kills something.
        world.create(point == "delete.after-kill");
        world.arm(point);
        // The answer may not come before the daemon dies.
        world.armed("", &["limavm", "delete", VM, "--wait=false"]);
        world.wait_for_death(point);
        world.recover();
        world.settles(point, Declared::Deleted);
        let left = world.kubectl(&["get", "configmaps", "-n", "default", "-o", "name"]);
        assert!(!left.contains(VM), "{point}: {left}");
    }
}

#[test]
fn reset_killed_at_any_point_happens_once() {
    let world = World::new();
    world.rdd(&["svc", "start"]);
    world.create(true);
    let folder = world.instance.lima_home().join(VM);
    for point in points(Way::Reset) {
        fs::write(folder.join("of-the-old-disk"), "").unwrap();
        world.arm(point);
        world.kubectl(&[
            "annotate",
            "limavm",
            VM,
            "lima.rancherdesktop.io/resetRequested=now",
        ]);
        world.wait_for_death(point);
        world.recover();
        world.settles(point, Declared::Running);
        assert!(!folder.join("of-the-old-disk").exists(), "{point}");
    }
}

#[test]
fn h15_daemon_killed_while_starting_or_stopping_does_not_block_the_next_one() {
    let world = World::new();
    for point in points(Way::SvcCreate) {
        world.armed(point, &["svc", "create"]);
        world.rdd(&["svc", "create"]);
    }
    for point in points(Way::SvcStart) {
        let died = world.armed(point, &["svc", "start"]);
        assert!(!died.status.success(), "{point}: {}", died.text());
        world.rdd(&["svc", "start"]);
        assert_eq!(world.processes(&["svc", "serve"]).len(), 1, "{point}");
        assert_eq!(world.temporaries(), Vec::<PathBuf>::new());
        world.rdd(&["svc", "stop", "--wait"]);
    }
    world.rdd(&["svc", "start"]);
    world.create(true);
    for point in points(Way::SvcStop) {
        world.arm(point);
        let stopped = world.armed(point, &["svc", "stop", "--wait"]);
        assert_eq!(
            stopped.status.success(),
            point.starts_with("daemon."),
            "{point}"
        );
        poll(PATIENCE, &format!("the daemon's end after {point}"), || {
            let left = world.processes(&["svc", "serve"]);
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        });
        world.rdd(&["svc", "start"]);
        world.settles(point, Declared::Running);
    }
}

#[test]
fn h21_killed_svc_delete_or_reset_is_completed_by_the_next_one() {
    let ways = [(Way::SvcReset, "reset"), (Way::SvcDelete, "delete")];
    for (way, command) in ways {
        for point in points(way) {
            let world = World::new();
            world.rdd(&["svc", "start"]);
            world.create(true);
            // An orphan: only QEMU runs.
            world.kill(&["svc", "serve"]);
            world.kill(&["hostagent"]);
            let died = world.armed(point, &["svc", command]);
            assert_eq!(died.status.code(), None, "{point}: {}", died.text());
            world.rdd(&["svc", command]);
            if command == "reset" {
                world.rdd(&["svc", "start"]);
                world.settles(point, Declared::Deleted);
                world.rdd(&["svc", "delete"]);
            }
            world.instance.assert_no_leftovers();
            assert!(!world.instance.dir().exists(), "{point}");
            assert!(!world.instance.short_dir().exists(), "{point}");
        }
    }
}

#[test]
fn certificates_are_complete_after_a_kill_at_any_point() {
    let world = World::new();
    world.rdd(&["svc", "create"]);
    for point in points(Way::SvcStartWithoutCertificates) {
        let deaths = each_time(point, |armed| {
            let _ = fs::remove_dir_all(world.instance.dir().join("tls"));
            let died = !world.armed(armed, &["svc", "start"]).status.success();
            if died {
                world.rdd(&["svc", "start"]);
                world.kubectl(&["get", "namespaces"]);
                assert_eq!(world.temporaries(), Vec::<PathBuf>::new());
            }
            world.rdd(&["svc", "stop", "--wait"]);
            died
        });
        assert!(deaths >= 3, "{point}: {deaths} deaths");
    }
}

/// Each file that the start of a VM writes is complete or absent, and temporary files are removed.
#[test]
fn h24_interrupted_writes_of_a_start_lose_nothing() {
    let world = World::new();
    world.rdd(&["svc", "start"]);
    world.create(false);
    let deaths = each_time("file.written", |armed| {
        world.arm(armed);
        let start = ["limavm", "start", VM, "--wait=false"];
        // The daemon may die while it answers.
        let answered = world.instance.rdd_within(&start, PATIENCE);
        let died = !answered.status.success() || world.dies_before_it_runs();
        world.recover();
        world.rdd(&start);
        world.settles(armed, Declared::Running);
        world.rdd(&["limavm", "stop", VM, "--wait"]);
        world.settles(armed, Declared::Stopped);
        died
    });
    assert!(deaths >= 3, "only {deaths} writes were interrupted");
}

/// Arms the point for its first pass, its second, and so on, until no process dies of it; returns the number of deaths.
/// `died` gets the armed point and returns whether a process died.
fn each_time(point: &str, mut died: impl FnMut(&str) -> bool) -> u32 {
    /// More than any sequence passes a point.
    const MOST: u32 = 40;
    for count in 1..MOST {
        if !died(&format!("{point}:{count}")) {
            return count - 1;
        }
    }
    panic!("{point} is passed more than {MOST} times");
}
