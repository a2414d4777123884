//! A small controller: keeps `spec.copies` ConfigMaps for each Toy.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller_kit::call::{CallError, call, call_opt};
use controller_kit::reconcile::{self, Next, Reconciler, owners};
use controller_kit::webhook::{Rule, Stage, Webhook, typed};
use controller_kit::{Context, Controller};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use kube::runtime::watcher;
use kube::{Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(CustomResource, Serialize, Deserialize, JsonSchema, Clone, Debug)]
#[kube(
    group = "toys.example.com",
    version = "v1",
    kind = "Toy",
    namespaced,
    status = "ToyStatus"
)]
pub(crate) struct ToySpec {
    pub(crate) copies: i32,
    /// Makes the step of this object panic.
    #[serde(default)]
    pub(crate) broken: bool,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub(crate) struct ToyStatus {
    pub(crate) copies: i32,
}

/// The definition with a schema that accepts anything, so that objects can be stored that do not fit the type.
fn definition() -> CustomResourceDefinition {
    let mut definition = serde_json::to_value(Toy::crd()).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    serde_json::from_value(definition).unwrap()
}

pub(crate) struct ToyController;

#[async_trait::async_trait]
impl Controller for ToyController {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn group(&self) -> &'static str {
        "toys"
    }

    fn crds(&self) -> Vec<CustomResourceDefinition> {
        vec![definition()]
    }

    fn webhooks(&self, _: &Client) -> Vec<Arc<dyn Webhook>> {
        vec![Arc::new(AtMostNine)]
    }

    async fn run(&self, context: Context) {
        let client = context.client.clone();
        let children =
            owners::<ConfigMap, Toy>(Api::all(client.clone()), watcher::Config::default());
        reconcile::run(Copies, context, Api::all(client), vec![children]).await;
    }
}

struct Copies;

#[async_trait::async_trait]
impl Reconciler for Copies {
    type Object = Toy;
    type Error = CallError;

    async fn reconcile(&self, context: &Context, toy: &Toy) -> Result<Next, CallError> {
        assert!(!toy.spec.broken, "this toy is broken");
        let namespace = toy.namespace().unwrap_or_default();
        let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
        for index in 0..toy.spec.copies {
            let name = format!("{}-{index}", toy.name_any());
            let found = call_opt(|| format!("read ConfigMap {name}"), maps.get(&name)).await?;
            if found.is_some() {
                continue;
            }
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    owner_references: toy.controller_owner_ref(&()).map(|owner| vec![owner]),
                    ..Default::default()
                },
                data: Some(BTreeMap::from([("index".into(), index.to_string())])),
                ..Default::default()
            };
            let params = PostParams::default();
            let created = maps.create(&params, &map);
            created_or_there(call(|| format!("create ConfigMap {name}"), created).await)?;
        }
        let status = ToyStatus {
            copies: toy.spec.copies,
        };
        if toy.status.as_ref() != Some(&status) {
            let toys: Api<Toy> = Api::namespaced(context.client.clone(), &namespace);
            let patch = Patch::Merge(json!({ "status": status }));
            let params = PatchParams::default();
            let name = toy.name_any();
            let patched = toys.patch_status(&name, &params, &patch);
            call(|| format!("write the status of Toy {name}"), patched).await?;
        }
        Ok(Next::OnChange)
    }
}

/// Two steps can create the same child if the first one's is not in the cache yet.
fn created_or_there<T>(result: Result<T, CallError>) -> Result<(), CallError> {
    match result {
        Err(error) if !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

/// A validating webhook.
struct AtMostNine;

#[async_trait::async_trait]
impl Webhook for AtMostNine {
    fn name(&self) -> &'static str {
        "at-most-nine.toys.example.com"
    }

    fn stage(&self) -> Stage {
        Stage::Validating
    }

    fn rule(&self) -> Rule {
        Rule {
            group: "toys.example.com",
            resource: "toys",
            operations: vec![Operation::Create, Operation::Update],
            label: None,
        }
    }

    async fn review(&self, request: AdmissionRequest<DynamicObject>) -> AdmissionResponse {
        let toy: AdmissionRequest<Toy> = match typed(&request) {
            Ok(request) => request,
            Err(response) => return *response,
        };
        let response = AdmissionResponse::from(&request);
        match toy.object {
            Some(toy) if toy.spec.copies > 9 => response.deny("at most nine copies"),
            _ => response,
        }
    }
}
