//! Changes an object: to a new state from the client, or by a patch of the current state. A change that describes
//! the whole object can also create it.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use store::{Expect, Write};

use super::{
    MAX_ATTEMPTS, context::WriteContext, create, generation, metadata, pipeline, target::Target,
};
use crate::{
    compute, conversion,
    kinds::kind::Kind,
    object::{self, finalizers, is_being_deleted, meta_mut, meta_str},
    patch::Patch,
    status::{ApiError, Cause},
};

/// A change of an object.
pub(crate) enum Change {
    /// Replaces the object by this state.
    Replace(Value),
    /// Applies this patch to the current state.
    Patch(Arc<Patch>),
}

impl From<Patch> for Change {
    fn from(patch: Patch) -> Self {
        Self::Patch(Arc::new(patch))
    }
}

impl Change {
    /// Returns the object to create where none exists; `None`: the change needs an existing object.
    ///
    /// Server-side apply will be a second change that can create.
    fn initial(&self, kind: &Kind) -> Option<&Value> {
        match self {
            Self::Replace(new) if kind.create_on_update => Some(new),
            Self::Replace(_) | Self::Patch(_) => None,
        }
    }

    /// Returns the state that the change makes of `old`, whose encoded size is `bytes`. A large patch is applied on the
    /// compute pool.
    async fn apply(&self, kind: &Kind, old: &Arc<Value>, bytes: usize) -> Result<Value, ApiError> {
        let merge_keys = kind.merge_keys.unwrap_or_default();
        match self {
            Self::Replace(new) => Ok(new.clone()),
            Self::Patch(patch) if !patch.is_large(bytes) => patch.apply(old, merge_keys),
            Self::Patch(patch) => {
                let (patch, old) = (Arc::clone(patch), Arc::clone(old));
                compute::run(move |_| patch.apply(&old, merge_keys)).await?
            }
        }
    }
}

/// The outcome of a change.
pub(crate) struct Updated {
    /// The encoded object.
    pub(crate) bytes: Bytes,
    /// Whether the change created the object.
    pub(crate) created: bool,
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

/// Changes the object `target`, or creates it if the change can. A change without effect is not written.
pub(crate) async fn update(
    context: &mut WriteContext<'_>,
    target: &Target,
    change: &Change,
    problems: &[String],
) -> Result<Updated, ApiError> {
    let kind = &target.kind;
    for _ in 0..MAX_ATTEMPTS {
        let Some(entry) = context.backend.store.get(&target.key()) else {
            let initial = change.initial(kind);
            let initial = initial.ok_or_else(|| target.about().not_found(&target.name))?;
            match create_from(context, target, initial, problems).await {
                // Another request created the object meanwhile: change that one.
                Err(error) if error.reason == "AlreadyExists" => continue,
                created => return created,
            }
        };
        let mut old = object::decode(&entry)?;
        conversion::from_stored(kind, &mut old);
        meta_mut(&mut old).insert("resourceVersion".into(), entry.revision.to_string().into());
        let old = Arc::new(old);
        let mut new = change.apply(kind, &old, entry.value.len()).await?;
        let mut problems = problems.to_vec();
        problems.extend(metadata::normalize_reporting(kind, &mut new)?);
        require_version(target, change, &new)?;
        // A patch that names no version has the current one by now, and is applied again if it loses a race.
        let wanted = preconditions(target, &new, &old, entry.revision)?
            && matches!(change, Change::Replace(_));
        merge(target, &mut new, &old);
        pipeline::finish(context, target, &mut new, Some(&old), problems).await?;
        check_finalizers(target, &new, &old)?;
        if kind.generation && generation::spec_changed(kind, &new, &old) {
            bump(&mut new);
        }
        let gone = is_being_deleted(&new)
            && finalizers(&new).next().is_none()
            && !kind.strategy.blocks_deletion(&new);
        if !gone && generation::is_same(&new, &old) {
            return Ok(changed(entry.value));
        }
        conversion::to_stored(kind, &mut new);
        if context.dry_run {
            return Ok(changed(object::encode_at(&new, entry.revision)));
        }
        let (key, expect) = (entry.key, Expect::At(entry.revision));
        let value = object::encode(&new);
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
                ttl: kind.time_to_live,
                urgent,
            },
        };
        match context.backend.commit(target, write).await {
            Ok(entry) => return Ok(changed(entry.value)),
            Err(store::Error::Conflict { .. }) if !wanted => {}
            Err(store::Error::Conflict { .. }) => {
                return Err(target.about().modified(&target.name));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(target.about().modified(&target.name))
}

fn changed(bytes: Bytes) -> Updated {
    Updated {
        bytes,
        created: false,
    }
}

/// Creates the object of a change that found none.
async fn create_from(
    context: &mut WriteContext<'_>,
    target: &Target,
    initial: &Value,
    problems: &[String],
) -> Result<Updated, ApiError> {
    if target.subresource.is_some() {
        return Err(target.about().not_found(&target.name));
    }
    let mut body = initial.clone();
    if let Some(meta) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        // The version names the object that the client saw, which does not exist any more.
        meta.remove("resourceVersion");
    }
    let bytes = create::create(context, target.clone(), body, problems.to_vec()).await?;
    Ok(Updated {
        bytes,
        created: true,
    })
}

/// Refuses a replacement without a version, which would overwrite changes that the client has not seen, where the
/// kind does not allow it.
fn require_version(target: &Target, change: &Change, new: &Value) -> Result<(), ApiError> {
    let blind = meta_str(new, "resourceVersion").is_empty();
    if !blind || target.kind.unconditional_update || !matches!(change, Change::Replace(_)) {
        return Ok(());
    }
    let why = "must be specified for an update";
    let cause = Cause::invalid("metadata.resourceVersion", &0.into(), why);
    Err(target.about().invalid(&target.name, &[cause]))
}

fn bump(object: &mut Value) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    let generation = generation.saturating_add(1);
    meta_mut(object).insert("generation".into(), json!(generation));
}

/// Checks the name, UID and version that the client gave against the current object; returns whether it gave a
/// version.
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

/// Takes from the old state the fields that this request cannot change.
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
    if let (true, Some(fields)) = (target.kind.has_status(), new.as_object_mut()) {
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
