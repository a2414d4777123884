//! Creates an object.

use bytes::Bytes;
use serde_json::{Value, json};
use store::{Expect, Write};

use super::{MAX_ATTEMPTS, context::WriteContext, metadata, pipeline, target::Target};
use crate::{
    admission::plugin::Operation,
    conversion, names, object,
    status::{ApiError, Cause},
};

/// Creates `body` in the collection `target`; returns the encoded object. The target's name is empty, or the name
/// that the body must have. `problems` are the unknown and duplicate fields that decoding found.
pub(crate) async fn create(
    context: &mut WriteContext<'_>,
    mut target: Target,
    mut body: Value,
    mut problems: Vec<String>,
) -> Result<Bytes, ApiError> {
    problems.extend(metadata::normalize_reporting(&target.kind, &mut body)?);
    if target.kind.terminating {
        let message = "create not allowed while custom resource definition is terminating";
        return Err(ApiError::new(405, "MethodNotAllowed", message));
    }
    place(&mut target, &mut body)?;
    if !object::meta_str(&body, "resourceVersion").is_empty() {
        return Err(ApiError::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let base = object::meta_str(&body, "generateName").to_owned();
    let generated = object::name(&body).is_empty();
    if generated && base.is_empty() {
        let cause = Cause::required("metadata.name", "name or generateName is required");
        return Err(target.about().invalid("", &[cause]));
    }
    object::name(&body).clone_into(&mut target.name);
    pipeline::check_rules(context, &target, Operation::Create)?;
    reset(context, &target, &mut body);

    for _ in 0..MAX_ATTEMPTS {
        // Only a generated name is tried again with the same body.
        let mut new = match generated {
            true => body.clone(),
            false => std::mem::take(&mut body),
        };
        if generated {
            object::meta_mut(&mut new).insert("name".into(), names::generate(&base).into());
        }
        target.name = object::name(&new).into();
        // Like Kubernetes, reports that the object exists before any other fault.
        let key = target.key();
        if context.backend.store.get(&key).is_some() {
            if generated {
                continue;
            }
            return Err(target.about().already_exists(&target.name));
        }
        pipeline::finish(context, &target, &mut new, None, problems.clone()).await?;
        conversion::to_stored(&target.kind, &mut new);
        if context.dry_run {
            let bytes = serde_json::to_vec(&new).map_err(|e| ApiError::internal(e.to_string()))?;
            return Ok(bytes.into());
        }
        let write = Write::Put {
            key,
            expect: Expect::Absent,
            value: object::encode(&new),
            ttl: target.kind.time_to_live,
            urgent: false,
        };
        match context.backend.commit(&target, write).await {
            Ok(entry) => return Ok(entry.value),
            Err(store::Error::Conflict { .. }) if generated => {}
            Err(store::Error::Conflict { .. }) => {
                return Err(target.about().already_exists(&target.name));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let message = format!("no free name was found for generateName {base:?}");
    Err(ApiError::new(409, "AlreadyExists", message))
}

/// Gives the body the namespace of the path, and checks that its name and namespace agree with the path.
fn place(target: &mut Target, body: &mut Value) -> Result<(), ApiError> {
    if !target.name.is_empty() && target.name != object::name(body) {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            object::name(body),
            target.name
        )));
    }
    let given = object::meta_str(body, "namespace").to_owned();
    match &target.namespace {
        Some(namespace) => {
            if !given.is_empty() && given != *namespace {
                return Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            let namespace = namespace.clone();
            object::meta_mut(body).insert("namespace".into(), namespace.into());
        }
        None => {
            if target.kind.namespaced {
                return Err(ApiError::bad_request(
                    "an empty namespace may not be set during creation",
                ));
            }
            object::meta_mut(body).remove("namespace");
        }
    }
    Ok(())
}

/// Sets the metadata that the server owns, and removes what a client cannot set.
fn reset(context: &WriteContext<'_>, target: &Target, body: &mut Value) {
    let meta = object::meta_mut(body);
    meta.remove("deletionTimestamp");
    meta.remove("deletionGracePeriodSeconds");
    meta.remove("generation");
    meta.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    meta.insert("creationTimestamp".into(), context.backend.now().into());
    if target.kind.generation {
        meta.insert("generation".into(), json!(1));
    }
    if target.kind.has_status()
        && let Some(body) = body.as_object_mut()
    {
        body.remove("status");
    }
}
