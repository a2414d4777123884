//! Stops that are ignored, shortened, or come at a bad moment.

use std::time::Duration;

use api::lima::{RESTART_REQUESTED, STOP_GRACE_PERIOD, condition as types, reason};
use futures::future::join_all;
use kube::ResourceExt;
use serde_json::json;
use testutils::poll_async;

use crate::support::{LONG, Plane, condition, holder, status};

/// Longer than any test waits: a VM that stops within a test has not waited for the grace period.
const FOR_EVER: &str = "1h";

async fn wait_until_none_is_alive(plane: &Plane, vm: &str, limit: Duration) {
    poll_async(
        limit,
        &format!("no process of {vm} to be alive"),
        async || match holder(plane, vm) {
            None => Ok(()),
            Some(identity) => Err(format!("{identity:?}")),
        },
    )
    .await;
}

#[tokio::test]
async fn h17_vm_that_ignores_everything_is_gone_after_its_grace_in_every_state() {
    let plane = Plane::start().await;
    let states = ["deaf", "lingers", "boots", "unbound", "mute"];
    join_all(states.map(|state| plane.create_hanging(state, state))).await;
    for state in states {
        plane.make(state, "deaf");
        plane
            .patch(
                state,
                json!({
                    "metadata": { "annotations": { STOP_GRACE_PERIOD: "0s" } },
                    "spec": { "running": false },
                }),
            )
            .await;
    }
    // Without the grace period, a hostagent that hangs would be given longer than this.
    let limit = Duration::from_secs(17);
    join_all(states.map(|state| wait_until_none_is_alive(&plane, state, limit))).await;
    for state in states {
        plane
            .wait_reason(state, types::RUNNING, reason::STOPPED)
            .await;
    }
    plane.end().await;
}

#[tokio::test]
async fn h17_shorter_grace_takes_effect_at_once_and_for_one_stop_only() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    plane
        .patch(
            "vm",
            json!({ "spec": { "stop": { "gracePeriod": FOR_EVER } } }),
        )
        .await;
    plane.make("vm", "lingers");
    plane.set_running("vm", false).await;
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STOPPING)
        .await;
    assert_eq!(condition(&vm, types::RUNNING).status, "Unknown");
    plane.annotate("vm", STOP_GRACE_PERIOD, "0s").await;
    let vm = plane
        .wait("vm", "stopped, and the annotation removed", |vm| {
            condition(vm, types::RUNNING).reason == reason::STOPPED
                && !vm.annotations().contains_key(STOP_GRACE_PERIOD)
        })
        .await;
    assert_eq!(holder(&plane, "vm"), None);
    assert_eq!(
        vm.spec.stop.unwrap().grace_period.as_deref(),
        Some(FOR_EVER),
        "the next stop has its own grace"
    );
    let phases = &vm.status.unwrap().phases;
    assert_eq!(
        phases.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        ["creating", "booting", "stopping"]
    );
    assert!(phases.iter().all(|phase| phase.duration.is_some()));
    plane.end().await;
}

#[tokio::test]
async fn h26_stop_restart_and_delete_do_not_wait_for_the_boot() {
    let plane = Plane::start().await;
    let names = ["stopped", "restarted", "deleted"];
    for name in names {
        plane.create_stopped(name).await;
        plane.make(name, "boots");
        plane.set_running(name, true).await;
    }
    for name in names {
        plane
            .wait(name, "booting", |vm| {
                vm.condition(types::RUNNING)
                    .is_some_and(|running| running.message.contains("booting"))
            })
            .await;
    }
    plane.set_running("stopped", false).await;
    plane.annotate("restarted", RESTART_REQUESTED, "now").await;
    plane.delete("deleted").await;
    plane
        .wait_reason("stopped", types::RUNNING, reason::STOPPED)
        .await;
    poll_async(LONG, "the restart", async || {
        match plane.starts("restarted") {
            2 => Ok(()),
            starts => Err(format!("{starts} starts")),
        }
    })
    .await;
    plane.wait_gone("deleted").await;
    // None of them was up, and none is.
    assert_eq!(plane.starts("stopped"), 1);
    for name in ["stopped", "restarted"] {
        assert_eq!(status(&plane.get(name).await).restart_count, 0);
    }
    plane.end().await;
}
