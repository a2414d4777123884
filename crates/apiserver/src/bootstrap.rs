//! Creates the objects that must exist before the first request.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    kinds::{definitions, kind::Kind},
    object,
    patch::Patch,
    registry::{
        backend::Backend,
        context::WriteContext,
        create,
        delete::{self, DeleteOptions},
        target::Target,
        update::{self, Change},
    },
    status::ApiError,
};

/// Why an object could not be created.
pub(crate) struct BootstrapError {
    /// The object, such as `namespace/default`.
    pub(crate) what: String,
    pub(crate) message: String,
}

fn built_in(backend: &Backend, group: &str, plural: &str) -> Result<Arc<Kind>, BootstrapError> {
    let found = backend.kinds.find(group, "v1", plural);
    found.ok_or_else(|| BootstrapError {
        what: plural.into(),
        message: "the kind is not served".into(),
    })
}

/// Creates the namespaces that are missing.
pub(crate) async fn namespaces(
    backend: &Arc<Backend>,
    names: &[String],
) -> Result<(), BootstrapError> {
    let kind = built_in(backend, "", "namespaces")?;
    // Concurrently, so that the store commits them in one transaction.
    let all = names.iter().map(async |name| {
        let namespace = json!({"metadata": {"name": name}});
        let created = ensure(backend, &kind, namespace).await;
        created.map_err(|error| BootstrapError {
            what: format!("namespace/{name}"),
            message: error.message,
        })
    });
    futures::future::try_join_all(all).await.map(|_| ())
}

/// Creates the definitions, or updates their spec.
pub(crate) async fn definitions(
    backend: &Arc<Backend>,
    definitions: &[Value],
) -> Result<(), BootstrapError> {
    let kind = built_in(backend, definitions::GROUP, definitions::PLURAL)?;
    let all = definitions.iter().map(async |definition| {
        let written = ensure_definition(backend, &kind, definition).await;
        written.map_err(|error| BootstrapError {
            what: format!("customresourcedefinition/{}", object::name(definition)),
            message: error.message,
        })
    });
    futures::future::try_join_all(all).await.map(|_| ())
}

async fn ensure_definition(
    backend: &Arc<Backend>,
    kind: &Arc<Kind>,
    definition: &Value,
) -> Result<(), ApiError> {
    if ensure(backend, kind, definition.clone()).await? {
        return Ok(());
    }
    let mut context = WriteContext::internal(backend);
    let target = Target::of(kind, definition);
    if stored_is_undecodable(backend, &target) {
        // The definition is written anew. The objects of its kind stay, because their clean-up is not started.
        let key = target.key();
        tracing::error!(key, "a stored definition cannot be decoded and is replaced");
        delete::delete(&mut context, &target, &DeleteOptions::default()).await?;
        ensure(backend, kind, definition.clone()).await?;
        return Ok(());
    }
    // Metadata that a user has added stays.
    let mut patch = json!({"spec": definition["spec"]});
    for field in ["labels", "annotations"] {
        if let Some(value) = definition["metadata"].get(field).filter(|v| !v.is_null()) {
            patch["metadata"][field] = value.clone();
        }
    }
    let change = Change::from(Patch::Replace(patch));
    update::update(&mut context, &target, &change, &[])
        .await
        .map(|_| ())
}

fn stored_is_undecodable(backend: &Backend, target: &Target) -> bool {
    let entry = backend.store.get(&target.key());
    entry.is_some_and(|entry| object::decode(&entry).is_err())
}

/// Creates an object if it is missing; returns whether it was.
async fn ensure(backend: &Arc<Backend>, kind: &Arc<Kind>, object: Value) -> Result<bool, ApiError> {
    let target = Target::of(kind, &object);
    if backend.store.get(&target.key()).is_some() {
        return Ok(false);
    }
    let mut context = WriteContext::internal(backend);
    match create::create(&mut context, target, object, Vec::new()).await {
        Ok(_) => Ok(true),
        Err(error) if error.reason == "AlreadyExists" => Ok(false),
        Err(error) => Err(error),
    }
}
