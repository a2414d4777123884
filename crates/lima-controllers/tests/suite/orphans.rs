//! Folders whose object is gone (hazard 48).

use api::LimaVM;
use api::lima::{ADOPT, condition as types, reason};
use kube::ResourceExt;
use lima_controllers::adopt;
use serde_json::json;

use crate::support::{Plane, condition, holder};

#[tokio::test]
async fn h48_running_vm_is_adopted_from_its_folder_after_the_database_was_lost() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    let record = plane.dir("vm").join("owner.json");
    testutils::poll_async(crate::support::LONG, "the record", async || {
        let text = std::fs::read_to_string(&record).unwrap_or_default();
        match text.contains("\"running\": true") {
            true => Ok(()),
            false => Err(text),
        }
    })
    .await;
    let (before, starts) = (holder(&plane, "vm"), plane.starts("vm"));
    plane.crash().await;
    plane.lose_database().await;
    plane.start_controllers().await;
    let vm = plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    assert!(vm.spec.running);
    assert_eq!(condition(&vm, types::CREATED).reason, reason::CREATED);
    assert!(before.is_some());
    assert_eq!(holder(&plane, "vm"), before, "its guest was not touched");
    assert_eq!(plane.starts("vm"), starts);
    let events = plane.wait_events("vm", &["Adopted"]).await;
    let message = events.iter().find_map(|event| {
        let adopted = event.reason.as_deref() == Some("Adopted");
        event.message.clone().filter(|_| adopted)
    });
    assert!(message.unwrap().contains("database"));
    plane
        .wait("vm", "without the annotation", |vm: &LimaVM| {
            !vm.annotations().contains_key(ADOPT)
        })
        .await;
    plane.delete("vm").await;
    plane.wait_gone("vm").await;
    assert!(!plane.dir("vm").exists());
    plane.end().await;
}

#[tokio::test]
async fn folder_whose_object_was_removed_on_purpose_is_listed_and_adopted_on_request() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    let before = holder(&plane, "vm");
    plane.crash().await;
    plane
        .patch("vm", json!({ "metadata": { "finalizers": null } }))
        .await;
    plane.delete("vm").await;
    plane.wait_gone("vm").await;
    let copy = plane.config_maps();
    let patch = kube::api::Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    let params = kube::api::PatchParams::default();
    let _ = copy.patch("vm-template", &params, &patch).await;
    let _ = copy.delete("vm-template", &Default::default()).await;
    plane.start_controllers().await;
    let orphans = adopt::orphans(&plane.lima_home(), |_| false).unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].record.as_ref().unwrap().namespace, "default");
    assert!(plane.vms().get_opt("vm").await.unwrap().is_none());
    adopt::adopt(&plane.client, &orphans[0], true)
        .await
        .unwrap();
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    assert_eq!(holder(&plane, "vm"), before);
    plane.end().await;
}

#[tokio::test]
async fn folder_without_a_record_is_adopted_with_its_template_and_not_restarted() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    let before = holder(&plane, "vm");
    plane.crash().await;
    std::fs::remove_file(plane.dir("vm").join("owner.json")).unwrap();
    plane.lose_database().await;
    plane.start_controllers().await;
    let orphans = adopt::orphans(&plane.lima_home(), |_| false).unwrap();
    assert!(orphans[0].record.is_none());
    adopt::adopt(&plane.client, &orphans[0], true)
        .await
        .unwrap();
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    assert_eq!(holder(&plane, "vm"), before);
    assert_eq!(plane.starts("vm"), 1);
    plane.end().await;
}
