//! Deletes an object, or begins to.

use serde_json::{Value, json};
use store::{Expect, Write};

use super::{Deleted, MAX_ATTEMPTS, Target, WriteContext, get, pipeline};
use crate::{
    object::{
        self, add_finalizer, finalizers, is_being_deleted, meta_mut, meta_str, remove_finalizer,
    },
    status::ApiError,
};

/// The finalizer that makes the garbage collector delete the dependents first.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that makes the garbage collector release the dependents.
pub(crate) const ORPHAN: &str = "orphan";

/// What becomes of the dependents (`propagationPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// `metav1.DeleteOptions`, as far as they matter here.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

/// Deletes the object `target`; with finalizers it only gets its `deletionTimestamp`.
pub(crate) async fn delete(
    context: &mut WriteContext<'_>,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    for _ in 0..MAX_ATTEMPTS {
        let entry = get(context.server, target)?;
        let strategy = &target.resource.strategy;
        let old = match object::decode(&entry) {
            Ok(old) => old,
            Err(error) => {
                let head = preconditions_of_undecodable(target, options, &entry)?;
                if context.dry_run {
                    return Ok(Deleted::Gone(head));
                }
                let (key, expect) = (entry.key.clone(), Expect::At(entry.revision));
                let value = object::encode(&head);
                let write = Write::Delete {
                    key,
                    expect,
                    last: value,
                };
                match context.server.store.write(write).await {
                    Ok(_) => {
                        tracing::warn!(key = entry.key, %error, "an object that cannot be decoded was deleted");
                        strategy.written(context.server, &target.name);
                        return Ok(Deleted::Gone(head));
                    }
                    Err(store::Error::Conflict { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        preconditions(target, options, &old, entry.revision)?;
        let about = target.about();
        strategy
            .may_delete(&old)
            .map_err(|why| about.forbidden(&target.name, &why))?;
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
            let now = context.server.now();
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
                ttl: strategy.time_to_live(),
                urgent: true,
            },
            false => Write::Delete {
                key,
                expect,
                last: value,
            },
        };
        match context.server.store.write(write).await {
            Ok(entry) => {
                strategy.written(context.server, &target.name);
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

/// Checks the preconditions of the deletion of an object that cannot be decoded, and returns what is readable of it.
///
/// Such an object is removed at once, whatever its finalizers: no controller can read it to do its part, and neither
/// can admission.
fn preconditions_of_undecodable(
    target: &Target,
    options: &DeleteOptions,
    entry: &store::Entry,
) -> Result<Value, ApiError> {
    let head = object::decode_or_head(&entry.value).unwrap_or_else(|_| {
        json!({
            "apiVersion": target.resource.api_version(), "kind": target.resource.kind,
            "metadata": {"name": target.name, "namespace": target.namespace},
        })
    });
    preconditions(target, options, &head, entry.revision)?;
    Ok(head)
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
