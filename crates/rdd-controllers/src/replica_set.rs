//! The controller of ConfigMapReplicaSets: keeps `spec.replicas` ConfigMaps with the same data.

use std::collections::BTreeMap;

use api::replica_set::{ConfigMapReplicaSet, ConfigMapReplicaSetStatus};
use controller_kit::call::{CallError, call, call_opt};
use controller_kit::reconcile::{self, Next, Reconciler, owners};
use controller_kit::{Context, Controller};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, Client, CustomResourceExt, Resource, ResourceExt};
use serde_json::json;

use crate::owned::{Life, delete, life, namespace, owned};

/// The label `app.kubernetes.io/managed-by` of its ConfigMaps.
const MANAGED_BY: &str = "rdd-configmapreplicaset";
/// ConfigMaps that one step creates or changes; more are left to the next step, so that one set does not block others.
const PER_STEP: usize = 50;

/// Keeps the ConfigMaps of each ConfigMapReplicaSet.
pub struct ReplicaSetController;

#[async_trait::async_trait]
impl Controller for ReplicaSetController {
    fn name(&self) -> &'static str {
        api::replica_set::CONTROLLER
    }

    fn group(&self) -> &'static str {
        api::rdd::SHORT_GROUP
    }

    fn crds(&self) -> Vec<CustomResourceDefinition> {
        vec![ConfigMapReplicaSet::crd()]
    }

    async fn run(&self, context: Context) {
        let client = context.client.clone();
        let config = watcher::Config::default()
            .labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
        let maps = owners::<ConfigMap, ConfigMapReplicaSet>(Api::all(client.clone()), config);
        reconcile::run(Replication, context, Api::all(client), vec![maps]).await;
    }
}

struct Replication;

#[async_trait::async_trait]
impl Reconciler for Replication {
    type Object = ConfigMapReplicaSet;
    type Error = CallError;

    async fn reconcile(
        &self,
        context: &Context,
        set: &ConfigMapReplicaSet,
    ) -> Result<Next, CallError> {
        let client = &context.client;
        let selector = format!(
            "app.kubernetes.io/managed-by={MANAGED_BY},app.kubernetes.io/instance={}",
            set.name_any()
        );
        if life(client, set, &selector).await? == Life::Done {
            return Ok(Next::OnChange);
        }
        let replicas = set.spec.replicas.unwrap_or(1).max(0);
        let found = owned(client, set, &selector).await?;
        let find = |name: &str| found.iter().find(|map| map.name_any() == name);
        let (mut ready, mut changed) = (0, 0);
        for index in 0..replicas {
            let wanted = replica(set, index);
            let current = find(&wanted.name_any());
            if current.is_some_and(|current| current.data == wanted.data) {
                ready += 1;
            } else if changed < PER_STEP {
                write(client, set, &wanted, current).await?;
                changed += 1;
                ready += 1;
            }
        }
        let is_wanted =
            |map: &ConfigMap| (0..replicas).any(|index| map.name_any() == replica_name(set, index));
        for surplus in found.iter().filter(|map| !is_wanted(map)) {
            delete(client, surplus).await?;
        }
        let status = ConfigMapReplicaSetStatus {
            ready_replicas: ready,
            conditions: Vec::new(),
        };
        if set.status.as_ref() != Some(&status) {
            let (name, namespace) = (set.name_any(), namespace(set));
            let api: Api<ConfigMapReplicaSet> = Api::namespaced(client.clone(), &namespace);
            let patch = Patch::Merge(json!({ "status": status }));
            let params = PatchParams::default();
            let patched = api.patch_status(&name, &params, &patch);
            let action = || format!("write the status of ConfigMapReplicaSet {namespace}/{name}");
            call(action, patched).await?;
        }
        Ok(Next::OnChange)
    }
}

fn replica_name(set: &ConfigMapReplicaSet, index: i32) -> String {
    format!("{}-{index}", set.name_any())
}

fn replica(set: &ConfigMapReplicaSet, index: i32) -> ConfigMap {
    let labels = [
        ("app.kubernetes.io/name", "configmap".to_owned()),
        ("app.kubernetes.io/instance", set.name_any()),
        ("app.kubernetes.io/component", "controller".to_owned()),
        ("app.kubernetes.io/managed-by", MANAGED_BY.to_owned()),
    ];
    let mut data: BTreeMap<String, String> = set.spec.data.clone();
    data.insert("index".to_owned(), index.to_string());
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(replica_name(set, index)),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            owner_references: set.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// Creates the replica, or restores its data. A ConfigMap of its name that the set does not own is an error.
async fn write(
    client: &Client,
    set: &ConfigMapReplicaSet,
    wanted: &ConfigMap,
    current: Option<&ConfigMap>,
) -> Result<(), CallError> {
    let (name, namespace) = (wanted.name_any(), namespace(set));
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let params = PostParams::default();
    let Some(current) = current else {
        let created = api.create(&params, wanted);
        return call(|| format!("create ConfigMap {namespace}/{name}"), created)
            .await
            .map(drop);
    };
    let mut new = current.clone();
    new.data.clone_from(&wanted.data);
    let replaced = api.replace(&name, &params, &new);
    call_opt(|| format!("update ConfigMap {namespace}/{name}"), replaced)
        .await
        .map(drop)
}
