//! What every created or changed object goes through between decoding and the store.

use std::sync::Arc;

use serde_json::Value;

use super::{FieldValidation, Moment, Resource, Target, WriteContext, metadata, names};
use crate::{
    admission::{AdmissionRequest, Denied, Operation},
    compute,
    limits::{self, MAX_DEPTH},
    schema::{self, Effort, Exhausted, TooLarge},
    status::{ApiError, Cause},
};

/// More unknown fields than this are not listed.
const MAX_REPORTED: usize = 20;

/// From this size on, an object is validated on the compute pool. Below it a validation takes less than a millisecond
/// for ordinary schemas; for others its steps are limited (see [`schema::Effort::inline`]).
const LARGE_OBJECT: usize = 32 << 10;

/// Prunes, fills in defaults, calls admission, and validates. Every write passes the limits of [`limits`] here.
/// `problems` are those that decoding found.
pub(super) async fn finish(
    context: &mut WriteContext<'_>,
    target: &Target,
    new: &mut Value,
    old: Option<&Arc<Value>>,
    mut problems: Vec<String>,
) -> Result<(), ApiError> {
    let resource = &target.resource;
    let now = context.server.now();
    limits::measure(new, MAX_DEPTH).ok_or_else(limits::too_deep)?;
    resource.prepare_schema().await?;
    let mut unknown = Vec::new();
    shape(resource, new, &mut unknown)?;
    problems.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    report(context, resource, &problems)?;
    let moment = Moment {
        now: &now,
        subresource: target.subresource.as_deref(),
    };
    resource
        .strategy
        .prepare(new, old.map(AsRef::as_ref), &moment);
    let mut extent = limits::check(new)?;

    let request = admission_request(context, target, old.map(AsRef::as_ref));
    let plugins = context.plugins();
    for plugin in plugins.iter().filter(|p| p.handles(&request)) {
        plugin
            .mutate(&request, new, &mut context.warnings)
            .await
            .map_err(|denied| refused(plugin.name(), &denied))?;
        limits::measure(new, MAX_DEPTH).ok_or_else(limits::too_deep)?;
        shape(resource, new, &mut Vec::new())?;
        extent = limits::check(new)?;
    }
    validate(target, new, old, extent.bytes).await?;
    for plugin in plugins.iter().filter(|p| p.handles(&request)) {
        plugin
            .validate(&request, Some(new), &mut context.warnings)
            .await
            .map_err(|denied| refused(plugin.name(), &denied))?;
    }
    Ok(())
}

fn shape(resource: &Resource, new: &mut Value, unknown: &mut Vec<String>) -> Result<(), ApiError> {
    metadata::normalize(resource, new, unknown)?;
    if let Some(schema) = resource.schema() {
        unknown.extend(schema.prune_resource(new));
        schema
            .fill_defaults(new)
            .map_err(|TooLarge| limits::too_large_by_defaults())?;
        schema.normalize_integers(new);
    }
    Ok(())
}

fn report(
    context: &mut WriteContext<'_>,
    resource: &Resource,
    problems: &[String],
) -> Result<(), ApiError> {
    if problems.is_empty() {
        return Ok(());
    }
    let shown = &problems[..problems.len().min(MAX_REPORTED)];
    match context.field_validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            context.warnings.extend(shown.iter().cloned());
            Ok(())
        }
        FieldValidation::Strict => Err(ApiError::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
            shown.join(", "),
            kind = resource.kind,
            version = resource.version,
        ))),
    }
}

/// Validates the object: on the compute pool if it is large, if its schema has CEL rules, or if the validation takes
/// more steps than an async worker may spend on one request.
async fn validate(
    target: &Target,
    new: &mut Value,
    old: Option<&Arc<Value>>,
    bytes: usize,
) -> Result<(), ApiError> {
    let resource = &target.resource;
    let has_rules = resource.schema().is_some_and(|schema| schema.has_rules);
    if bytes < LARGE_OBJECT && !has_rules && !resource.strategy.validates_slowly() {
        let effort = Effort::inline();
        if let Ok(result) = validate_with(target, new, old.map(AsRef::as_ref), effort) {
            return result;
        }
    }
    let (target, old) = (target.clone(), old.cloned());
    let object = std::mem::take(new);
    let (object, result) = compute::run(move |token| {
        let effort = Effort::pool(token);
        let result = validate_with(&target, &object, old.as_deref(), effort);
        let result = result.unwrap_or_else(|Exhausted| {
            Err(match token.is_stopped() {
                true => compute::timed_out(),
                false => schema::too_many_steps(),
            })
        });
        (object, result)
    })
    .await?;
    *new = object;
    result
}

fn validate_with(
    target: &Target,
    new: &Value,
    old: Option<&Value>,
    effort: Effort<'_>,
) -> Result<Result<(), ApiError>, Exhausted> {
    let resource = &target.resource;
    let mut causes = names::metadata_causes(new);
    if old.is_none()
        && let Some(why) = resource.name_error(&target.name)
    {
        causes.push(Cause::invalid(
            "metadata.name",
            &target.name.as_str().into(),
            &why,
        ));
    }
    if let Some(schema) = resource.schema() {
        let found = schema::validate(schema, new, old, effort)?;
        // Kubernetes decodes its own kinds into structs, so that a wrong type is no validation error there.
        let wrong_type = found.iter().find(|c| c.reason == "FieldValueTypeInvalid");
        if let (true, Some(cause)) = (resource.built_in, wrong_type) {
            return Ok(Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {}: {}",
                cause.field,
                cause.message,
                kind = resource.kind,
                version = resource.version,
            ))));
        }
        causes.extend(found);
    }
    causes.extend(resource.strategy.validate(new, old));
    Ok(match causes.is_empty() {
        true => Ok(()),
        false => Err(target.about().invalid(&target.name, &causes)),
    })
}

/// Asks the plugins about a deletion.
pub(super) async fn admit_deletion(
    context: &mut WriteContext<'_>,
    target: &Target,
    old: &Value,
) -> Result<(), ApiError> {
    let plugins = context.plugins();
    if plugins.is_empty() {
        return Ok(());
    }
    let mut request = admission_request(context, target, Some(old));
    request.operation = Operation::Delete;
    for plugin in plugins.iter().filter(|p| p.handles(&request)) {
        plugin
            .validate(&request, None, &mut context.warnings)
            .await
            .map_err(|denied| refused(plugin.name(), &denied))?;
    }
    Ok(())
}

fn admission_request(
    context: &WriteContext<'_>,
    target: &Target,
    old: Option<&Value>,
) -> AdmissionRequest {
    AdmissionRequest {
        operation: if old.is_some() {
            Operation::Update
        } else {
            Operation::Create
        },
        group: target.resource.group.clone(),
        version: target.resource.version.clone(),
        resource: target.resource.plural.clone(),
        subresource: target.subresource.clone(),
        kind: target.resource.kind.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        user: context.user.clone(),
        old_object: if context.admission {
            old.cloned()
        } else {
            None
        },
        dry_run: context.dry_run,
    }
}

fn refused(plugin: &str, denied: &Denied) -> ApiError {
    let reason = match denied.code {
        400 => "BadRequest",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        500.. => "InternalError",
        _ => "Forbidden",
    };
    let message = format!(
        "admission webhook {plugin:?} denied the request: {}",
        denied.message
    );
    ApiError::new(denied.code, reason, message)
}
