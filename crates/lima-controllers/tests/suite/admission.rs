//! The rules of the webhooks, called as an API server calls them.

use api::LimaVM;
use api::lima::{STOP_GRACE_PERIOD, TEMPLATE_COPY, condition as types, reason};
use api::rdd::CLEANUP_FINALIZER;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, PostParams};
use kube::core::admission::{AdmissionRequest, AdmissionResponse};
use lima_controllers::admission::Admission;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{Plane, vm};

fn admission(plane: &Plane) -> Admission {
    Admission::new(plane.client.clone(), plane.lima_home())
}

fn request<T>(
    operation: &str,
    namespace: &str,
    old: Option<&T>,
    new: Option<&T>,
) -> AdmissionRequest<T>
where
    T: kube::Resource + Serialize + DeserializeOwned,
{
    serde_json::from_value(json!({
        "uid": "1", "kind": { "group": "", "version": "v1", "kind": "X" },
        "resource": { "group": "", "version": "v1", "resource": "xs" },
        "name": new.or(old).unwrap().meta().name, "namespace": namespace, "operation": operation, "userInfo": {},
        "object": new, "oldObject": old,
    }))
    .unwrap()
}

async fn create(admission: &Admission, namespace: &str, vm: &LimaVM) -> AdmissionResponse {
    admission
        .mutate_limavm(&request("CREATE", namespace, None, Some(vm)))
        .await
}

