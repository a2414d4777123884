//! The form of `metadata`, which every kind shares (`metav1.ObjectMeta`).

use serde_json::Value;

use crate::{
    field_path::child,
    kinds::kind::Kind,
    object,
    status::{ApiError, shown},
};

#[derive(Clone, Copy)]
enum Form {
    Text,
    Number,
    TextMap,
    TextList,
    ObjectList,
}

const FIELDS: [(&str, Form); 15] = [
    ("name", Form::Text),
    ("generateName", Form::Text),
    ("namespace", Form::Text),
    ("selfLink", Form::Text),
    ("uid", Form::Text),
    ("resourceVersion", Form::Text),
    ("generation", Form::Number),
    ("creationTimestamp", Form::Text),
    ("deletionTimestamp", Form::Text),
    ("deletionGracePeriodSeconds", Form::Number),
    ("labels", Form::TextMap),
    ("annotations", Form::TextMap),
    ("finalizers", Form::TextList),
    ("ownerReferences", Form::ObjectList),
    ("managedFields", Form::ObjectList),
];

const OWNER_FIELDS: [&str; 6] = [
    "apiVersion",
    "kind",
    "name",
    "uid",
    "controller",
    "blockOwnerDeletion",
];

fn fits(form: Form, value: &Value) -> bool {
    match form {
        Form::Text => value.is_string(),
        Form::Number => value.is_i64() || value.is_u64(),
        Form::TextMap => value
            .as_object()
            .is_some_and(|m| m.values().all(Value::is_string)),
        Form::TextList => value
            .as_array()
            .is_some_and(|l| l.iter().all(Value::is_string)),
        Form::ObjectList => value
            .as_array()
            .is_some_and(|l| l.iter().all(Value::is_object)),
    }
}

/// Checks that the object is of this kind and that its metadata has the right types. Removes null, empty and unknown
/// fields of the metadata; the paths of the unknown ones are added to `unknown`.
pub(super) fn normalize(
    kind: &Kind,
    new: &mut Value,
    unknown: &mut Vec<String>,
) -> Result<(), ApiError> {
    let decode = |why: String| {
        ApiError::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {name}: {why}",
            name = kind.name,
            version = kind.version
        ))
    };
    let Some(fields) = new.as_object_mut() else {
        return Err(decode("the body must be a JSON object".into()));
    };
    match fields.get("metadata") {
        None | Some(Value::Null | Value::Object(_)) => {}
        Some(_) => return Err(decode("metadata must be an object".into())),
    }
    let api_version = kind.api_version();
    for (field, expected) in [
        ("apiVersion", api_version.as_str()),
        ("kind", kind.name.as_str()),
    ] {
        let given = fields.entry(field).or_insert_with(|| expected.into());
        let given = given.as_str().unwrap_or_default();
        if given != expected {
            return Err(ApiError::bad_request(format!(
                "{field} in the data ({given}) does not match the expected {field} ({expected})"
            )));
        }
    }
    let meta = object::meta_mut(new);
    meta.retain(|name, value| {
        let empty = match value {
            Value::Null => true,
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        let known = FIELDS.iter().any(|(known, _)| known == name);
        if !known {
            unknown.push(child("metadata", name));
        }
        known && !empty
    });
    for (name, form) in FIELDS {
        let Some(value) = meta.get_mut(name) else {
            continue;
        };
        // Some clients send null for a label without a value.
        if let (Form::TextMap, Value::Object(map)) = (form, &mut *value) {
            map.values_mut()
                .filter(|v| v.is_null())
                .for_each(|v| *v = "".into());
        }
        if !fits(form, value) {
            return Err(decode(format!(
                "metadata.{name} has the wrong type: {}",
                shown(value)
            )));
        }
    }
    // Not stored: managed fields need server-side apply, and self links are deprecated.
    meta.remove("managedFields");
    meta.remove("selfLink");
    for owner in meta
        .get_mut("ownerReferences")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(owner) = owner.as_object_mut() {
            owner.retain(|name, _| OWNER_FIELDS.contains(&name.as_str()));
        }
    }
    Ok(())
}

/// Normalizes an object that a client sent ([`normalize`]); returns a message for each unknown field.
pub(super) fn normalize_reporting(kind: &Kind, new: &mut Value) -> Result<Vec<String>, ApiError> {
    let mut unknown = Vec::new();
    normalize(kind, new, &mut unknown)?;
    Ok(unknown
        .iter()
        .map(|path| format!("unknown field {path:?}"))
        .collect())
}
