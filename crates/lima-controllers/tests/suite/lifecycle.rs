//! Create, start, stop, restart, adopt, delete, without failures.

use std::time::Duration;

use api::lima::{CONTROLLER, RESTART_REQUESTED, condition as types, reason};
use api::rdd::CLEANUP_FINALIZER;
use controller_kit::Shutdown;
use controller_kit::discovery::{CONFIG_MAP, ManagerEntry, NAMESPACE, READY_ANNOTATION};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::support::{GRACE, Plane, condition, holder, status};

#[tokio::test]
async fn vm_is_created_started_stopped_and_deleted() {
    let plane = Plane::start().await;
    plane.create("vm", false).await;
    let vm = plane
        .wait_reason("vm", types::CREATED, reason::CREATED)
        .await;
    assert_eq!(condition(&vm, types::CREATED).status, "True");
    assert!(vm.finalizers().contains(&CLEANUP_FINALIZER.to_owned()));
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STOPPED)
        .await;
    assert_eq!(
        status(&vm).template_config_map.as_deref(),
        Some("vm-template")
    );
    let copy = plane.config_maps().get("vm-template").await.unwrap();
    assert_eq!(
        status(&vm).observed_template_resource_version,
        copy.resource_version()
    );
    assert!(plane.dir("vm").join("lima.yaml").is_file());
    assert_eq!(status(&vm).restart_count, 0);

    plane.set_running("vm", true).await;
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    assert_eq!(condition(&vm, types::RUNNING).status, "True");
    assert!(
        condition(&vm, types::RUNNING)
            .message
            .contains("127.0.0.1:60022")
    );
    assert_eq!((status(&vm).restart_count, plane.starts("vm")), (1, 1));

    plane.set_running("vm", false).await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STOPPED)
        .await;
    assert_eq!(holder(&plane, "vm"), None);

    plane.delete("vm").await;
    plane.wait_gone("vm").await;
    assert!(!plane.dir("vm").exists());
    assert!(
        plane
            .config_maps()
            .get_opt("vm-template")
            .await
            .unwrap()
            .is_none()
    );

    plane.end().await;
}

#[tokio::test]
async fn controllers_are_announced_in_discovery() {
    let plane = Plane::start().await;
    let api: Api<ConfigMap> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let map = api.get(CONFIG_MAP).await.unwrap();
    assert_eq!(
        map.annotations().get(READY_ANNOTATION).map(String::as_str),
        Some("true")
    );
    let entry: ManagerEntry = serde_json::from_str(&map.data.unwrap()["embedded"]).unwrap();
    assert_eq!(entry.enabled_controllers, Some(vec![CONTROLLER.to_owned()]));
    plane.end().await;
}

#[tokio::test]
async fn restart_happens_once_and_its_annotation_is_removed() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    plane.annotate("vm", RESTART_REQUESTED, "now").await;
    let vm = plane
        .wait("vm", "restarted", |vm| {
            status(vm).restart_count == 2 && condition(vm, types::RUNNING).status == "True"
        })
        .await;
    assert!(!vm.annotations().contains_key(RESTART_REQUESTED));
    assert!(!status(&vm).restart_needed);
    assert_eq!(plane.starts("vm"), 2);
    // For a VM that does not run, the request is removed and nothing else happens.
    plane.set_running("vm", false).await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STOPPED)
        .await;
    plane.annotate("vm", RESTART_REQUESTED, "again").await;
    plane
        .wait("vm", "without the request", |vm| {
            !vm.annotations().contains_key(RESTART_REQUESTED) && !status(vm).restart_needed
        })
        .await;
    assert_eq!(plane.starts("vm"), 2);
    plane.end().await;
}

#[tokio::test]
async fn h20_running_vm_is_adopted_by_the_next_controller() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    let before = holder(&plane, "vm").unwrap();
    plane.crash().await;
    plane.start_controllers().await;
    // Only the new controller can do this, so it shows that the controller has looked.
    plane
        .patch("vm", json!({ "spec": { "stop": { "gracePeriod": "3s" } } }))
        .await;
    let vm = plane
        .wait("vm", "seen by the new controller", |vm| {
            condition(vm, types::RUNNING).observed_generation == vm.metadata.generation
        })
        .await;
    assert_eq!(condition(&vm, types::RUNNING).reason, reason::STARTED);
    assert_eq!(status(&vm).restart_count, 1, "it was not started again");
    assert_eq!(holder(&plane, "vm"), Some(before));
    plane.end().await;
}

