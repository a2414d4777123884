//! What every created or changed object goes through between decoding and the store.

use serde_json::Value;

use super::{FieldValidation, Moment, Resource, Target, WriteContext, metadata, names};
use crate::{
    admission::{AdmissionRequest, Denied, Operation},
    schema,
    status::{ApiError, Cause},
};

/// More unknown fields than this are not listed.
const MAX_REPORTED: usize = 20;

/// Prunes, fills in defaults, asks admission, validates. `extra` are problems found while decoding.
pub(super) async fn finish(
    context: &mut WriteContext<'_>,
    target: &Target,
    new: &mut Value,
    old: Option<&Value>,
    mut problems: Vec<String>,
) -> Result<(), ApiError> {
    let resource = &target.resource;
    let now = context.server.now();
    let mut unknown = Vec::new();
    shape(resource, new, &mut unknown)?;
    problems.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    report(context, resource, &problems)?;
    let moment = Moment {
        now: &now,
        subresource: target.subresource.as_deref(),
    };
    resource.strategy.prepare(new, old, &moment);

    let request = admission_request(context, target, old);
    let plugins = context.plugins();
    for plugin in plugins.iter().filter(|p| p.handles(&request)) {
        plugin
            .mutate(&request, new, &mut context.warnings)
            .await
            .map_err(|denied| refused(plugin.name(), &denied))?;
        shape(resource, new, &mut Vec::new())?;
    }
    validate(target, new, old)?;
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
        schema.fill_defaults(new);
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

fn validate(target: &Target, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
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
        let found = schema::validate(schema, new, old);
        // Kubernetes decodes its own kinds into structs, so that a wrong type is no validation error there.
        let wrong_type = found.iter().find(|c| c.reason == "FieldValueTypeInvalid");
        if let (true, Some(cause)) = (resource.built_in, wrong_type) {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {}: {}",
                cause.field,
                cause.message,
                kind = resource.kind,
                version = resource.version,
            )));
        }
        causes.extend(found);
    }
    causes.extend(resource.strategy.validate(new, old));
    if causes.is_empty() {
        Ok(())
    } else {
        Err(target.about().invalid(&target.name, &causes))
    }
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
