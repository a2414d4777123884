//! DELETE of an object or of a collection.

use serde_json::{Value, json};

use super::{Call, output::Reply, selection::Selection};
use crate::{
    protobuf,
    registry::{
        Deleted, Target,
        delete::{self, DeleteOptions, Propagation},
    },
    status::ApiError,
};

pub(super) async fn delete(call: &Call) -> Result<Reply, ApiError> {
    let (options, dry_run) = options(call)?;
    let mut context = call
        .query
        .write_context(call.server(), &call.request.user)?;
    context.dry_run |= dry_run;
    match delete::delete(&mut context, &call.target, &options).await? {
        Deleted::Gone(last) => Ok(call.success_reply(&last, &context.warnings)),
        Deleted::Pending(bytes) => call.object_reply(200, &bytes, &context.warnings),
    }
}

pub(super) async fn delete_collection(call: &Call) -> Result<Reply, ApiError> {
    let (options, dry_run) = options(call)?;
    let selection = Selection::parse(call)?;
    let mut context = call
        .query
        .write_context(call.server(), &call.request.user)?;
    context.dry_run |= dry_run;
    let prefix = call.resource().prefix(call.target.namespace.as_deref());
    let page = call.server().store.list(&prefix, None, 0, None)?;
    let revision = page.revision.to_string();
    let mut items = Vec::new();
    for entry in page.entries.iter().filter(|e| selection.selects(&e.value)) {
        let Some(target) = Target::of_entry(call.resource(), entry) else {
            continue;
        };
        match delete::delete(&mut context, &target, &options).await {
            Ok(_) => items.push(entry.value.clone()),
            // Somebody else was faster.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    call.list_reply(&json!({"resourceVersion": revision}), &items)
}

/// From the body, else from the query.
fn options(call: &Call) -> Result<(DeleteOptions, bool), ApiError> {
    let bad =
        |why: &str| ApiError::bad_request(format!("the DeleteOptions cannot be decoded: {why}"));
    let body = &call.request.body;
    let body: Value = match call.request.media_type() {
        _ if body.is_empty() => Value::Null,
        "application/json" => serde_json::from_slice(body).map_err(|e| bad(&e.to_string()))?,
        protobuf::MEDIA_TYPE => protobuf::decode(body).ok_or_else(|| bad("malformed protobuf"))?,
        _ => return Err(ApiError::unsupported_media_type("application/json")),
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
