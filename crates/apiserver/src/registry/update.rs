//! Changes an object: a new state from the client, or a patch of the current one.

use std::sync::Arc;

use serde_json::{Value, json};
use store::{Expect, Write};

use super::{
    MAX_ATTEMPTS, Resource, Target, WriteContext, Written, generation, get, metadata, pipeline,
};
use crate::{
    compute,
    object::{self, finalizers, is_being_deleted, meta_mut, meta_str},
    patch::Patch,
    status::{ApiError, Cause},
};

/// How an object is to be changed.
pub(crate) enum Change {
    /// This is the new state.
    Replace(Value),
    /// Apply this to the current state.
    Patch(Arc<Patch>),
}

impl From<Patch> for Change {
    fn from(patch: Patch) -> Self {
        Self::Patch(Arc::new(patch))
    }
}

/// A change that makes the object at most this much larger, in bytes, may use the space that the store keeps in
/// reserve for a full disk: enough for `spec.running: false`, a finalizer or a condition of a status.
const URGENT_GROWTH: usize = 1024;

/// Fields of the metadata that only the server sets.
const OWNED_BY_SERVER: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
];

/// Changes the object `target`. A change that changes nothing is not written.
pub(crate) async fn update(
    context: &mut WriteContext<'_>,
    target: &Target,
    change: &Change,
    problems: &[String],
) -> Result<Written, ApiError> {
    for _ in 0..MAX_ATTEMPTS {
        let entry = get(context.server, target)?;
        let mut old = object::decode(&entry)?;
        target.resource.show_stored(&mut old);
        meta_mut(&mut old).insert("resourceVersion".into(), entry.revision.to_string().into());
        let old = Arc::new(old);
        let mut new = match change {
            Change::Replace(new) => new.clone(),
            Change::Patch(patch) => {
                apply_patch(patch, &old, entry.value.len(), &target.resource).await?
            }
        };
        let mut problems = problems.to_vec();
        problems.extend(metadata::normalize_reporting(&target.resource, &mut new)?);
        // A patch that names no version has the current one by now, and is applied again when it loses a race.
        let wanted = preconditions(target, &new, &old, entry.revision)?
            && matches!(change, Change::Replace(_));
        merge(target, &mut new, &old);
        pipeline::finish(context, target, &mut new, Some(&old), problems).await?;
        check_finalizers(target, &new, &old)?;
        if target.resource.generation && generation::spec_changed(&target.resource, &new, &old) {
            bump(&mut new);
        }
        let gone = is_being_deleted(&new)
            && finalizers(&new).next().is_none()
            && !target.resource.strategy.blocks_deletion(&new);
        if !gone && generation::is_same(&new, &old) {
            return Ok(written(entry.value));
        }
        target.resource.store_form(&mut new);
        if context.dry_run {
            return Ok(written(object::encode_at(&new, entry.revision)));
        }
        let (key, expect) = (entry.key, Expect::At(entry.revision));
        let value = object::encode(&new);
        let ttl = target.resource.strategy.time_to_live();
        let urgent = value.size() <= entry.value.len() + URGENT_GROWTH;
        let write = match gone {
            true => Write::Delete {
                key,
                expect,
                last: value,
            },
            false => Write::Put {
                key,
                expect,
                value,
                ttl,
                urgent,
            },
        };
        match context.server.store.write(write).await {
            Ok(entry) => {
                target
                    .resource
                    .strategy
                    .written(context.server, &target.name);
                return Ok(written(entry.value));
            }
            Err(store::Error::Conflict { .. }) if !wanted => {}
            Err(store::Error::Conflict { .. }) => {
                return Err(target.about().modified(&target.name));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(target.about().modified(&target.name))
}

fn written(bytes: bytes::Bytes) -> Written {
    Written { bytes }
}

/// Applies a patch; a large one on the compute pool.
async fn apply_patch(
    patch: &Arc<Patch>,
    old: &Arc<Value>,
    bytes: usize,
    resource: &Arc<Resource>,
) -> Result<Value, ApiError> {
    if !patch.is_large(bytes) {
        return patch.apply(old, resource);
    }
    let (patch, old, resource) = (Arc::clone(patch), Arc::clone(old), Arc::clone(resource));
    compute::run(move |_| patch.apply(&old, &resource)).await?
}

fn bump(object: &mut Value) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    let generation = generation.saturating_add(1);
    meta_mut(object).insert("generation".into(), json!(generation));
}

/// Compares what the client believes with what is; tells whether it named a resource version.
fn preconditions(
    target: &Target,
    new: &Value,
    old: &Value,
    revision: store::Revision,
) -> Result<bool, ApiError> {
    let given = object::name(new);
    if !given.is_empty() && given != target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let given = meta_str(new, "namespace");
    if !given.is_empty() && Some(given) != target.namespace.as_deref() {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let (uid, real) = (meta_str(new, "uid"), meta_str(old, "uid"));
    if !uid.is_empty() && uid != real {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {real}");
        return Err(target.about().conflict(&target.name, &why));
    }
    let asked = meta_str(new, "resourceVersion");
    if asked.is_empty() || asked == "0" {
        return Ok(false);
    }
    let Ok(asked) = asked.parse::<store::Revision>() else {
        let why = "must be a number that a read has given";
        let cause = Cause::invalid("metadata.resourceVersion", &asked.into(), why);
        return Err(target.about().invalid(&target.name, &[cause]));
    };
    if asked != revision {
        return Err(target.about().modified(&target.name));
    }
    Ok(true)
}

/// Takes from the old state what this request may not change.
fn merge(target: &Target, new: &mut Value, old: &Value) {
    if let (true, Some(fields)) = (target.is_status(), old.as_object()) {
        let status = new["status"].take();
        let mut merged = fields.clone();
        match status {
            Value::Null => merged.remove("status"),
            status => merged.insert("status".into(), status),
        };
        *new = Value::Object(merged);
        return;
    }
    let meta = meta_mut(new);
    for field in OWNED_BY_SERVER {
        match old["metadata"].get(field) {
            Some(value) => meta.insert(field.into(), value.clone()),
            None => meta.remove(field),
        };
    }
    for field in ["name", "namespace"] {
        if let Some(value) = old["metadata"].get(field) {
            meta.insert(field.into(), value.clone());
        }
    }
    if let (true, Some(fields)) = (target.resource.status, new.as_object_mut()) {
        match old.get("status") {
            Some(status) => fields.insert("status".into(), status.clone()),
            None => fields.remove("status"),
        };
    }
}

fn check_finalizers(target: &Target, new: &Value, old: &Value) -> Result<(), ApiError> {
    if !is_being_deleted(old) {
        return Ok(());
    }
    let added: Vec<&str> = finalizers(new)
        .filter(|f| !object::has_finalizer(old, f))
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
    );
    let cause = Cause::forbidden("metadata.finalizers", &why);
    Err(target.about().invalid(&target.name, &[cause]))
}