#[track_caller]
fn refused(response: &AdmissionResponse, parts: &[&str]) {
    assert!(!response.allowed, "allowed: {response:?}");
    let message = &response.result.message;
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[track_caller]
fn allowed(response: &AdmissionResponse) {
    assert!(response.allowed, "{}", response.result.message);
}

#[tokio::test]
async fn new_vm_gets_finalizer_and_template_and_nothing_else_is_written() {
    let plane = Plane::without_controllers().await;
    plane.put_template("source", &plane.template()).await;
    let response = create(&admission(&plane), "default", &vm("vm", true)).await;
    allowed(&response);
    let patch: Value = serde_json::from_slice(response.patch.as_ref().unwrap()).unwrap();
    assert_eq!(
        patch,
        json!([
            { "op": "add", "path": "/metadata/finalizers", "value": [CLEANUP_FINALIZER] },
            { "op": "add", "path": "/metadata/annotations", "value": { TEMPLATE_COPY: plane.template() } },
        ])
    );
    assert!(
        plane
            .config_maps()
            .get_opt("vm-template")
            .await
            .unwrap()
            .is_none(),
        "a refused create leaves nothing behind"
    );

    let mut with_more = vm("vm", true);
    with_more.metadata.finalizers = Some(vec!["x/y".into()]);
    with_more.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
    let response = create(&admission(&plane), "default", &with_more).await;
    let patch: Value = serde_json::from_slice(response.patch.as_ref().unwrap()).unwrap();
    assert_eq!(patch[0]["path"], "/metadata/finalizers/-");
    assert_eq!(
        patch[1]["path"],
        "/metadata/annotations/lima.rancherdesktop.io~1template"
    );
}

#[tokio::test]
async fn template_that_cannot_work_is_refused_with_the_field() {
    let plane = Plane::without_controllers().await;
    let cases = [
        (
            "empty",
            json!({ "template": "" }),
            "\"template\" data cannot be empty",
        ),
        (
            "none",
            json!({ "other": "x" }),
            "template ConfigMap must have a \"template\" data entry",
        ),
        (
            "syntax",
            json!({ "template": "images: [" }),
            "failed to parse template",
        ),
        ("field", json!({ "template": "imagse: []" }), "images: must"),
        ("value", json!({ "template": "cpus: 0\n" }), "cpus: must be"),
    ];
    let admission = admission(&plane);
    for (name, data, expected) in cases {
        let map: ConfigMap =
            serde_json::from_value(json!({ "metadata": { "name": name }, "data": data })).unwrap();
        plane
            .config_maps()
            .create(&PostParams::default(), &map)
            .await
            .unwrap();
        let mut new = vm("vm", false);
        new.spec.template_ref.name = name.into();
        refused(&create(&admission, "default", &new).await, &[expected]);
        // As a template ConfigMap it is refused as well; any other ConfigMap is accepted.
        let mut labelled = map.clone();
        allowed(
            &admission
                .validate_template_config_map(&request("CREATE", "default", None, Some(&map)))
                .await,
        );
        labelled.metadata.labels =
            Some([(api::lima::TEMPLATE_LABEL.to_owned(), "true".to_owned())].into());
        let request = request("CREATE", "default", None, Some(&labelled));
        refused(
            &admission.validate_template_config_map(&request).await,
            &[expected],
        );
    }
    refused(
        &create(&admission, "default", &vm("vm", false)).await,
        &["default/source", "does not exist"],
    );
}

#[tokio::test]
async fn name_in_use_or_invalid_is_refused() {
    let plane = Plane::without_controllers().await;
    plane.create("taken", false).await;
    let admission = admission(&plane);
    let elsewhere = |name: &str| {
        let mut new = vm(name, false);
        new.spec.template_ref.namespace = Some("default".into());
        new
    };
    let parts = [
        "\"taken\"",
        "already used in namespace \"default\"",
        "unique across all namespaces",
    ];
    refused(
        &create(&admission, "other", &elsewhere("taken")).await,
        &parts,
    );
    // The API server refuses this one itself, with AlreadyExists.
    allowed(&create(&admission, "default", &vm("taken", false)).await);
    refused(
        &create(&admission, "default", &vm("a--b", false)).await,
        &["a--b", "not valid"],
    );
    refused(
        &create(&admission, "default", &vm("vm.yaml", false)).await,
        &[".yaml"],
    );
    refused(
        &create(&admission, "default", &vm(&"n".repeat(70), false)).await,
        &["socket path", "shorter"],
    );
    plane.put_template("busy-template", "x").await;
    refused(
        &create(&admission, "default", &vm("busy", false)).await,
        &["default/busy-template", "already exists"],
    );

    // Two at once, neither of them stored yet; a dry run reserves no name.
    let mut dry = request("CREATE", "other", None, Some(&elsewhere("race")));
    dry.dry_run = true;
    allowed(&admission.mutate_limavm(&dry).await);
    allowed(&create(&admission, "default", &vm("race", false)).await);
    refused(
        &create(&admission, "other", &elsewhere("race")).await,
        &["already used in namespace \"default\""],
    );
}

#[tokio::test]
async fn parameters_must_fit_the_template() {
    let plane = Plane::start().await;
    let template = plane.template() + "provision:\n- script: 'echo {{.Param.word}}'\n";
    plane.put_template("source", &template).await;
    let admission = admission(&plane);
    refused(
        &create(&admission, "default", &vm("vm", false)).await,
        &["word"],
    );
    let mut new = vm("vm", false);
    new.spec.params = [("word".to_owned(), "hello".to_owned())].into();
    allowed(&create(&admission, "default", &new).await);
    plane
        .vms()
        .create(&PostParams::default(), &new)
        .await
        .unwrap();
    let old = plane
        .wait_reason("vm", types::CREATED, reason::CREATED)
        .await;
    let mut changed = old.clone();
    changed.spec.params.clear();
    refused(
        &admission
            .validate_limavm(&request("UPDATE", "default", Some(&old), Some(&changed)))
            .await,
        &["word"],
    );
    let mut running = old.clone();
    running.spec.running = true;
    allowed(
        &admission
            .validate_limavm(&request("UPDATE", "default", Some(&old), Some(&running)))
            .await,
    );
    plane.end().await;
}

#[tokio::test]
async fn template_copy_stays_valid_labelled_and_with_its_vm() {
    let plane = Plane::start().await;
    plane.create("vm", false).await;
    plane
        .wait_reason("vm", types::CREATED, reason::CREATED)
        .await;
    let admission = admission(&plane);
    let old = plane.config_maps().get("vm-template").await.unwrap();
    let update = async |new: &ConfigMap| {
        admission
            .validate_template_config_map(&request("UPDATE", "default", Some(&old), Some(new)))
            .await
    };
    let with_text = |text: &str| {
        let mut new = old.clone();
        new.data = Some([("template".to_owned(), text.to_owned())].into());
        new
    };
    allowed(&update(&with_text(&plane.template().replace("cpus: 1", "cpus: 2"))).await);
    refused(
        &update(&with_text("cpus: lots")).await,
        &["failed to parse template", "cpus"],
    );
    refused(&update(&with_text("")).await, &["cannot be empty"]);
    let mut unlabelled = old.clone();
    unlabelled.metadata.labels = None;
    refused(
        &update(&unlabelled).await,
        &["cannot remove", "resource is owned"],
    );

    let delete = async || {
        admission
            .validate_template_config_map(&request("DELETE", "default", Some(&old), None))
            .await
    };
    refused(
        &delete().await,
        &[
            "owned by LimaVM \"vm\"",
            "delete the LimaVM resource instead",
        ],
    );
    plane
        .vms()
        .delete("vm", &DeleteParams::default())
        .await
        .unwrap();
    plane.wait_gone("vm").await;
    allowed(&delete().await);
    plane.end().await;
}

#[tokio::test]
async fn invalid_grace_period_is_refused() {
    let plane = Plane::without_controllers().await;
    plane.put_template("source", &plane.template()).await;
    let admission = admission(&plane);
    let with = |grace: &str| {
        let mut vm = vm("vm", true);
        vm.metadata.annotations = Some([(STOP_GRACE_PERIOD.to_owned(), grace.to_owned())].into());
        vm
    };
    for bad in ["", "soon", "-3s", "5"] {
        let parts = ["stopGracePeriod", "no duration", "0s"];
        refused(&create(&admission, "default", &with(bad)).await, &parts);
        let update = request("UPDATE", "default", Some(&with("5s")), Some(&with(bad)));
        refused(&admission.validate_limavm(&update).await, &parts);
        // An invalid value that exists already does not prevent other changes.
        let update = request("UPDATE", "default", Some(&with(bad)), Some(&with(bad)));
        allowed(&admission.validate_limavm(&update).await);
    }
    allowed(&create(&admission, "default", &with("0s")).await);
}
