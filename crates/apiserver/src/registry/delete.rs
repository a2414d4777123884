//! Deletes an object, or marks it as being deleted while finalizers keep it.

use bytes::Bytes;
use serde_json::{Value, json};
use store::{Expect, Write};

use super::{MAX_ATTEMPTS, context::WriteContext, pipeline, target::Target};
use crate::{
    admission::plugin::Operation,
    object::{
        self, add_finalizer, finalizers, is_being_deleted, meta_mut, meta_str, remove_finalizer,
    },
    status::ApiError,
};

/// The finalizer that makes the garbage collector delete the dependents first.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that makes the garbage collector release the dependents.
pub(crate) const ORPHAN: &str = "orphan";

/// The treatment of the dependents (`propagationPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// The options of a deletion (`metav1.DeleteOptions`).
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

/// The outcome of a deletion.
pub(crate) enum Deleted {
    /// The object is deleted; its last state.
    Gone(Value),
    /// The object stays until its finalizers are removed.
    Pending(Bytes),
}

/// Deletes the object `target`. An object with finalizers only gets its `deletionTimestamp`.
pub(crate) async fn delete(
    context: &mut WriteContext<'_>,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    for _ in 0..MAX_ATTEMPTS {
        let entry = context.backend.get(target)?;
        let old = match object::decode(&entry) {
            Ok(old) => old,
            Err(error) => match delete_undecodable(context, target, options, &entry, &error).await?
            {
                Some(deleted) => return Ok(deleted),
                None => continue,
            },
        };
        preconditions(target, options, &old, entry.revision)?;
        let strategy = &target.kind.strategy;
        pipeline::check_rules(context, target, Operation::Delete)?;
        pipeline::admit_deletion(context, target, &old).await?;

        let mut new = old.clone();
        match options.propagation {
            None => {}
            Some(Propagation::Background) => {
                remove_finalizer(&mut new, ORPHAN);
                remove_finalizer(&mut new, FOREGROUND);
            }
            Some(Propagation::Foreground) => {
                remove_finalizer(&mut new, ORPHAN);
                add_finalizer(&mut new, FOREGROUND);
            }
            Some(Propagation::Orphan) => {
                remove_finalizer(&mut new, FOREGROUND);
                add_finalizer(&mut new, ORPHAN);
            }
        }
        let pending = finalizers(&new).next().is_some() || strategy.blocks_deletion(&new);
        if pending && !is_being_deleted(&new) {
            let now = context.backend.now();
            let meta = meta_mut(&mut new);
            meta.insert("deletionTimestamp".into(), now.as_str().into());
            meta.insert("deletionGracePeriodSeconds".into(), json!(0));
            if let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
                meta.insert("generation".into(), json!(generation.saturating_add(1)));
            }
            strategy.begin_deletion(&mut new, &now);
        }
        if pending && new == old {
            return Ok(Deleted::Pending(entry.value));
        }
        if context.dry_run {
            return Ok(match pending {
                true => Deleted::Pending(object::encode_at(&new, entry.revision)),
                false => Deleted::Gone(new),
            });
        }
        let (key, expect) = (entry.key, Expect::At(entry.revision));
        let value = object::encode(&new);
        let write = match pending {
            true => Write::Put {
                key,
                expect,
                value,
                ttl: target.kind.time_to_live,
                urgent: true,
            },
            false => Write::Delete {
                key,
                expect,
                last: value,
            },
        };
        match context.backend.commit(target, write).await {
            Ok(entry) => {
                return Ok(match pending {
                    true => Deleted::Pending(entry.value),
                    false => Deleted::Gone(new),
                });
            }
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(target.about().modified(&target.name))
}

/// Deletes an object that cannot be decoded; `None`: another write was faster.
///
/// The object is removed at once, whatever its finalizers: no controller can read it to do its part, and neither can
/// admission.
async fn delete_undecodable(
    context: &WriteContext<'_>,
    target: &Target,
    options: &DeleteOptions,
    entry: &store::Entry,
    fault: &ApiError,
) -> Result<Option<Deleted>, ApiError> {
    let head = object::decode_or_head(&entry.value).unwrap_or_else(|_| {
        json!({
            "apiVersion": target.kind.api_version(), "kind": target.kind.name,
            "metadata": {"name": target.name, "namespace": target.namespace},
        })
    });
    preconditions(target, options, &head, entry.revision)?;
    if context.dry_run {
        return Ok(Some(Deleted::Gone(head)));
    }
    let write = Write::Delete {
        key: entry.key.clone(),
        expect: Expect::At(entry.revision),
        last: object::encode(&head),
    };
    match context.backend.commit(target, write).await {
        Ok(_) => {
            tracing::warn!(key = entry.key, error = %fault, "an object that cannot be decoded was deleted");
            Ok(Some(Deleted::Gone(head)))
        }
        Err(store::Error::Conflict { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn preconditions(
    target: &Target,
    options: &DeleteOptions,
    old: &Value,
    revision: store::Revision,
) -> Result<(), ApiError> {
    let real = meta_str(old, "uid");
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != real) {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {real}");
        return Err(target.about().conflict(&target.name, &why));
    }
    let revision = revision.to_string();
    if let Some(asked) = options
        .resource_version
        .as_deref()
        .filter(|asked| *asked != revision)
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {asked}, ResourceVersion in object meta: {revision}"
        );
        return Err(target.about().conflict(&target.name, &why));
    }
    Ok(())
}
