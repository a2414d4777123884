//! What a reconciler is called for.

use std::sync::Arc;

use controller_kit::discovery::EMBEDDED_MANAGER;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use testutils::poll_async;

use crate::plane::{LONG, Plane, Running};
use crate::toy::{Toy, ToyController};

async fn started() -> (Plane, Running) {
    let plane = Plane::start().await;
    let client = plane.client.clone();
    let running = plane
        .run(EMBEDDED_MANAGER, client, vec![Arc::new(ToyController)])
        .await;
    (plane, running)
}

async fn wait_copies(plane: &Plane, name: &str, copies: i32) {
    let toys: Api<Toy> = Api::default_namespaced(plane.client.clone());
    poll_async(
        LONG,
        &format!("{name} to have {copies} copies"),
        async || match toys.get(name).await {
            Ok(toy)
                if toy
                    .status
                    .as_ref()
                    .is_some_and(|status| status.copies == copies) =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

#[tokio::test]
async fn object_is_reconciled_when_it_or_its_child_changes() {
    let (plane, running) = started().await;
    plane.create("a", json!({ "copies": 2 })).await;
    wait_copies(&plane, "a", 2).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(plane.client.clone());
    let first = maps.get("a-1").await.unwrap().metadata.uid;
    maps.delete("a-1", &DeleteParams::default()).await.unwrap();
    poll_async(LONG, "the child to be created again", async || {
        match maps.get_opt("a-1").await.unwrap() {
            Some(map) if map.metadata.uid != first => Ok(()),
            other => Err(format!("{:?}", other.is_some())),
        }
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn h49_object_that_cannot_be_decoded_is_reported_and_the_others_go_on() {
    let (plane, running) = started().await;
    plane.create("bad", json!({ "copies": "two" })).await;
    plane.create("good", json!({ "copies": 1 })).await;
    wait_copies(&plane, "good", 1).await;
    let message = plane.wait_event("bad", "Undecodable").await;
    assert!(message.contains("spec.copies"), "{message}");
    running.stop().await;
    // A new manager, which lists them, starts as well.
    let client = plane.client.clone();
    let running = plane
        .run(EMBEDDED_MANAGER, client, vec![Arc::new(ToyController)])
        .await;
    plane.create("later", json!({ "copies": 1 })).await;
    wait_copies(&plane, "later", 1).await;
    running.stop().await;
}

#[tokio::test]
async fn step_that_panics_is_reported_and_the_others_go_on() {
    let (plane, running) = started().await;
    plane
        .create("broken", json!({ "copies": 1, "broken": true }))
        .await;
    let message = plane.wait_event("broken", "ReconcileFailed").await;
    assert!(
        message.contains("panicked: this toy is broken") && message.contains("retrying in"),
        "{message}"
    );
    plane.create("good", json!({ "copies": 1 })).await;
    wait_copies(&plane, "good", 1).await;
    assert_eq!(running.health.check(), Ok(()));
    running.stop().await;
}
