//! Objects with fields that do not fit their type (hazard 49), and values beyond the range of a clock.

use api::lima::{condition as types, reason};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::discovery::ApiResource;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::{Plane, condition, vm};

/// A VM that an API server with a looser schema stored.
async fn store(plane: &Plane, name: &str, change: Value, status: Value) {
    let resource = ApiResource::erase::<api::LimaVM>(&());
    let api: Api<DynamicObject> = Api::default_namespaced_with(plane.client.clone(), &resource);
    let mut object = serde_json::to_value(vm(name, false)).unwrap();
    json_patch::merge(&mut object, &change);
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    let patch = Patch::Merge(json!({ "status": status }));
    let params = PatchParams::default();
    api.patch_status(name, &params, &patch).await.unwrap();
}

#[tokio::test]
async fn h49_unreadable_status_is_reported_and_written_anew_and_other_vms_start() {
    let mut plane = Plane::with_loose_schema().await;
    plane.put_template("source", &plane.template()).await;
    let status = json!({ "restartCount": 2_147_483_648_u64, "sshLocalPort": -1, "phases": "none" });
    store(&plane, "bad", json!({}), status).await;
    store(&plane, "float", json!({}), json!({ "restartCount": 3.0 })).await;
    plane.start_controllers().await;
    plane.create_up("good").await;
    let events = plane.wait_events("bad", &["Undecodable"]).await;
    let message = events
        .iter()
        .find(|event| event.reason.as_deref() == Some("Undecodable"))
        .and_then(|event| event.message.clone())
        .unwrap();
    for field in [
        "status.restartCount",
        "status.sshLocalPort",
        "status.phases",
    ] {
        assert!(message.contains(field), "{message}");
    }
    plane
        .wait_reason("bad", types::RUNNING, reason::STOPPED)
        .await;
    plane.set_running("bad", true).await;
    plane
        .wait_reason("bad", types::RUNNING, reason::STARTED)
        .await;
    // Readers that know the type only can list all VMs again.
    let all = plane.vms().list(&ListParams::default()).await.unwrap();
    assert_eq!(all.items.len(), 3);
    let float = plane
        .wait_reason("float", types::RUNNING, reason::STOPPED)
        .await;
    assert_eq!(crate::support::status(&float).restart_count, 3);
    plane.end().await;
}

#[tokio::test]
async fn h49_vm_with_an_unreadable_spec_is_left_as_it_is_and_can_be_deleted() {
    let mut plane = Plane::with_loose_schema().await;
    plane.put_template("source", &plane.template()).await;
    plane.start_controllers().await;
    plane.create_up("vm").await;
    plane.crash().await;
    let resource = ApiResource::erase::<api::LimaVM>(&());
    let api: Api<DynamicObject> = Api::default_namespaced_with(plane.client.clone(), &resource);
    plane.loosen_schema().await;
    let patch = Patch::Merge(json!({ "spec": { "running": "yes" } }));
    api.patch("vm", &PatchParams::default(), &patch)
        .await
        .unwrap();
    plane.start_controllers().await;
    let events = plane.wait_events("vm", &["Undecodable"]).await;
    let names_the_field = events.iter().any(|event| {
        let message = event.message.as_deref().unwrap_or_default();
        message.contains("spec.running")
    });
    assert!(names_the_field, "{events:?}");
    plane.create_up("other").await;
    assert_eq!(plane.starts("vm"), 1);
    assert!(crate::support::holder(&plane, "vm").is_some(), "it runs on");
    api.delete("vm", &Default::default()).await.unwrap();
    testutils::poll_async(crate::support::LONG, "the end of vm", async || {
        match api.get_opt("vm").await.unwrap() {
            None => Ok(()),
            Some(vm) => Err(format!("{:?}", vm.finalizers())),
        }
    })
    .await;
    assert!(!plane.dir("vm").exists());
    plane.end().await;
}

#[tokio::test]
async fn h52_grace_period_beyond_the_range_of_a_clock_harms_no_actor() {
    let plane = Plane::start().await;
    plane.put_template("source", &plane.template()).await;
    let mut long = vm("vm", true);
    long.spec.stop = Some(api::lima::StopSpec {
        grace_period: Some("99999999999999999999999s".into()),
    });
    plane
        .vms()
        .create(&PostParams::default(), &long)
        .await
        .unwrap();
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    plane.set_running("vm", false).await;
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STOPPED)
        .await;
    assert_eq!(condition(&vm, types::RUNNING).status, "False");
    plane.end().await;
}
