//! A VM's own copy of its template: the ConfigMap `NAME-template`.
//!
//! Admission puts the copy into the new VM (annotation [`TEMPLATE_COPY`]), and here it becomes a ConfigMap that the VM owns.
//! So a VM that was refused leaves nothing behind, and deleting the original right after the creation does no harm. For a
//! VM without the annotation (no admission, or a template that is too large for an annotation) the original is copied.

use std::collections::BTreeMap;

use api::LimaVM;
use api::lima::{
    OWNED_FINALIZER, TEMPLATE_COPY, TEMPLATE_KEY, TEMPLATE_LABEL, TEMPLATE_LABEL_VALUE,
    template_config_map_name,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;

use controller_kit::call::{CallError, call, call_opt};

/// Why a VM has no template.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// The ConfigMap of `spec.templateRef` does not exist.
    #[error(
        "the template ConfigMap {namespace}/{name} does not exist: create it, or delete this VM"
    )]
    Missing { namespace: String, name: String },
    /// It has no template.
    #[error(transparent)]
    NoText(#[from] crate::template::TextProblem),
    /// Another ConfigMap has the name that the copy must have.
    #[error(
        "the ConfigMap {namespace}/{name} exists already and does not belong to this VM: delete or rename it"
    )]
    Taken { namespace: String, name: String },
    /// A call to the API server failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Whether this VM owns the ConfigMap.
pub(crate) fn is_of(config_map: &ConfigMap, vm: &LimaVM) -> bool {
    let owners = config_map
        .metadata
        .owner_references
        .as_deref()
        .unwrap_or_default();
    owners
        .iter()
        .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == vm.metadata.uid.as_ref())
}

/// Returns the copy, and creates it if there is none. `cached` is the one that the watch has reported.
pub(crate) async fn ensure(
    client: &Client,
    vm: &LimaVM,
    namespace: &str,
    cached: Option<ConfigMap>,
) -> Result<ConfigMap, CopyError> {
    let name = template_config_map_name(&vm.name_any());
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let taken = || CopyError::Taken {
        namespace: namespace.to_owned(),
        name: name.clone(),
    };
    if let Some(cached) = cached
        && is_of(&cached, vm)
    {
        return Ok(cached);
    }
    if let Some(found) = call_opt(
        || format!("read ConfigMap {namespace}/{name}"),
        api.get(&name),
    )
    .await?
    {
        return if is_of(&found, vm) {
            Ok(found)
        } else {
            Err(taken())
        };
    }
    let text = match vm.annotations().get(TEMPLATE_COPY) {
        Some(text) => text.clone(),
        None => original(client, vm, namespace).await?,
    };
    let copy = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([(
                TEMPLATE_LABEL.into(),
                TEMPLATE_LABEL_VALUE.into(),
            )])),
            finalizers: Some(vec![OWNED_FINALIZER.into()]),
            owner_references: vm.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..Default::default()
        },
        data: Some(BTreeMap::from([(TEMPLATE_KEY.into(), text)])),
        ..Default::default()
    };
    let params = PostParams::default();
    let created = api.create(&params, &copy);
    match call(|| format!("create ConfigMap {namespace}/{name}"), created).await {
        Err(error) if error.is_conflict() => Err(taken()),
        other => {
            let created = other?;
            process::crash::point("create.after-copy");
            Ok(created)
        }
    }
}

async fn original(client: &Client, vm: &LimaVM, namespace: &str) -> Result<String, CopyError> {
    let name = vm.spec.template_ref.name.clone();
    let namespace = vm.template_namespace(namespace).to_owned();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let found = call_opt(
        || format!("read the template ConfigMap {namespace}/{name}"),
        api.get(&name),
    )
    .await?;
    let found = found.ok_or(CopyError::Missing { namespace, name })?;
    crate::template::text(&found)
        .map(str::to_owned)
        .map_err(CopyError::NoText)
}

/// Removes the finalizer of the copy and deletes it. A ConfigMap that this VM does not own is left alone.
pub(crate) async fn release(
    client: &Client,
    vm: &LimaVM,
    namespace: &str,
) -> Result<(), CallError> {
    let name = template_config_map_name(&vm.name_any());
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = call_opt(
        || format!("read ConfigMap {namespace}/{name}"),
        api.get(&name),
    )
    .await?;
    let Some(copy) = found.filter(|copy| is_of(copy, vm)) else {
        return Ok(());
    };
    let preconditions = Preconditions {
        uid: copy.metadata.uid.clone(),
        resource_version: None,
    };
    if copy
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == OWNED_FINALIZER)
    {
        let rest: Vec<_> = copy
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != OWNED_FINALIZER)
            .collect();
        let patch = Patch::Merge(json!({
            "metadata": { "finalizers": rest, "resourceVersion": copy.metadata.resource_version },
        }));
        let params = PatchParams::default();
        let patched = api.patch(&name, &params, &patch);
        let patched = call_opt(|| format!("release ConfigMap {namespace}/{name}"), patched).await?;
        process::crash::point("delete.after-copy-released");
        if patched.is_none() || copy.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
    }
    let params = DeleteParams {
        preconditions: Some(preconditions),
        ..Default::default()
    };
    let deleted = api.delete(&name, &params);
    match call_opt(|| format!("delete ConfigMap {namespace}/{name}"), deleted).await {
        // It was replaced by another ConfigMap meanwhile, which is not this VM's.
        Err(error) if error.is_conflict() => Ok(()),
        other => other.map(|_| ()),
    }
}
