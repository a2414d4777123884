//! DELETE of an object or of a collection.

use serde_json::{Value, json};

use super::{call::Call, reply::Reply, selection::Selection};
use crate::{
    codec::{self, protobuf},
    registry::{
        delete::{self, DeleteOptions, Deleted, Propagation},
        target::Target,
    },
    status::ApiError,
};

pub(super) async fn delete(call: &Call) -> Result<Reply, ApiError> {
    let (options, dry_run) = options(call)?;
    let mut context = call.write_context()?;
    context.dry_run |= dry_run;
    match delete::delete(&mut context, &call.target, &options).await? {
        Deleted::Gone(last) => Ok(call.success_reply(&last, &context.warnings)),
        Deleted::Pending(bytes) => call.object_reply(200, &bytes, &context.warnings),
    }
}

pub(super) async fn delete_collection(call: &Call) -> Result<Reply, ApiError> {
    let (options, dry_run) = options(call)?;
    let selection = Selection::parse(call)?;
    let mut context = call.write_context()?;
    context.dry_run |= dry_run;
    let prefix = call.kind().prefix(call.target.namespace.as_deref());
    let page = call.backend().store.list(&prefix, None, 0, None)?;
    let revision = page.revision.to_string();
    let mut items = Vec::new();
    for entry in page.entries.iter().filter(|e| selection.selects(&e.value)) {
        let Some(target) = Target::of_entry(call.kind(), entry) else {
            continue;
        };
        match delete::delete(&mut context, &target, &options).await {
            Ok(_) => items.push(entry.value.clone()),
            // Another request deleted it meanwhile.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    call.list_reply(&json!({"resourceVersion": revision}), &items)
        .await
}

/// Reads the options from the body, else from the query.
fn options(call: &Call) -> Result<(DeleteOptions, bool), ApiError> {
    let body = match call.request.body.is_empty() {
        true => Value::Null,
        false => {
            let (media_type, body) = (call.request.media_type(), &call.request.body);
            let message = Some(protobuf::DELETE_OPTIONS);
            codec::request::decode(media_type, body, "DeleteOptions", message)?.value
        }
    };
    let dry_run = body["dryRun"]
        .as_array()
        .is_some_and(|list| list.iter().any(|v| v == "All"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let policy = text(&body["propagationPolicy"])
        .or_else(|| call.query.get("propagationPolicy").map(Into::into));
    let orphan =
        body["orphanDependents"] == true || call.query.get("orphanDependents") == Some("true");
    let propagation = match policy.as_deref() {
        None if orphan => Some(Propagation::Orphan),
        None => None,
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some("Orphan") => Some(Propagation::Orphan),
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "propagationPolicy: Unsupported value: {other:?}: supported values: \"Background\", \"Foreground\", \
                 \"Orphan\""
            )));
        }
    };
    let options = DeleteOptions {
        propagation,
        uid: text(&body["preconditions"]["uid"]),
        resource_version: text(&body["preconditions"]["resourceVersion"]),
    };
    Ok((options, dry_run))
}
