//! Deletes the content of namespaces and of CustomResourceDefinitions that are being deleted, then removes the
//! finalizer that keeps them.

use std::sync::Arc;

use futures::StreamExt as _;
use serde_json::{Value, json};
use store::Event;

use super::RETRY;
use crate::{
    kinds::{
        definitions,
        kind::{Kind, Subresource},
        namespaces,
    },
    object::{self, has_finalizer, is_being_deleted},
    patch::Patch,
    registry::{
        backend::Backend,
        context::WriteContext,
        delete::{self, DeleteOptions},
        target::Target,
        update::{self, Change},
    },
    status::ApiError,
};

pub(super) async fn run(backend: &Arc<Backend>) {
    loop {
        if let Err(error) = follow(backend).await {
            tracing::warn!(%error, "emptying namespaces and definitions failed; trying again");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Sweeps after each change of a namespace or definition. While something is left that waits for finalizers of
/// others, also sweeps from time to time.
async fn follow(backend: &Arc<Backend>) -> Result<(), ApiError> {
    let revision = backend.store.revision();
    let namespaces = backend.store.watch(namespaces::PREFIX, revision)?;
    let definitions = backend.store.watch(definitions::PREFIX, revision)?;
    let mut events = futures::stream::select(namespaces, definitions);
    loop {
        let event = match sweep(backend).await? {
            true => match tokio::time::timeout(RETRY, events.next()).await {
                Ok(event) => event,
                Err(_) => continue,
            },
            false => events.next().await,
        };
        match event {
            Some(event) => wait_for_catalog(backend, &event?).await,
            None => return Err(store::Error::Closed.into()),
        }
    }
}

/// Waits until the catalog reflects the change of a definition.
async fn wait_for_catalog(backend: &Backend, event: &Event) {
    if let Event::Put { entry, .. } | Event::Delete { entry, .. } = event
        && entry.key.starts_with(definitions::PREFIX)
    {
        backend.kinds.wait_for(entry.revision).await;
    }
}

/// Empties all that is being deleted; returns whether something is left.
async fn sweep(backend: &Arc<Backend>) -> Result<bool, ApiError> {
    let mut pending = false;
    for entry in backend
        .store
        .list(namespaces::PREFIX, None, 0, None)?
        .entries
    {
        let Some(namespace) = readable(&entry) else {
            continue;
        };
        if is_being_deleted(&namespace) {
            let emptied = empty_namespace(backend, &namespace).await;
            pending |= !succeeded(&entry.key, emptied);
        }
    }
    for entry in backend
        .store
        .list(definitions::PREFIX, None, 0, None)?
        .entries
    {
        let Some(definition) = readable(&entry) else {
            continue;
        };
        if is_being_deleted(&definition) && has_finalizer(&definition, definitions::CLEANUP) {
            let emptied = empty_definition(backend, &definition).await;
            pending |= !succeeded(&entry.key, emptied);
        } else if !definitions::is_established(&definition) {
            // The other kind that has its names may be deleted now.
            let touched = touch(backend, &definition).await;
            pending |= !succeeded(&entry.key, touched);
        }
    }
    Ok(pending)
}

/// Decodes the object of an entry. One that cannot be decoded is skipped, so that it does not stop the others.
fn readable(entry: &store::Entry) -> Option<Value> {
    let object = object::decode(entry);
    let object = object.inspect_err(|error| tracing::warn!(%error, "clean-up skips an object"));
    object.ok()
}

/// Returns whether nothing of one object is left. A failure is reported, retried with the next sweep, and does not
/// stop the others.
fn succeeded(key: &str, emptied: Result<bool, ApiError>) -> bool {
    emptied.unwrap_or_else(|error| {
        tracing::warn!(key, %error, "deleting the content of an object failed; trying again");
        false
    })
}

/// Deletes the objects of a kind; returns whether none is left.
async fn empty(
    backend: &Arc<Backend>,
    kind: &Arc<Kind>,
    namespace: Option<&str>,
) -> Result<bool, ApiError> {
    let prefix = kind.prefix(namespace);
    for entry in backend.store.list(&prefix, None, 0, None)?.entries {
        // An object that cannot be decoded is deleted as well.
        if object::decode(&entry).is_ok_and(|object| is_being_deleted(&object)) {
            continue;
        }
        let Some(target) = Target::of_entry(kind, &entry) else {
            continue;
        };
        let mut context = WriteContext::internal(backend);
        match delete::delete(&mut context, &target, &DeleteOptions::default()).await {
            Err(error) if error.code != 404 => {
                tracing::warn!(key = entry.key, %error, "an object could not be deleted");
            }
            _ => {}
        }
    }
    Ok(backend
        .store
        .list(&prefix, None, 1, None)?
        .entries
        .is_empty())
}

async fn empty_namespace(backend: &Arc<Backend>, namespace: &Value) -> Result<bool, ApiError> {
    let name = object::name(namespace);
    let mut is_empty = true;
    for kind in backend.kinds.all().values() {
        // Versions of one kind share their objects.
        if kind.namespaced && kind.is_stored_form() {
            is_empty &= empty(backend, kind, Some(name)).await?;
        }
    }
    if !is_empty {
        return Ok(false);
    }
    let Some(kind) = backend.kinds.find("", "v1", "namespaces") else {
        return Ok(true);
    };
    let finalizers = namespace["spec"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten();
    let left: Vec<&Value> = finalizers.filter(|f| **f != namespaces::CONTENT).collect();
    let mut target = Target::of(&kind, namespace);
    target.subresource = Some(Subresource::Finalize);
    let patch =
        json!({"metadata": {"uid": namespace["metadata"]["uid"]}, "spec": {"finalizers": left}});
    finish(backend, &target, patch).await
}

async fn empty_definition(backend: &Arc<Backend>, definition: &Value) -> Result<bool, ApiError> {
    let kind = backend.kinds.of_definition(object::name(definition));
    if let Some(kind) = kind
        && !empty(backend, &kind, None).await?
    {
        return Ok(false);
    }
    let (group, plural) = (definitions::GROUP, definitions::PLURAL);
    let Some(kind) = backend.kinds.find(group, "v1", plural) else {
        return Ok(true);
    };
    let left: Vec<&str> = object::finalizers(definition)
        .filter(|f| *f != definitions::CLEANUP)
        .collect();
    let patch = json!({"metadata": {"uid": definition["metadata"]["uid"], "finalizers": left}});
    finish(backend, &Target::of(&kind, definition), patch).await
}

/// Writes a definition unchanged, which checks its names again.
async fn touch(backend: &Arc<Backend>, definition: &Value) -> Result<bool, ApiError> {
    let (group, plural) = (definitions::GROUP, definitions::PLURAL);
    let Some(kind) = backend.kinds.find(group, "v1", plural) else {
        return Ok(true);
    };
    let patch = json!({"metadata": {"uid": definition["metadata"]["uid"]}});
    match finish(backend, &Target::of(&kind, definition), patch).await {
        // An old definition may be invalid by the rules of today. It stays as it is.
        Err(error) if error.code == 422 => Ok(true),
        result => result,
    }
}

async fn finish(backend: &Arc<Backend>, target: &Target, patch: Value) -> Result<bool, ApiError> {
    let mut context = WriteContext::internal(backend);
    let change = Change::from(Patch::Merge(patch));
    match update::update(&mut context, target, &change, &[]).await {
        Err(error) if error.code == 404 => Ok(true),
        // Another object has this name now, or the finalizers changed meanwhile.
        Err(error) if error.code == 409 => Ok(false),
        result => result.map(|_| true),
    }
}
