//! Deletes the content of namespaces and of custom resource definitions that are being deleted, then lets them go.

use std::sync::Arc;

use serde_json::{Value, json};

use super::RETRY;
use crate::{
    kinds::{definitions, namespaces},
    object::{self, has_finalizer, is_being_deleted},
    patch::Patch,
    registry::{
        Resource, Target, WriteContext,
        delete::{self, DeleteOptions},
        update::{self, Change},
    },
    server::Inner,
    status::ApiError,
};

const NAMESPACES: &str = "/registry/core/namespaces/";

pub(super) async fn run(server: &Arc<Inner>) {
    loop {
        // What waits for somebody else's finalizers is looked at again after a while.
        let pending = match sweep(server).await {
            Ok(pending) => pending,
            Err(error) => {
                tracing::warn!(%error, "emptying what is being deleted failed, will be tried again");
                true
            }
        };
        if pending {
            let _ = tokio::time::timeout(RETRY, server.cleanup.notified()).await;
        } else {
            server.cleanup.notified().await;
        }
    }
}

/// One look at everything; tells whether something is still there.
async fn sweep(server: &Arc<Inner>) -> Result<bool, ApiError> {
    let mut pending = false;
    for entry in server.store.list(NAMESPACES, None, 0, None)?.entries {
        let Some(namespace) = readable(&entry) else {
            continue;
        };
        if is_being_deleted(&namespace) {
            let emptied = empty_namespace(server, &namespace).await;
            pending |= !succeeded(&entry.key, emptied);
        }
    }
    for entry in server
        .store
        .list(definitions::PREFIX, None, 0, None)?
        .entries
    {
        let Some(definition) = readable(&entry) else {
            continue;
        };
        if is_being_deleted(&definition) && has_finalizer(&definition, definitions::CLEANUP) {
            let emptied = empty_definition(server, &definition).await;
            pending |= !succeeded(&entry.key, emptied);
        }
    }
    Ok(pending)
}

/// The object of an entry; one that cannot be decoded is skipped, so that it does not stop the others.
fn readable(entry: &store::Entry) -> Option<Value> {
    let object = object::decode(entry);
    let object = object.inspect_err(|error| tracing::warn!(%error, "clean-up skips an object"));
    object.ok()
}

/// Whether everything of one object is gone. A failure is reported and retried with the next sweep, and does not stop
/// the others.
fn succeeded(key: &str, emptied: Result<bool, ApiError>) -> bool {
    emptied.unwrap_or_else(|error| {
        tracing::warn!(key, %error, "emptying what is being deleted failed, will be tried again");
        false
    })
}

/// Deletes what is under a prefix; tells whether it is empty now.
async fn empty(
    server: &Arc<Inner>,
    resource: &Arc<Resource>,
    namespace: Option<&str>,
) -> Result<bool, ApiError> {
    let prefix = resource.prefix(namespace);
    for entry in server.store.list(&prefix, None, 0, None)?.entries {
        // An object that cannot be decoded is deleted as well.
        if object::decode(&entry).is_ok_and(|object| is_being_deleted(&object)) {
            continue;
        }
        let Some(target) = Target::of_entry(resource, &entry) else {
            continue;
        };
        let mut context = WriteContext::internal(server);
        match delete::delete(&mut context, &target, &DeleteOptions::default()).await {
            Err(error) if error.code != 404 => {
                tracing::warn!(key = entry.key, %error, "an object could not be deleted");
            }
            _ => {}
        }
    }
    Ok(server
        .store
        .list(&prefix, None, 1, None)?
        .entries
        .is_empty())
}

async fn empty_namespace(server: &Arc<Inner>, namespace: &Value) -> Result<bool, ApiError> {
    let name = object::name(namespace);
    let mut is_empty = true;
    for resource in server.registry.all().values() {
        // Each resource once, not once a version.
        if resource.namespaced && resource.is_stored_form() {
            is_empty &= empty(server, resource, Some(name)).await?;
        }
    }
    if !is_empty {
        return Ok(false);
    }
    let Some(resource) = server.registry.find("", "v1", "namespaces") else {
        return Ok(true);
    };
    let finalizers = namespace["spec"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten();
    let left: Vec<&Value> = finalizers.filter(|f| **f != namespaces::CONTENT).collect();
    let mut target = Target::of(&resource, namespace);
    target.subresource = Some("finalize".into());
    let patch =
        json!({"metadata": {"uid": namespace["metadata"]["uid"]}, "spec": {"finalizers": left}});
    finish(server, &target, patch).await
}

async fn empty_definition(server: &Arc<Inner>, definition: &Value) -> Result<bool, ApiError> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let all = server.registry.all();
    let stored = all
        .values()
        .find(|r| r.group == group && r.plural == plural && !r.built_in);
    if let Some(resource) = stored
        && !empty(server, resource, None).await?
    {
        return Ok(false);
    }
    let Some(resource) =
        server
            .registry
            .find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    else {
        return Ok(true);
    };
    let left: Vec<&str> = object::finalizers(definition)
        .filter(|f| *f != definitions::CLEANUP)
        .collect();
    let patch = json!({"metadata": {"uid": definition["metadata"]["uid"], "finalizers": left}});
    finish(server, &Target::of(&resource, definition), patch).await
}

async fn finish(server: &Arc<Inner>, target: &Target, patch: Value) -> Result<bool, ApiError> {
    let mut context = WriteContext::internal(server);
    let change = Change::from(Patch::Merge(patch));
    match update::update(&mut context, target, &change, &[]).await {
        Err(error) if error.code == 404 => Ok(true),
        // Somebody made another object of this name, or changed its finalizers meanwhile.
        Err(error) if error.code == 409 => Ok(false),
        result => result.map(|_| true),
    }
}
