//! Notaries.

use api::notary::{Notary, NotarySpec};
use controller_kit::Controller;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::admission::{AdmissionRequest, AdmissionResponse};
use kube::{Api, ResourceExt};
use rdd_controllers::NotaryController;
use serde_json::json;
use testutils::poll_async;

use crate::plane::{LONG, Plane};

#[tokio::test]
async fn each_value_is_recorded_and_the_history_is_deleted_with_the_notary() {
    let plane = Plane::start().await;
    let api: Api<Notary> = Api::default_namespaced(plane.client.clone());
    let spec = NotarySpec {
        value: "one".into(),
        config_map_name: "history".into(),
    };
    api.create(&PostParams::default(), &Notary::new("n", spec))
        .await
        .unwrap();
    let map = plane.wait_entry("history", "change_000", "value=one").await;
    assert_eq!(
        map.labels()["app.kubernetes.io/managed-by"],
        "notary-controller"
    );
    assert_eq!(map.labels()["app.kubernetes.io/instance"], "n");
    let patch = Patch::Merge(json!({ "spec": { "value": "two" } }));
    api.patch("n", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let map = plane.wait_entry("history", "change_001", "value=two").await;
    let data = map.data.unwrap();
    assert!(data["latest_change"].ends_with("value=two"));
    assert_eq!(data["change_count"], "1");
    let status = poll_async(LONG, "the status", async || {
        let status = api.get("n").await.unwrap().status.unwrap_or_default();
        match status.change_count {
            2 => Ok(status),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(status.last_recorded_value.as_deref(), Some("two"));
    api.delete("n", &DeleteParams::default()).await.unwrap();
    plane.wait_gone("history").await;
    poll_async(LONG, "the end of the notary", async || {
        api.get_opt("n")
            .await
            .unwrap()
            .map_or(Ok(()), |notary| Err(format!("{:?}", notary.metadata)))
    })
    .await;
}

async fn review(value: &str) -> AdmissionResponse {
    let client = Plane::start().await.client;
    let request: AdmissionRequest<_> = serde_json::from_value(json!({
        "uid": "1", "name": "n", "operation": "CREATE", "userInfo": {}, "dryRun": false,
        "kind": { "group": api::rdd::GROUP, "version": "v1alpha1", "kind": "Notary" },
        "resource": { "group": api::rdd::GROUP, "version": "v1alpha1", "resource": "notaries" },
        "object": {
            "apiVersion": "rdd.rancherdesktop.io/v1alpha1", "kind": "Notary", "metadata": { "name": "n" },
            "spec": { "value": value, "configMapName": "history" },
        },
    }))
    .unwrap();
    NotaryController.webhooks(&client)[0].review(request).await
}

#[tokio::test]
async fn value_that_starts_with_invalid_is_refused_and_a_long_one_warned_about() {
    for value in ["invalid", "InValid value", "INVALID"] {
        let response = review(value).await;
        assert!(!response.allowed, "{value}");
        let message = &response.result.message;
        assert!(
            message.contains("spec.value cannot start with 'invalid' (case-insensitive)"),
            "{message}"
        );
    }
    let accepted = review("not invalid").await;
    assert!(accepted.allowed && accepted.warnings.is_none());
    let long = review(&"x".repeat(25)).await;
    assert!(long.allowed && long.warnings.is_some());
}
