//! Objects: JSON with `apiVersion`, `kind` and `metadata`, and how they are encoded in the store.
//!
//! An encoded object begins `{"apiVersion":"…","kind":"…","metadata":{"resourceVersion":"N"`, so that the revision
//! and the version can be replaced without decoding the rest.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::status::ApiError;

const BEFORE_REVISION: &[u8] = b",\"metadata\":{\"resourceVersion\":\"";

/// Returns the map at a path of field names, creating missing parts; `None` if a value of another type is in the way.
pub(crate) fn map_at<'o>(
    object: &'o mut Value,
    path: &[&str],
) -> Option<&'o mut Map<String, Value>> {
    if object.is_null() {
        *object = Value::Object(Map::new());
    }
    let map = object.as_object_mut()?;
    match path {
        [] => Some(map),
        [name, rest @ ..] => map_at(map.entry(*name).or_insert(Value::Null), rest),
    }
}

/// Sets a field of an object.
pub(crate) fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(field.into(), value);
    }
}

/// Returns the metadata, creating it if it is missing. The caller has checked that it is an object if it is there.
pub(crate) fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    match &mut object["metadata"] {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// Returns a string of the metadata, or an empty one if it is missing.
pub(crate) fn meta_str<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    meta_str(object, "name")
}

/// Returns the names of the finalizers.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let list = object["metadata"]["finalizers"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str)
}

pub(crate) fn has_finalizer(object: &Value, name: &str) -> bool {
    finalizers(object).any(|f| f == name)
}

pub(crate) fn add_finalizer(object: &mut Value, name: &str) {
    if !has_finalizer(object, name) {
        let list = meta_mut(object)
            .entry("finalizers")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Some(list) = list.as_array_mut() {
            list.push(name.into());
        }
    }
}

pub(crate) fn remove_finalizer(object: &mut Value, name: &str) {
    let meta = meta_mut(object);
    let Some(list) = meta.get_mut("finalizers").and_then(Value::as_array_mut) else {
        return;
    };
    list.retain(|f| f != name);
    if list.is_empty() {
        meta.remove("finalizers");
    }
}

pub(crate) fn is_being_deleted(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn push_json(out: &mut Vec<u8>, value: &Value) {
    // Writing JSON to memory cannot fail, because keys are strings and a Vec accepts every write.
    let _ = serde_json::to_writer(out, value);
}

fn push_fields<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a String, &'a Value)>) {
    for (key, value) in fields {
        out.push(b',');
        let _ = serde_json::to_writer(&mut *out, key);
        out.push(b':');
        push_json(out, value);
    }
}

/// Encodes an object for the store, which inserts the revision.
pub(crate) fn encode(object: &Value) -> store::Value {
    let mut before = Vec::with_capacity(128);
    before.extend_from_slice(b"{\"apiVersion\":");
    push_json(&mut before, &object["apiVersion"]);
    before.extend_from_slice(b",\"kind\":");
    push_json(&mut before, &object["kind"]);
    before.extend_from_slice(BEFORE_REVISION);
    let mut after = Vec::with_capacity(512);
    after.push(b'"');
    if let Some(meta) = object["metadata"].as_object() {
        push_fields(
            &mut after,
            meta.iter().filter(|(k, _)| *k != "resourceVersion"),
        );
    }
    after.push(b'}');
    if let Some(object) = object.as_object() {
        let first = ["apiVersion", "kind", "metadata"];
        push_fields(
            &mut after,
            object.iter().filter(|(k, _)| !first.contains(&k.as_str())),
        );
    }
    after.push(b'}');
    store::Value {
        before: before.into(),
        after: Some(after.into()),
    }
}

/// Encodes an object at a revision, for the answer to a dry run.
pub(crate) fn encode_at(object: &Value, revision: store::Revision) -> Bytes {
    let value = encode(object);
    let mut out = value.before.to_vec();
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(value.after.as_deref().unwrap_or_default());
    out.into()
}

/// Decodes an entry of the store.
pub(crate) fn decode(entry: &store::Entry) -> Result<Value, ApiError> {
    serde_json::from_slice(&entry.value).map_err(|error| {
        ApiError::internal(format!(
            "the stored object {} cannot be decoded: {error}",
            entry.key
        ))
    })
}

/// The parts of an object that decode without entering the rest: a damaged or too deeply nested object still shows
/// them.
#[derive(serde::Deserialize)]
struct Head {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    metadata: Map<String, Value>,
}

/// Decodes an object, or only its `apiVersion`, `kind` and `metadata` if the rest cannot be decoded.
pub(crate) fn decode_or_head(bytes: &[u8]) -> Result<Value, ApiError> {
    let decoded = serde_json::from_slice(bytes).or_else(|_: serde_json::Error| {
        // Skipping a value does not recurse, so its depth does not matter here.
        let head: Head = serde_json::from_slice(bytes)?;
        Ok(serde_json::json!({
            "apiVersion": head.api_version, "kind": head.kind, "metadata": head.metadata,
        }))
    });
    decoded.map_err(|error: serde_json::Error| {
        ApiError::internal(format!("a stored object cannot be decoded: {error}"))
    })
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, pattern)
}

/// Returns whether a text occurs in an encoded object.
pub(crate) fn contains(bytes: &[u8], pattern: &[u8]) -> bool {
    find(bytes, pattern).is_some()
}

/// Returns the object with another revision, for a watcher whose selection the object has left.
pub(crate) fn with_revision(bytes: &Bytes, revision: store::Revision) -> Bytes {
    let Some(start) = find(bytes, BEFORE_REVISION).map(|at| at + BEFORE_REVISION.len()) else {
        return bytes.clone();
    };
    let digits = bytes[start..]
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let mut out = bytes[..start].to_vec();
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(&bytes[start + digits..]);
    out.into()
}

/// Returns the object with another `apiVersion`. The versions of one kind share the shape of their schema (conversion
/// strategy `None`).
pub(crate) fn with_api_version(bytes: &Bytes, api_version: &str) -> Bytes {
    let wanted = format!("{{\"apiVersion\":\"{api_version}\"");
    if bytes.starts_with(wanted.as_bytes()) {
        return bytes.clone();
    }
    let Some(rest) = find(bytes, b",\"kind\":") else {
        return bytes.clone();
    };
    let mut out = wanted.into_bytes();
    out.extend_from_slice(&bytes[rest..]);
    out.into()
}
