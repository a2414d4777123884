//! ConfigMapReplicaSets.

use api::replica_set::{ConfigMapReplicaSet, ConfigMapReplicaSetSpec};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use testutils::poll_async;

use crate::plane::{LONG, Plane};

#[tokio::test]
async fn config_maps_are_created_restored_scaled_and_deleted() {
    let plane = Plane::start().await;
    let api: Api<ConfigMapReplicaSet> = Api::default_namespaced(plane.client.clone());
    let spec = ConfigMapReplicaSetSpec {
        replicas: Some(3),
        data: [("key".to_owned(), "value".to_owned())].into(),
    };
    api.create(&PostParams::default(), &ConfigMapReplicaSet::new("s", spec))
        .await
        .unwrap();
    for index in ["0", "1", "2"] {
        let map = plane
            .wait_entry(&format!("s-{index}"), "index", index)
            .await;
        assert_eq!(map.data.as_ref().unwrap()["key"], "value");
        assert_eq!(
            map.labels()["app.kubernetes.io/managed-by"],
            "rdd-configmapreplicaset"
        );
    }
    // A deleted and a changed one are restored.
    let params = DeleteParams::default();
    plane.maps().delete("s-1", &params).await.unwrap();
    plane.wait_entry("s-1", "index", "1").await;
    let patch = Patch::Merge(json!({ "data": { "key": "other" } }));
    plane
        .maps()
        .patch("s-0", &PatchParams::default(), &patch)
        .await
        .unwrap();
    plane.wait_entry("s-0", "key", "value").await;
    let scale = |replicas| {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let api = api.clone();
        async move {
            api.patch("s", &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
    };
    scale(1).await;
    plane.wait_gone("s-1").await;
    plane.wait_gone("s-2").await;
    scale(2).await;
    plane.wait_entry("s-1", "key", "value").await;
    poll_async(LONG, "two ready replicas", async || {
        let status = api.get("s").await.unwrap().status.unwrap_or_default();
        match status.ready_replicas {
            2 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    api.delete("s", &params).await.unwrap();
    plane.wait_gone("s-0").await;
    plane.wait_gone("s-1").await;
}
