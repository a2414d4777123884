//! What must exist before the first request.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    StartError,
    kinds::definitions,
    object,
    patch::Patch,
    registry::{
        Resource, Target, WriteContext, create,
        update::{self, Change},
    },
    server::Inner,
    status::ApiError,
};

/// Serves the custom resources whose definitions are in the store.
pub(crate) fn load_definitions(server: &Arc<Inner>) -> Result<(), StartError> {
    let failed = |error: store::Error| StartError::Load {
        what: "the custom resource definitions".into(),
        message: error.to_string(),
    };
    let page = server
        .store
        .list(definitions::PREFIX, None, 0, None)
        .map_err(failed)?;
    for entry in page.entries {
        definitions::reload(server, entry.key.trim_start_matches(definitions::PREFIX));
    }
    Ok(())
}

fn resource(server: &Inner, group: &str, plural: &str) -> Result<Arc<Resource>, StartError> {
    let found = server.registry.find(group, "v1", plural);
    found.ok_or_else(|| StartError::Load {
        what: plural.into(),
        message: "it is not served".into(),
    })
}

/// Creates the namespaces that are missing.
pub(crate) async fn namespaces(server: &Arc<Inner>, names: &[String]) -> Result<(), StartError> {
    let resource = resource(server, "", "namespaces")?;
    // Together, so that the store commits them at once.
    let all = names.iter().map(async |name| {
        let namespace = json!({"metadata": {"name": name}});
        let made = ensure(server, &resource, namespace).await;
        made.map_err(|error| StartError::Bootstrap {
            what: format!("namespace/{name}"),
            message: error.message,
        })
    });
    futures::future::try_join_all(all).await.map(|_| ())
}

/// Creates the definitions, or brings their spec up to date.
pub(crate) async fn definitions(
    server: &Arc<Inner>,
    definitions: &[Value],
) -> Result<(), StartError> {
    let resource = resource(server, "apiextensions.k8s.io", "customresourcedefinitions")?;
    let all = definitions.iter().map(async |definition| {
        let made = ensure_definition(server, &resource, definition).await;
        made.map_err(|error| StartError::Bootstrap {
            what: format!("customresourcedefinition/{}", object::name(definition)),
            message: error.message,
        })
    });
    futures::future::try_join_all(all).await.map(|_| ())
}

async fn ensure_definition(
    server: &Arc<Inner>,
    resource: &Arc<Resource>,
    definition: &Value,
) -> Result<(), ApiError> {
    if ensure(server, resource, definition.clone()).await? {
        return Ok(());
    }
    let mut context = WriteContext::internal(server);
    let target = Target::of(resource, definition);
    // What a user added to the metadata stays.
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

/// Creates an object; tells whether it was missing.
async fn ensure(
    server: &Arc<Inner>,
    resource: &Arc<Resource>,
    object: Value,
) -> Result<bool, ApiError> {
    let target = Target::of(resource, &object);
    if server.store.get(&target.key()).is_some() {
        return Ok(false);
    }
    let mut context = WriteContext::internal(server);
    match create::create(&mut context, target, object, Vec::new()).await {
        Ok(_) => Ok(true),
        Err(error) if error.reason == "AlreadyExists" => Ok(false),
        Err(error) => Err(error),
    }
}
