//! Starting, supervising and stopping controllers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use controller_kit::discovery::{CONFIG_MAP, EMBEDDED_MANAGER, ManagerEntry, NAMESPACE};
use controller_kit::{Context, Controller};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::admission::{AdmissionRequest, Operation};
use serde_json::json;
use testutils::poll_async;

use crate::plane::{LONG, Plane};
use crate::toy::{Toy, ToyController};

/// A controller that is never called upon.
struct Idle;

#[async_trait::async_trait]
impl Controller for Idle {
    fn name(&self) -> &'static str {
        "idle"
    }

    fn group(&self) -> &'static str {
        "toys"
    }

    async fn run(&self, mut context: Context) {
        context.ready();
        context.shutdown().await;
    }
}

#[tokio::test]
async fn same_controller_runs_in_a_program_of_its_own_over_https() {
    let plane = Plane::start().await;
    let embedded = plane
        .run(EMBEDDED_MANAGER, plane.client.clone(), vec![Arc::new(Idle)])
        .await;
    let client = plane.https_client().await;
    let external = plane
        .run("toys", client, vec![Arc::new(ToyController)])
        .await;
    plane.create("a", json!({ "copies": 3 })).await;
    let toys: Api<Toy> = Api::default_namespaced(plane.client.clone());
    poll_async(LONG, "the copies", async || match toys.get("a").await {
        Ok(toy) if toy.status.as_ref().is_some_and(|status| status.copies == 3) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client.clone(), NAMESPACE);
    let data = maps.get(CONFIG_MAP).await.unwrap().data.unwrap();
    let names = |key: &str| {
        let entry: ManagerEntry = serde_json::from_str(&data[key]).unwrap();
        entry.enabled_controllers
    };
    assert_eq!(names(EMBEDDED_MANAGER), Some(vec!["idle".to_owned()]));
    assert_eq!(names("toys"), Some(vec!["toy".to_owned()]));
    external.stop().await;
    embedded.stop().await;
}

#[tokio::test]
async fn older_definition_is_upgraded() {
    let plane = Plane::start().await;
    let running = plane
        .run(
            EMBEDDED_MANAGER,
            plane.client.clone(),
            vec![Arc::new(ToyController)],
        )
        .await;
    running.stop().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(plane.client.clone());
    let older = json!({ "spec": { "names": { "shortNames": ["old"] } } });
    definitions
        .patch(
            "toys.toys.example.com",
            &PatchParams::default(),
            &Patch::Merge(older),
        )
        .await
        .unwrap();
    let mut newer = ToyController.crds();
    newer[0].spec.names.short_names = Some(vec!["new".into()]);
    let running = plane
        .run(
            EMBEDDED_MANAGER,
            plane.client.clone(),
            vec![Arc::new(Upgraded(newer))],
        )
        .await;
    let found = definitions.get("toys.toys.example.com").await.unwrap();
    assert_eq!(found.spec.names.short_names, Some(vec!["new".into()]));
    running.stop().await;
}

/// A controller with these definitions.
struct Upgraded(Vec<CustomResourceDefinition>);

#[async_trait::async_trait]
impl Controller for Upgraded {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn group(&self) -> &'static str {
        "toys"
    }

    fn crds(&self) -> Vec<CustomResourceDefinition> {
        self.0.clone()
    }

    async fn run(&self, mut context: Context) {
        context.ready();
        context.shutdown().await;
    }
}

/// A controller that fails twice before it works.
#[derive(Default)]
struct Failing(AtomicU32);

#[async_trait::async_trait]
impl Controller for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn group(&self) -> &'static str {
        "toys"
    }

    async fn run(&self, mut context: Context) {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("first defect"),
            1 => return,
            _ => context.ready(),
        }
        context.shutdown().await;
    }
}

#[tokio::test]
async fn controller_that_panics_or_returns_is_reported_and_runs_again() {
    let plane = Plane::start().await;
    let failing = Arc::new(Failing::default());
    let running = plane.begin(
        EMBEDDED_MANAGER,
        plane.client.clone(),
        vec![failing.clone(), Arc::new(Idle)],
    );
    let failed = |part: &'static str| {
        let health = running.health.clone();
        poll_async(LONG, part, async move || match health.check() {
            Err(problems) if problems.contains(part) => Ok(()),
            other => Err(format!("{other:?}")),
        })
    };
    failed("controller failing failed: it panicked: first defect").await;
    failed("it returned before the shutdown").await;
    tokio::time::timeout(LONG, running.health.all_ready())
        .await
        .unwrap();
    assert_eq!(failing.0.load(Ordering::Relaxed), 3);
    running.stop().await;
}

#[tokio::test]
async fn webhook_refuses_a_new_object_and_lets_an_undecodable_one_be_repaired() {
    let client = Plane::start().await.client;
    let webhook = ToyController.webhooks(&client).remove(0);
    let toy = |copies: serde_json::Value| {
        json!({
            "apiVersion": "toys.example.com/v1", "kind": "Toy", "metadata": { "name": "a" },
            "spec": { "copies": copies },
        })
    };
    let request = |object: serde_json::Value, old: serde_json::Value| -> AdmissionRequest<_> {
        serde_json::from_value(json!({
            "uid": "1", "name": "a", "operation": Operation::Update, "userInfo": {}, "dryRun": false,
            "kind": { "group": "toys.example.com", "version": "v1", "kind": "Toy" },
            "resource": { "group": "toys.example.com", "version": "v1", "resource": "toys" },
            "object": object, "oldObject": old,
        }))
        .unwrap()
    };
    let refused = webhook.review(request(toy(json!(10)), toy(json!(1)))).await;
    assert!(!refused.allowed && refused.result.message.contains("at most nine"));
    let repaired = webhook
        .review(request(toy(json!(2)), toy(json!("two"))))
        .await;
    assert!(repaired.allowed, "{:?}", repaired.result);
    let unreadable = webhook
        .review(request(toy(json!("two")), toy(json!(1))))
        .await;
    assert!(
        unreadable.result.message.contains("spec.copies"),
        "{:?}",
        unreadable.result
    );
}
