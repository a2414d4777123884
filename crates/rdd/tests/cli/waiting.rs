//! A command that waits while the control plane is replaced. No controller runs, so only the test changes the
//! VM.

use std::thread;

use testutils::{Instance, poll};

use crate::api::kubectl;
use crate::limavm::template;
use crate::said::{SOON, instance, kill_daemon, messages, said, stderr};

/// An instance without controllers, with a VM.
fn with_a_vm() -> Instance {
    let instance = instance();
    said(&instance, &["svc", "create", "--controllers="]);
    let template = template(&instance);
    said(
        &instance,
        &["limavm", "create", "web", &template, "--wait=false"],
    );
    instance
}

fn until_declared(instance: &Instance, running: &str) {
    poll(SOON, "the wish to be written", || {
        match declared(instance, "{.spec.running}") {
            seen if seen == running => Ok(()),
            seen => Err(seen),
        }
    });
}

fn declared(instance: &Instance, path: &str) -> String {
    let path = format!("jsonpath={path}");
    kubectl(instance, &["get", "limavm", "web", "-o", &path], "")
}

fn set_running(instance: &Instance, status: &str, reason: &str) {
    let condition = |kind: &str, status: &str, reason: &str| {
        serde_json::json!({ "type": kind, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" })
    };
    let patch = serde_json::json!({ "status": { "conditions": [
        condition("Created", "True", "Created"), condition("Running", status, reason),
    ] } });
    let patch = patch.to_string();
    let args = ["patch", "limavm", "web", "--subresource=status"];
    kubectl(
        instance,
        &[&args[..], &["--type=merge", "-p", &patch]].concat(),
        "",
    );
}

#[test]
fn wait_continues_with_the_next_control_plane() {
    let instance = with_a_vm();
    thread::scope(|scope| {
        let waiting =
            scope.spawn(|| instance.rdd(&["limavm", "start", "web", "--wait", "--timeout=120s"]));
        until_declared(&instance, "true");
        kill_daemon(&instance);
        // At another port.
        let port = testutils::Port::reserve();
        let number = port.number().to_string();
        said(&instance, &["svc", "start", "--secure-port", &number]);
        said(&instance, &["svc", "restart"]);
        set_running(&instance, "True", "Started");
        let output = waiting.join().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let said = messages(&stderr(&output));
        assert_eq!(said.last().unwrap(), "LimaVM \"web\" has started");
    });
}

#[test]
fn wait_for_a_stopped_control_plane_ends_at_its_deadline() {
    let instance = with_a_vm();
    thread::scope(|scope| {
        let waiting =
            scope.spawn(|| instance.rdd(&["limavm", "start", "web", "--wait", "--timeout=3s"]));
        until_declared(&instance, "true");
        kill_daemon(&instance);
        let output = waiting.join().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("does not answer") && stderr(&output).contains("svc start"),
            "{}",
            stderr(&output)
        );
    });
}

#[test]
fn interrupted_wait_reports_that_the_request_still_applies() {
    let instance = with_a_vm();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| instance.rdd(&["limavm", "start", "web"]));
        until_declared(&instance, "true");
        let command = poll(SOON, "the command", || {
            let all = instance.leftovers();
            let found = all
                .into_iter()
                .find(|one| one.command.contains("limavm start"));
            found.ok_or("not yet")
        });
        command.process.signal(process::Signal::Interrupt).unwrap();
        let output = waiting.join().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        let error = stderr(&output);
        for part in [
            "interrupted",
            "rdd limavm describe web",
            "rdd limavm stop web",
        ] {
            assert!(error.contains(part), "{error}");
        }
    });
    assert_eq!(declared(&instance, "{.spec.running}"), "true");
}

#[test]
fn wait_for_a_new_vm_that_times_out_names_what_it_waited_for() {
    let instance = instance();
    said(&instance, &["svc", "start", "--controllers="]);
    let template = template(&instance);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            instance.rdd(&[
                "limavm",
                "create",
                "web",
                &template,
                "--start",
                "--timeout=3s",
            ])
        });
        poll(SOON, "the VM", || {
            let wished = ["get", "limavms", "-o", "jsonpath={.items[*].spec.running}"];
            match kubectl(&instance, &wished, "") {
                seen if seen == "true" => Ok(()),
                seen => Err(seen),
            }
        });
        kill_daemon(&instance);
        let output = waiting.join().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        let error = stderr(&output);
        assert!(
            error.contains("waiting for LimaVM \\\"web\\\" to be started"),
            "{error}"
        );
    });
}

#[test]
fn grace_period_is_in_the_same_change_as_the_request() {
    let instance = with_a_vm();
    let grace = r"{.metadata.annotations.lima\.rancherdesktop\.io/stopGracePeriod}";
    for (command, flag, expected) in [
        ("stop", "--grace-period=1500ms", "1500ms"),
        ("restart", "--force", "0s"),
        ("stop", "--grace-period=0", "0s"),
        ("stop", "--grace-period=2m", "120s"),
        ("delete", "--force", "0s"),
    ] {
        said(&instance, &["limavm", command, "web", flag, "--wait=false"]);
        assert_eq!(declared(&instance, grace), expected, "{command} {flag}");
        assert_eq!(
            declared(&instance, "{.spec.running}"),
            (command == "restart").to_string(),
            "{command}"
        );
    }
    assert_ne!(declared(&instance, "{.metadata.deletionTimestamp}"), "");
    let list = instance.rdd_ok(&["limavm", "list"]);
    assert!(list.contains("Deleting"), "{list}");
}

#[test]
fn list_shows_pending_requests() {
    let instance = with_a_vm();
    let listed = |expected: &str| {
        let list = instance.rdd_ok(&["limavm", "list"]);
        let row: Vec<_> = list.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[2], expected, "{list}");
    };
    said(&instance, &["limavm", "start", "web", "--wait=false"]);
    set_running(&instance, "True", "Started");
    listed("Started");
    said(&instance, &["limavm", "restart", "web", "--wait=false"]);
    listed("Restarting");
    said(&instance, &["limavm", "stop", "web", "--wait=false"]);
    listed("Stopping");
}

#[test]
fn failing_deletion_names_the_way_out_and_does_not_take_it() {
    let instance = with_a_vm();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| instance.rdd(&["limavm", "delete", "web", "--force"]));
        poll(SOON, "the deletion", || {
            match declared(&instance, "{.metadata.deletionTimestamp}") {
                time if time.is_empty() => Err("none"),
                _ => Ok(()),
            }
        });
        let patch = r#"{"status":{"conditions":[{"type":"Deleting","status":"True","reason":"DeleteFailed","message":"cannot remove it","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
        let args = ["patch", "limavm", "web", "--subresource=status"];
        kubectl(
            &instance,
            &[&args[..], &["--type=merge", "-p", patch]].concat(),
            "",
        );
        let output = waiting.join().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = stderr(&output);
        assert!(
            error.contains("cannot remove it")
                && error.contains("lima.rancherdesktop.io/force-delete=true"),
            "{error}"
        );
    });
    let forced = declared(
        &instance,
        r"{.metadata.annotations.lima\.rancherdesktop\.io/force-delete}",
    );
    assert_eq!(forced, "");
}
