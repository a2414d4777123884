//! Restarts of the daemon, and unusual stops; `tests/vm/service_stop.rs` tests the same with VMs.

use std::fs;

#[cfg(unix)]
use process::Signal;
use testutils::poll;

use crate::said::{SOON, daemons, instance, pid, said, stderr};

/// Rewrites `ready.json` as another version of the daemon would have written it.
fn become_another_version(instance: &testutils::Instance, version: &str, protocol: u32) {
    let file = instance.dir().join("ready.json");
    let mut ready: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    ready["version"] = version.into();
    ready["protocol"] = protocol.into();
    fs::write(&file, ready.to_string()).unwrap();
}

#[test]
fn restart_replaces_a_running_daemon_and_starts_a_stopped_one() {
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
fn killed_restart_is_completed_by_the_next_command() {
    let mut instance = instance();
    said(&instance, &["svc", "start"]);
    let first = pid(&instance);
    instance.env("RDD_CRASH_POINT", "svc.restart.after-stop");
    let output = instance.rdd(&["svc", "restart"]);
    assert!(!output.status.success(), "it was to die");
    instance.env("RDD_CRASH_POINT", "");
    // The kernel released the start lock when the command died.
    assert_eq!(pid(&instance), 0);
    instance.rdd_ok(&["limavm", "list"]);
    assert!(pid(&instance) != first && pid(&instance) != 0);
}

/// Hazard 45: the request does not depend on the terminal in which the daemon runs.
#[test]
fn h45_foreground_daemon_keeps_its_vms_when_a_request_from_another_terminal_says_so() {
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

/// Hazard 44: a stopped (SIGSTOP) daemon.
#[cfg(unix)] // Windows cannot freeze a process.
#[test]
fn h44_hanging_daemon_is_reported_with_the_way_out_that_keeps_the_vms() {
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
    // The request that was not answered had no effect.
    instance.rdd_ok(&["limavm", "list"]);
    assert_eq!(pid(&instance), number);
}

/// Even with `--wait=false` the daemon must acknowledge the stop, so that the next command does not use it.
#[cfg(unix)] // Windows cannot freeze a process.
#[test]
fn h44_unacknowledged_stop_fails_even_with_wait_false() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let daemon = daemons(&instance).remove(0);
    daemon.process.signal(Signal::Stop).unwrap();
    let error = instance.rdd_fails(&["svc", "stop", "--wait=false", "--timeout=200ms"], 4);
    assert!(error.contains("context deadline exceeded"), "{error}");
    // Now the daemon acknowledges it.
    daemon.process.signal(Signal::Continue).unwrap();
    said(&instance, &["svc", "stop"]);
    assert_eq!(pid(&instance), 0);
}

#[test]
fn contradicting_flags_are_a_usage_error() {
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
fn incompatible_daemon_gives_exit_code_5_and_a_remedy() {
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
fn older_compatible_daemon_is_used_and_named() {
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
