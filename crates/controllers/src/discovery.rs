//! The discovery ConfigMap `rdd-controller-manager`: which controllers run where, and since when.

use std::collections::BTreeMap;

use api::rdd::{
    DISCOVERY_CONFIG_MAP, EMBEDDED_MANAGER, ManagerEntry, READY_ANNOTATION, SYSTEM_NAMESPACE,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::Config;
use crate::api_call::{CallError, call, call_opt};

/// Writes this manager's entry. The daemon's own manager makes the ConfigMap anew, so that its creation time is that
/// of the start; another one adds its key.
pub(crate) async fn register(client: &Client, config: &Config) -> Result<(), CallError> {
    let entry = ManagerEntry {
        enabled_controllers: config.enabled.iter().cloned().collect(),
        enabled_passthroughs: Vec::new(),
        health_port: 0,
        metrics_port: 0,
        start_time: config.started_at.to_string(),
    };
    // A struct of strings and numbers always has a JSON form.
    let entry = serde_json::to_string(&entry).unwrap_or_default();
    let data = BTreeMap::from([(config.manager_name.clone(), entry)]);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
    let new = ConfigMap {
        metadata: ObjectMeta {
            name: Some(DISCOVERY_CONFIG_MAP.into()),
            ..Default::default()
        },
        data: Some(data.clone()),
        ..Default::default()
    };
    if config.manager_name == EMBEDDED_MANAGER {
        let params = DeleteParams::default();
        let deleted = api.delete(DISCOVERY_CONFIG_MAP, &params);
        call_opt(
            || format!("delete ConfigMap {SYSTEM_NAMESPACE}/{DISCOVERY_CONFIG_MAP}"),
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
            make_namespace(client).await?;
            create().await.map(drop)
        }
        // Another manager was faster.
        Err(error) if error.is_conflict() => patch(&api, json!({ "data": data })).await.map(drop),
        other => other.map(drop),
    }
}

fn create_action() -> String {
    format!("create ConfigMap {SYSTEM_NAMESPACE}/{DISCOVERY_CONFIG_MAP}")
}

/// Says that all controllers of the daemon work.
pub(crate) async fn mark_ready(client: &Client, config: &Config) -> Result<(), CallError> {
    if config.manager_name != EMBEDDED_MANAGER {
        return Ok(());
    }
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), SYSTEM_NAMESPACE);
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
    let patched = api.patch(DISCOVERY_CONFIG_MAP, &params, &patch);
    call_opt(
        || format!("update ConfigMap {SYSTEM_NAMESPACE}/{DISCOVERY_CONFIG_MAP}"),
        patched,
    )
    .await
}

async fn make_namespace(client: &Client) -> Result<(), CallError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let new = Namespace {
        metadata: ObjectMeta {
            name: Some(SYSTEM_NAMESPACE.into()),
            ..Default::default()
        },
        ..Default::default()
    };
    match call(
        || format!("create Namespace {SYSTEM_NAMESPACE}"),
        api.create(&PostParams::default(), &new),
    )
    .await
    {
        Err(error) if error.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}
