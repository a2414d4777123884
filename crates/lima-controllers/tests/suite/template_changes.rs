//! Templates that change at a bad moment (hazard 25): the last one wins, with exactly one restart.

use api::LimaVM;
use api::lima::{RESTART_REQUESTED, condition as types, reason};
use controller_kit::Shutdown;
use serde_json::json;
use testutils::poll_async;

use crate::support::{GRACE, LONG, Plane, condition, holder, status};
use crate::templates::{change_template, lima_yaml};

/// Changes the template to this number of CPUs; returns its version.
async fn set_cpus(plane: &Plane, cpus: usize) -> String {
    let text = plane
        .template()
        .replace("cpus: 1", &format!("cpus: {cpus}"));
    change_template(plane, json!({ "data": { "template": text } })).await
}

fn in_effect(vm: &LimaVM, version: &str) -> bool {
    status(vm).observed_template_resource_version.as_deref() == Some(version)
}

/// Waits until the VM is up with this template; returns how often a hostagent was started for it.
async fn starts_until_settled(plane: &Plane, version: &str, cpus: usize) -> usize {
    let vm = plane
        .wait("vm", "up with the last template", |vm| {
            in_effect(vm, version)
                && condition(vm, types::RUNNING).status == "True"
                && !status(vm).restart_needed
        })
        .await;
    assert!(lima_yaml(plane).contains(&format!("cpus: {cpus}")));
    assert!(status(&vm).restart_count as usize <= plane.starts("vm"));
    plane.starts("vm")
}

/// The controller has seen the template of this version.
async fn wait_until_noticed(plane: &Plane) {
    plane
        .wait("vm", "in need of a restart", |vm| status(vm).restart_needed)
        .await;
}

#[tokio::test]
async fn h25_changed_template_restarts_a_running_vm_once_and_a_label_does_not() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    let version = change_template(
        &plane,
        json!({ "metadata": { "labels": { "some": "label" } } }),
    )
    .await;
    plane
        .wait("vm", "aware of the label", |vm| in_effect(vm, &version))
        .await;
    assert_eq!(plane.starts("vm"), 1);
    let version = set_cpus(&plane, 2).await;
    assert_eq!(starts_until_settled(&plane, &version, 2).await, 2);
    plane.end().await;
}

#[tokio::test]
async fn h25_changes_while_the_vm_starts_boots_or_stops_make_one_restart_with_the_last_one() {
    for state in ["unbound", "boots", "lingers"] {
        let plane = Plane::start().await;
        plane.create_stopped("vm").await;
        plane.make("vm", state);
        // The stop takes until all changes are written, so the next start is for all of them.
        plane.make("vm", "lingers");
        plane.set_running("vm", true).await;
        poll_async(LONG, "a hostagent", async || {
            holder(&plane, "vm").ok_or("the lock is free")
        })
        .await;
        if state == "lingers" {
            plane
                .wait_reason("vm", types::RUNNING, reason::STARTED)
                .await;
        }
        let mut version = set_cpus(&plane, 2).await;
        wait_until_noticed(&plane).await;
        for cpus in 3..5 {
            version = set_cpus(&plane, cpus).await;
        }
        plane.heal_all("vm");
        let starts = starts_until_settled(&plane, &version, 4).await;
        assert_eq!(starts, 2, "{state}");
        plane.end().await;
    }
}

#[tokio::test]
async fn h25_change_during_a_restart_is_part_of_it() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    plane.make("vm", "lingers");
    plane.annotate("vm", RESTART_REQUESTED, "now").await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STOPPING)
        .await;
    let version = set_cpus(&plane, 2).await;
    plane.heal("vm", "lingers");
    assert_eq!(starts_until_settled(&plane, &version, 2).await, 2);
    plane.end().await;
}

#[tokio::test]
async fn h25_change_while_the_vm_stops_is_written_and_starts_nothing() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    plane.make("vm", "lingers");
    plane.set_running("vm", false).await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STOPPING)
        .await;
    let version = set_cpus(&plane, 2).await;
    plane.heal("vm", "lingers");
    plane
        .wait("vm", "stopped with the new template", |vm| {
            in_effect(vm, &version) && condition(vm, types::RUNNING).reason == reason::STOPPED
        })
        .await;
    assert!(lima_yaml(&plane).contains("cpus: 2"));
    assert_eq!(plane.starts("vm"), 1);
    plane.set_running("vm", true).await;
    assert_eq!(starts_until_settled(&plane, &version, 2).await, 2);
    plane.end().await;
}

#[tokio::test]
async fn h25_change_while_the_control_plane_stops_is_left_to_the_next_one() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    plane.make("vm", "lingers");
    let (config_maps, vms) = (plane.config_maps(), plane.vms());
    let text = plane.template().replace("cpus: 1", "cpus: 2");
    let dir = plane.dir("vm");
    let change = async {
        poll_async(LONG, "the VM to be stopped", async || {
            let vm = vms.get("vm").await.unwrap();
            match &condition(&vm, types::RUNNING).reason {
                stopping if stopping == reason::STOPPING => Ok(()),
                other => Err(other.clone()),
            }
        })
        .await;
        let patch = kube::api::Patch::Merge(json!({ "data": { "template": text } }));
        let changed = config_maps
            .patch("vm-template", &Default::default(), &patch)
            .await
            .unwrap();
        std::fs::remove_file(dir.join("lingers")).unwrap();
        changed.metadata.resource_version.unwrap()
    };
    let ((), version) = tokio::join!(plane.stop(Shutdown::StopWorkloads { grace: GRACE }), change);
    assert_eq!(holder(&plane, "vm"), None);
    plane.start_controllers().await;
    assert_eq!(starts_until_settled(&plane, &version, 2).await, 2);
    plane.end().await;
}
