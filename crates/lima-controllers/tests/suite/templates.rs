//! Templates: copied, changed, invalid.

use api::lima::{
    OWNED_FINALIZER, RESET_REQUESTED, TEMPLATE_COPY, TEMPLATE_LABEL, condition as types, reason,
};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::{Plane, condition, status, vm};

pub(crate) async fn change_template(plane: &Plane, patch: Value) -> String {
    let api = plane.config_maps();
    let changed = api
        .patch("vm-template", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    changed.resource_version().unwrap()
}

pub(crate) fn lima_yaml(plane: &Plane) -> String {
    std::fs::read_to_string(plane.dir("vm").join("lima.yaml")).unwrap()
}

#[tokio::test]
async fn template_copy_is_owned_by_the_vm_and_outlives_its_original() {
    let plane = Plane::start().await;
    plane.create("vm", false).await;
    let vm = plane
        .wait_reason("vm", types::CREATED, reason::CREATED)
        .await;
    let copy = plane.config_maps().get("vm-template").await.unwrap();
    assert_eq!(
        copy.labels().get(TEMPLATE_LABEL).map(String::as_str),
        Some("true")
    );
    assert_eq!(copy.finalizers(), [OWNED_FINALIZER]);
    let owner = &copy.owner_references()[0];
    assert_eq!(
        (Some(&owner.uid), owner.controller),
        (vm.metadata.uid.as_ref(), Some(true))
    );
    assert_eq!(copy.data.unwrap()["template"], plane.template());
    plane
        .config_maps()
        .delete("source", &DeleteParams::default())
        .await
        .unwrap();
    plane.set_running("vm", true).await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    plane.end().await;
}

#[tokio::test]
async fn vm_with_the_template_annotation_needs_no_original() {
    let plane = Plane::start().await;
    let mut new = vm("vm", false);
    new.metadata.annotations = Some([(TEMPLATE_COPY.to_owned(), plane.template())].into());
    plane
        .vms()
        .create(&PostParams::default(), &new)
        .await
        .unwrap();
    let vm = plane
        .wait_reason("vm", types::CREATED, reason::CREATED)
        .await;
    assert!(!vm.annotations().contains_key(TEMPLATE_COPY));
    plane.end().await;
}

#[tokio::test]
async fn changed_template_of_a_stopped_vm_is_written() {
    let plane = Plane::start().await;
    plane.create("vm", false).await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STOPPED)
        .await;
    let text = plane.template().replace("cpus: 1", "cpus: 2");
    let version = change_template(&plane, json!({ "data": { "template": text } })).await;
    plane
        .wait("vm", "updated", |vm| {
            status(vm).observed_template_resource_version.as_ref() == Some(&version)
        })
        .await;
    assert!(lima_yaml(&plane).contains("cpus: 2"));
    assert_eq!(plane.starts("vm"), 0);
    plane.end().await;
}

#[tokio::test]
async fn missing_image_is_reported_and_the_vm_created_once_it_exists() {
    let plane = Plane::start().await;
    let image = plane.folder.path().join("later.raw");
    let template = plane.template().replace("image.raw", "later.raw");
    plane.put_template("source", &template).await;
    plane.create("vm", true).await;
    let vm = plane
        .wait_reason("vm", types::CREATED, reason::CREATE_FAILED)
        .await;
    let created = condition(&vm, types::CREATED);
    assert_eq!(created.status, "False");
    assert!(created.message.contains("later.raw"), "{}", created.message);
    assert!(!plane.dir("vm").exists(), "no incomplete folder");
    std::fs::copy(plane.folder.path().join("image.raw"), image).unwrap();
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    plane.end().await;
}

#[tokio::test]
async fn vm_without_template_waits_for_it() {
    let plane = Plane::start().await;
    plane
        .vms()
        .create(&PostParams::default(), &vm("vm", false))
        .await
        .unwrap();
    let refused = plane
        .wait_reason("vm", types::CREATED, reason::CREATE_FAILED)
        .await;
    assert!(
        condition(&refused, types::CREATED)
            .message
            .contains("default/source does not exist")
    );
    plane.put_template("source", &plane.template()).await;
    plane
        .wait_reason("vm", types::CREATED, reason::CREATED)
        .await;
    plane.end().await;
}

#[tokio::test]
async fn reset_creates_the_files_again() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    let mark = plane.dir("vm").join("written-by-the-old-vm");
    std::fs::write(&mark, "").unwrap();
    plane
        .patch(
            "vm",
            json!({ "metadata": { "annotations": { RESET_REQUESTED: "" } } }),
        )
        .await;
    let vm = plane
        .wait("vm", "up again", |vm| {
            status(vm).restart_count == 2 && condition(vm, types::RUNNING).status == "True"
        })
        .await;
    assert!(!mark.exists());
    assert!(!vm.annotations().contains_key(RESET_REQUESTED) && !status(&vm).reset_needed);
    plane.end().await;
}
