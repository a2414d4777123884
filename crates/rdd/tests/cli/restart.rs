//! The daemon is replaced, or stopped in other ways than the usual one; `tests/vm/service_stop.rs` has the VMs' side.

use std::fs;

#[cfg(unix)]
use process::Signal;
use testutils::poll;

use crate::said::{SOON, daemons, instance, pid, said, stderr};

/// What the daemon says of itself, changed: as another version of it would have written it.
fn become_another_version(instance: &testutils::Instance, version: &str, protocol: u32) {
    let file = instance.dir().join("ready.json");
    let mut ready: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    ready["version"] = version.into();
    ready["protocol"] = protocol.into();
    fs::write(&file, ready.to_string()).unwrap();
}

#[test]
fn a_restart_replaces_the_daemon_and_starts_one_that_is_stopped() {
    let instance = instance();
    let plane = |what: &str| {
        format!(
            "\"rancher-desktop-{}\" control plane {what}",
            instance.name()
        )
    };
    let messages = said(&instance, &["svc", "restart"]);
    assert_eq!(messages.last().unwrap(), &plane("is ready"));
    let first = pid(&instance);
    let messages = said(&instance, &["svc", "restart"]);
    assert_eq!(messages[0], plane("has stopped, its VMs go on running"));
    assert_eq!(messages.last().unwrap(), &plane("is ready"));
    assert_ne!(pid(&instance), first);
    assert_eq!(daemons(&instance).len(), 1);
    let messages = said(&instance, &["svc", "stop", "--keep-vms"]);
    assert_eq!(messages, [plane("has stopped, its VMs go on running")]);
    let messages = said(&instance, &["svc", "stop", "--keep-vms"]);
    assert_eq!(messages, [plane("is already stopped")]);
    instance.assert_no_leftovers();
}

#[test]
fn a_restart_that_was_killed_half_way_is_completed_by_the_next_command() {
    let mut instance = instance();
    said(&instance, &["svc", "start"]);
    let first = pid(&instance);
    instance.env("RDD_CRASH_POINT", "svc.restart.after-stop");
    let output = instance.rdd(&["svc", "restart"]);
    assert!(!output.status.success(), "it was to die");
    instance.env("RDD_CRASH_POINT", "");
    // The lock of who starts the daemon died with the command.
    assert_eq!(pid(&instance), 0);
    instance.rdd_ok(&["limavm", "list"]);
    assert!(pid(&instance) != first && pid(&instance) != 0);
}

/// Hazard 45: no part of it is the terminal that the daemon was started from.
#[test]
fn h45_a_daemon_in_the_foreground_keeps_its_vms_when_it_is_told_from_elsewhere() {
    let instance = instance();
    std::thread::scope(|scope| {
        let serve = scope.spawn(|| instance.rdd(&["svc", "serve", "--log-level=info"]));
        poll(SOON, "the daemon in the foreground", || {
            match instance.dir().join("ready.json").exists() {
                true => Ok(()),
                false => Err("not ready"),
            }
        });
        said(&instance, &["svc", "stop", "--keep-vms"]);
        let output = serve.join().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains("Keep"), "{}", stderr(&output));
    });
}

/// Hazard 44: a daemon that does nothing any more.
#[cfg(unix)] // Windows can freeze nobody.
#[test]
fn h44_a_daemon_that_hangs_is_told_with_the_way_that_keeps_the_vms() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let daemon = daemons(&instance).remove(0);
    let number = pid(&instance);
    daemon.process.signal(Signal::Stop).unwrap();
    for command in [
        ["svc", "stop", "--keep-vms", "--timeout=200ms"].as_slice(),
        &["svc", "stop", "--force", "--timeout=200ms"],
        &["svc", "restart", "--timeout=200ms"],
    ] {
        let error = instance.rdd_fails(command, 4);
        assert!(
            error.contains("context deadline exceeded")
                && error.contains(&format!("kill -KILL {number}")),
            "{error}"
        );
    }
    daemon.process.signal(Signal::Continue).unwrap();
    // What was not answered has not been done.
    instance.rdd_ok(&["limavm", "list"]);
    assert_eq!(pid(&instance), number);
}

/// A stop that nobody waits for is heard all the same: the next command finds a daemon that stops, not one that runs.
#[cfg(unix)] // Windows can freeze nobody.
#[test]
fn h44_a_stop_that_was_not_heard_is_no_success_also_when_nobody_waits_for_it() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let daemon = daemons(&instance).remove(0);
    daemon.process.signal(Signal::Stop).unwrap();
    let error = instance.rdd_fails(&["svc", "stop", "--wait=false", "--timeout=200ms"], 4);
    assert!(error.contains("context deadline exceeded"), "{error}");
    // It is heard now.
    daemon.process.signal(Signal::Continue).unwrap();
    said(&instance, &["svc", "stop"]);
    assert_eq!(pid(&instance), 0);
}

#[test]
fn what_contradicts_itself_is_a_usage_error() {
    let instance = instance();
    for args in [
        ["svc", "stop", "--keep-vms", "--force"].as_slice(),
        &["svc", "stop", "--keep-vms", "--grace-period=5s"],
        &["svc", "stop", "--force", "--grace-period=5s"],
        &["limavm", "stop", "web", "--force", "--grace-period=5s"],
        &["limavm", "delete", "web", "--grace-period=soon"],
    ] {
        instance.rdd_fails(args, 2);
    }
}

#[test]
fn an_incompatible_daemon_has_exit_code_5_and_a_remedy() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let first = pid(&instance);
    become_another_version(&instance, "v9.9.9", 99);
    for command in [
        ["svc", "status"].as_slice(),
        &["svc", "start"],
        &["svc", "config"],
        &["limavm", "list"],
    ] {
        let error = instance.rdd_fails(command, 5);
        assert!(
            error.contains("v9.9.9") && error.contains("rdd svc restart"),
            "{command:?}: {error}"
        );
    }
    said(&instance, &["svc", "restart"]);
    assert_ne!(pid(&instance), first);
    instance.rdd_ok(&["limavm", "list"]);
}

#[test]
fn an_older_daemon_that_is_compatible_is_used_and_named() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    become_another_version(&instance, "v0.0.1", 1);
    let messages = said(&instance, &["svc", "start"]);
    assert!(
        messages
            .iter()
            .any(|message| message.contains("is still v0.0.1")
                && message.contains("rdd svc restart")),
        "{messages:?}"
    );
    instance.rdd_ok(&["limavm", "list"]);
}