#[tokio::test]
async fn run_is_counted_by_the_first_controller_that_sees_it_up() {
    let mut plane = Plane::start().await;
    plane.create_hanging("vm", "boots").await;
    plane.crash().await;
    // The next controller sees a hostagent that does not answer. The VM was never up, whatever `Unknown` suggests.
    plane.make("vm", "mute");
    plane.start_controllers().await;
    plane
        .wait_reason("vm", types::RUNNING, reason::RECONCILING)
        .await;
    plane.crash().await;
    plane.heal_all("vm");
    plane.start_controllers().await;
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    assert_eq!((status(&vm).restart_count, plane.starts("vm")), (1, 1));
    let up_since = status(&vm).up_since;
    assert!(up_since.is_some());

    // The other way round: up, unobservable, and up as before.
    plane.make("vm", "mute");
    plane.crash().await;
    plane.start_controllers().await;
    plane
        .wait_reason("vm", types::RUNNING, reason::RECONCILING)
        .await;
    plane.crash().await;
    plane.heal_all("vm");
    plane.start_controllers().await;
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    assert_eq!((status(&vm).restart_count, plane.starts("vm")), (1, 1));
    assert_eq!(status(&vm).up_since, up_since);
    plane.set_running("vm", false).await;
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STOPPED)
        .await;
    assert_eq!(status(&vm).up_since, None);
    plane.end().await;
}

#[tokio::test]
async fn vm_that_ended_by_itself_is_started_again() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    plane.kill_hostagent("vm");
    plane
        .wait("vm", "up again", |vm| status(vm).restart_count == 2)
        .await;
    assert_eq!(plane.starts("vm"), 2);
    plane.end().await;
}

#[tokio::test]
async fn h27_status_of_an_idle_vm_is_not_written() {
    let mut plane = Plane::start().await;
    plane.create("vm", false).await;
    plane
        .wait("vm", "at rest", |vm| {
            status(vm).observed_template_resource_version.is_some()
                && vm
                    .condition(types::RUNNING)
                    .is_some_and(|running| running.reason == reason::STOPPED)
        })
        .await;
    let before = plane.get("vm").await.resource_version();
    // Each of these makes the actor look: a new controller, and a changed annotation of another program.
    plane.stop(Shutdown::StopWorkloads { grace: GRACE }).await;
    plane.start_controllers().await;
    assert_eq!(plane.get("vm").await.resource_version(), before);
    let mut changes = std::pin::pin!(watcher(plane.vms(), watcher::Config::default()));
    plane
        .patch(
            "vm",
            json!({ "metadata": { "annotations": { "another": "program" } } }),
        )
        .await;
    let mut versions = std::collections::BTreeSet::new();
    let quiet = Duration::from_millis(500);
    while let Ok(Some(event)) =
        tokio::time::timeout(quiet, futures::StreamExt::next(&mut changes)).await
    {
        if let watcher::Event::Apply(vm) | watcher::Event::InitApply(vm) = event.unwrap() {
            versions.insert(vm.resource_version());
        }
    }
    assert!(
        versions.len() <= 2,
        "only the change of this test was seen: {versions:?}"
    );
    assert_eq!(
        versions.last(),
        Some(&plane.get("vm").await.resource_version())
    );
    plane.end().await;
}

#[tokio::test]
async fn logs_of_a_deleted_vm_are_kept_on_request() {
    for keep in [true, false] {
        let mut plane = Plane::without_controllers().await;
        plane.keep_logs = keep;
        plane.start_controllers().await;
        plane.create_up("vm").await;
        std::fs::write(plane.dir("vm").join("serial.log"), "what the guest said").unwrap();
        plane.delete("vm").await;
        plane.wait_gone("vm").await;
        assert!(!plane.dir("vm").exists());
        let kept = std::fs::read_to_string(plane.kept_logs().join("vm.1/serial.log")).ok();
        assert_eq!(kept.as_deref(), keep.then_some("what the guest said"));
        plane.stop(Shutdown::KeepWorkloads).await;
    }
}
