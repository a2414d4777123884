//! The steps between decoding an object and storing it, in the order of Kubernetes: defaults, mutating admission,
//! the fields that the server owns, validation, validating admission.

use std::sync::Arc;

use serde_json::Value;

use super::{
    context::{FieldValidation, WriteContext},
    metadata,
    target::Target,
};
use crate::{
    admission::{
        chain,
        plugin::{AdmissionRequest, Operation},
    },
    compute,
    kinds::{kind::Kind, nulls, strategy::WriteInfo},
    limits::{self, MAX_DEPTH},
    names,
    schema::{self, Effort, Exhausted, TooLarge},
    status::{ApiError, Cause},
};

/// The number of unknown and duplicate fields that a warning or an error lists.
const MAX_REPORTED: usize = 20;

/// From this size on, an object is validated on the compute pool. Below it a validation takes less than a millisecond
/// for ordinary schemas; for others its steps are limited (see [`schema::Effort::inline`]).
const LARGE_OBJECT: usize = 32 << 10;

/// Takes a created or changed object through all steps. Every write passes the limits of [`limits`] here. `problems`
/// are the unknown and duplicate fields that decoding found.
pub(super) async fn finish(
    context: &mut WriteContext<'_>,
    target: &Target,
    new: &mut Value,
    old: Option<&Arc<Value>>,
    mut problems: Vec<String>,
) -> Result<(), ApiError> {
    let kind = &target.kind;
    limits::measure(new, MAX_DEPTH).ok_or_else(limits::too_deep)?;
    kind.prepare_schema().await?;
    let mut unknown = Vec::new();
    shape(kind, new, &mut unknown)?;
    problems.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    report(context, kind, &problems)?;

    let operation = match old {
        Some(_) => Operation::Update,
        None => Operation::Create,
    };
    let mut request = describe(context, target, operation);
    let admission = &context.backend.admission;
    let plugins = match context.plugins && admission.has_plugins() {
        true => {
            request.old_object = old.map(|old| Value::clone(old));
            admission.plugins_for(&request)
        }
        false => Vec::new(),
    };
    for plugin in &plugins {
        chain::mutate(&**plugin, &request, new, &mut context.warnings).await?;
        limits::measure(new, MAX_DEPTH).ok_or_else(limits::too_deep)?;
        shape(kind, new, &mut Vec::new())?;
    }
    let now = context.backend.now();
    let kinds = context.backend.kinds.all();
    let info = WriteInfo {
        now: &now,
        kinds: &kinds,
        subresource: target.subresource.map(|it| it.name()),
    };
    kind.strategy.prepare(new, old.map(AsRef::as_ref), &info);
    let extent = limits::check(new)?;
    validate(target, new, old, extent.bytes).await?;
    for plugin in &plugins {
        chain::validate(&**plugin, &request, Some(new), &mut context.warnings).await?;
    }
    Ok(())
}

/// Normalizes the metadata, prunes unknown fields and fills in defaults.
fn shape(kind: &Kind, new: &mut Value, unknown: &mut Vec<String>) -> Result<(), ApiError> {
    metadata::normalize(kind, new, unknown)?;
    if let Some(schema) = kind.schema() {
        if kind.is_typed() {
            nulls::resolve(schema, new);
        }
        unknown.extend(schema.prune_resource(new));
        schema
            .fill_defaults(new)
            .map_err(|TooLarge| limits::too_large_by_defaults())?;
        schema.normalize_integers(new);
    }
    kind.strategy.default(new);
    Ok(())
}

fn report(
    context: &mut WriteContext<'_>,
    kind: &Kind,
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
            "{name} in version {version:?} cannot be handled as a {name}: strict decoding error: {}",
            shown.join(", "),
            name = kind.name,
            version = kind.version,
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
    let kind = &target.kind;
    let has_rules = kind.schema().is_some_and(|schema| schema.has_rules);
    if bytes < LARGE_OBJECT && !has_rules && !kind.strategy.validates_slowly() {
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
    let kind = &target.kind;
    let mut causes = names::metadata_causes(new);
    if old.is_none()
        && let Some(why) = kind.strategy.name_error(&target.name)
    {
        let name = target.name.as_str().into();
        causes.push(Cause::invalid("metadata.name", &name, &why));
    }
    if let Some(schema) = kind.schema() {
        let found = schema::validate(schema, new, old, effort)?;
        // Kubernetes decodes its own kinds into structs, so there a wrong type is no validation error.
        let wrong_type = found.iter().find(|c| c.reason == "FieldValueTypeInvalid");
        if let (true, Some(cause)) = (kind.is_typed(), wrong_type) {
            return Ok(Err(ApiError::bad_request(format!(
                "{name} in version {version:?} cannot be handled as a {name}: {}: {}",
                cause.field,
                cause.message,
                name = kind.name,
                version = kind.version,
            ))));
        }
        causes.extend(found);
    }
    causes.extend(kind.strategy.validate(new, old));
    Ok(match causes.is_empty() {
        true => Ok(()),
        false => Err(target.about().invalid(&target.name, &causes)),
    })
}

/// Applies the server's own admission rules.
pub(super) fn check_rules(
    context: &WriteContext<'_>,
    target: &Target,
    operation: Operation,
) -> Result<(), ApiError> {
    let request = describe(context, target, operation);
    context.backend.admission.check(&request)
}

/// Asks the plugins whether an object may be deleted.
pub(super) async fn admit_deletion(
    context: &mut WriteContext<'_>,
    target: &Target,
    old: &Value,
) -> Result<(), ApiError> {
    let admission = &context.backend.admission;
    if !context.plugins || !admission.has_plugins() {
        return Ok(());
    }
    let mut request = describe(context, target, Operation::Delete);
    request.old_object = Some(old.clone());
    for plugin in admission.plugins_for(&request) {
        chain::validate(&*plugin, &request, None, &mut context.warnings).await?;
    }
    Ok(())
}

fn describe(context: &WriteContext<'_>, target: &Target, operation: Operation) -> AdmissionRequest {
    let kind = &target.kind;
    AdmissionRequest {
        operation,
        group: kind.group.clone(),
        version: kind.version.clone(),
        resource: kind.plural.clone(),
        subresource: target.subresource.map(|it| it.name().into()),
        kind: kind.name.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        user: context.user.clone(),
        old_object: None,
        dry_run: context.dry_run,
    }
}
