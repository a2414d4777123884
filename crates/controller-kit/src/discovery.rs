//! The discovery ConfigMap: which controllers run where, and since when.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::{CallError, call, call_opt};
use crate::manager::Config;

/// The namespace of the ConfigMap.
pub const NAMESPACE: &str = "rdd-system";
/// Its name. The daemon's manager recreates it at each start, so its creation time is the start of the control plane.
pub const CONFIG_MAP: &str = "rdd-controller-manager";
/// The key of the daemon's own manager.
pub const EMBEDDED_MANAGER: &str = "embedded";
/// Annotation; `true` once every controller of the daemon works.
pub const READY_ANNOTATION: &str = "rdd.rancherdesktop.io/ready";

/// The value of one key of the ConfigMap, as JSON: one manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagerEntry {
    /// The controllers that it runs; null when it runs none.
    pub enabled_controllers: Option<Vec<String>>,
    /// The endpoints that each controller offers under `/passthrough`.
    pub enabled_passthroughs: BTreeMap<String, Vec<String>>,
    /// The port of 127.0.0.1 that serves its health; 0 for none.
    pub health_port: u16,
    /// The port of 127.0.0.1 that serves its metrics; 0 for none.
    pub metrics_port: u16,
    /// When it started, in RFC 3339.
    pub start_time: String,
}

/// Writes this manager's entry. The daemon's manager recreates the ConfigMap; any other adds its key.
pub(crate) async fn register(
    client: &Client,
    config: &Config,
    controllers: impl Iterator<Item = &'static str>,
) -> Result<(), CallError> {
    let mut controllers: Vec<String> = controllers.map(str::to_owned).collect();
    controllers.sort();
    let entry = ManagerEntry {
        enabled_controllers: (!controllers.is_empty()).then_some(controllers),
        enabled_passthroughs: BTreeMap::new(),
        health_port: 0,
        metrics_port: 0,
        start_time: config.started_at.to_string(),
    };
    // A struct of strings and numbers always has a JSON form.
    let entry = serde_json::to_string(&entry).unwrap_or_default();
    let data = BTreeMap::from([(config.manager_name.clone(), entry)]);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let new = ConfigMap {
        metadata: ObjectMeta {
            name: Some(CONFIG_MAP.into()),
            ..Default::default()
        },
        data: Some(data.clone()),
        ..Default::default()
    };
    if config.manager_name == EMBEDDED_MANAGER {
        let params = DeleteParams::default();
        let deleted = api.delete(CONFIG_MAP, &params);
        call_opt(
            || format!("delete ConfigMap {NAMESPACE}/{CONFIG_MAP}"),
            deleted,
        )
        .await?;
    } else if patch(&api, json!({ "data": data })).await?.is_some() {
        return Ok(());
    }
    let params = PostParams::default();
    let create = || call(create_action, api.create(&params, &new));
    match create().await {
        Err(error) if error.is_not_found() => {
            create_namespace(client).await?;
            create().await.map(drop)
        }
        // Another manager has created it meanwhile.
        Err(error) if error.is_conflict() => patch(&api, json!({ "data": data })).await.map(drop),
        other => other.map(drop),
    }
}

fn create_action() -> String {
    format!("create ConfigMap {NAMESPACE}/{CONFIG_MAP}")
}

/// Announces that every controller of the daemon works.
pub(crate) async fn mark_ready(client: &Client, config: &Config) -> Result<(), CallError> {
    if config.manager_name != EMBEDDED_MANAGER {
        return Ok(());
    }
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    patch(
        &api,
        json!({ "metadata": { "annotations": { READY_ANNOTATION: "true" } } }),
    )
    .await
    .map(drop)
}

async fn patch(
    api: &Api<ConfigMap>,
    patch: serde_json::Value,
) -> Result<Option<ConfigMap>, CallError> {
    let patch = Patch::Merge(patch);
    let params = PatchParams::default();
    let patched = api.patch(CONFIG_MAP, &params, &patch);
    call_opt(
        || format!("update ConfigMap {NAMESPACE}/{CONFIG_MAP}"),
        patched,
    )
    .await
}

async fn create_namespace(client: &Client) -> Result<(), CallError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let new = Namespace {
        metadata: ObjectMeta {
            name: Some(NAMESPACE.into()),
            ..Default::default()
        },
        ..Default::default()
    };
    match call(
        || format!("create Namespace {NAMESPACE}"),
        api.create(&PostParams::default(), &new),
    )
    .await
    {
        Err(error) if error.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}
