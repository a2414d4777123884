//! The life of an object that owns ConfigMaps: the finalizer, and the clean-up before the object is removed.

use api::rdd::CLEANUP_FINALIZER;
use controller_kit::call::{CallError, call, call_opt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

/// What to do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Keep what it owns in order.
    Lives,
    /// Nothing: it was changed just now, or it is being deleted.
    Done,
}

/// Adds the finalizer to a new object; deletes what a deleted one owns (the ConfigMaps with these labels), and then
/// removes its finalizer.
pub(crate) async fn life<K>(client: &Client, object: &K, labels: &str) -> Result<Life, CallError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let finalizers = object.finalizers();
    let has_finalizer = finalizers.iter().any(|name| name == CLEANUP_FINALIZER);
    let change = match (object.meta().deletion_timestamp.is_some(), has_finalizer) {
        (false, true) => return Ok(Life::Lives),
        (true, false) => return Ok(Life::Done),
        (false, false) => {
            let mut finalizers = finalizers.to_vec();
            finalizers.push(CLEANUP_FINALIZER.to_owned());
            finalizers
        }
        (true, true) => {
            for map in owned(client, object, labels).await? {
                delete(client, &map).await?;
            }
            let finalizers = finalizers.iter();
            let rest = finalizers.filter(|name| *name != CLEANUP_FINALIZER);
            rest.cloned().collect()
        }
    };
    let name = object.name_any();
    let api: Api<K> = Api::namespaced(client.clone(), &namespace(object));
    let patch = Patch::Merge(json!({
        "metadata": { "finalizers": change, "resourceVersion": object.resource_version() },
    }));
    let params = PatchParams::default();
    let patched = api.patch(&name, &params, &patch);
    let action = || format!("change the finalizers of {} {name}", K::kind(&()));
    match call_opt(action, patched).await {
        // The change that caused the conflict is handled next.
        Err(error) if error.is_conflict() => Ok(Life::Done),
        other => other.map(|_| Life::Done),
    }
}

/// The namespace of the object.
pub(crate) fn namespace(object: &impl ResourceExt) -> String {
    object.namespace().unwrap_or_else(|| "default".to_owned())
}

/// The ConfigMaps with these labels that the object owns.
pub(crate) async fn owned<K: Resource<DynamicType = ()>>(
    client: &Client,
    object: &K,
    labels: &str,
) -> Result<Vec<ConfigMap>, CallError> {
    let namespace = namespace(object);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let params = ListParams::default().labels(labels);
    let listed = api.list(&params);
    let maps = call(
        || format!("list ConfigMaps of namespace {namespace}"),
        listed,
    )
    .await?;
    let is_owned = |map: &ConfigMap| owns(object, map);
    Ok(maps.items.into_iter().filter(is_owned).collect())
}

/// Whether the object is the controlling owner of the ConfigMap.
fn owns(object: &impl Resource, map: &ConfigMap) -> bool {
    map.owner_references().iter().any(|owner| {
        owner.controller == Some(true) && Some(&owner.uid) == object.meta().uid.as_ref()
    })
}

/// Deletes this ConfigMap, not another one that has its name meanwhile.
pub(crate) async fn delete(client: &Client, map: &ConfigMap) -> Result<(), CallError> {
    let (name, namespace) = (map.name_any(), namespace(map));
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: map.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let deleted = api.delete(&name, &params);
    match call_opt(|| format!("delete ConfigMap {namespace}/{name}"), deleted).await {
        Err(error) if error.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}
