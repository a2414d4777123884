//! `rdd limavm describe`, and kubectl's. `tests/vm/service_stop.rs` describes a VM that ran.

use testutils::poll;

use crate::api::kubectl;
use crate::limavm::template;
use crate::said::{SOON, instance, said};

#[test]
fn vm_is_described_with_its_events() {
    let instance = instance();
    let template = template(&instance);
    said(&instance, &["limavm", "create", "web", &template]);
    // Events are written in the background.
    let shown = poll(SOON, "the event to be shown", || {
        let shown = instance.rdd_ok(&["limavm", "describe", "web"]);
        match shown.split_once("Events:") {
            Some((_, events)) if events.contains("Created") => Ok(shown),
            _ => Err(shown),
        }
    });
    for part in [
        "State:              Stopped",
        "Declared:           stopped",
        "ConfigMap web-template (version",
        "Hostagent:          <none>",
        "lima/web",
        "Running   False    Stopped",
        "limavm-controller",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // kubectl finds the same events by the object's uid.
    let kubectl = kubectl(&instance, &["describe", "limavm", "web"], "");
    let (_, events) = kubectl.split_once("Events:").unwrap();
    assert!(events.contains("limavm-controller"), "{kubectl}");

    let error = instance.rdd_fails(&["limavm", "describe", "absent"], 1);
    assert!(error.contains("not found in any namespace"), "{error}");
}

#[test]
fn events_of_an_earlier_vm_of_the_same_name_are_not_shown() {
    let instance = instance();
    said(&instance, &["svc", "create", "--controllers="]);
    let template = template(&instance);
    said(
        &instance,
        &["limavm", "create", "web", &template, "--wait=false"],
    );
    let uid = kubectl(
        &instance,
        &["get", "limavm", "web", "-o", "jsonpath={.metadata.uid}"],
        "",
    );
    for (name, uid, message) in [
        ("a", uid.as_str(), "of this one"),
        ("b", "other", "of another"),
    ] {
        let event = serde_json::json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "namespace": "default" },
            "involvedObject": { "apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM", "name": "web",
                "namespace": "default", "uid": uid },
            "type": "Warning", "reason": "Test", "message": message, "count": 3,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
        });
        kubectl(&instance, &["create", "-f", "-"], &event.to_string());
    }
    let shown = instance.rdd_ok(&["limavm", "describe", "web"]);
    assert!(
        shown.contains("of this one")
            && shown.contains("(x3 over")
            && !shown.contains("of another"),
        "{shown}"
    );
}
