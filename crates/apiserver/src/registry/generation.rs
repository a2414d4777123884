//! `metadata.generation` and equality of objects.

use serde_json::Value;

use super::Resource;

/// Fields of the metadata that say nothing about whether an object changed.
const BOOKKEEPING: [&str; 2] = ["resourceVersion", "managedFields"];

/// Whether two states of an object are the same, so that nothing needs to be written.
pub(super) fn is_same(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else {
        return new == old;
    };
    let metadata = |object: &serde_json::Map<String, Value>| -> Vec<(String, Value)> {
        let fields = object.get("metadata").and_then(Value::as_object);
        let fields = fields.into_iter().flatten();
        let kept = fields.filter(|(k, _)| !BOOKKEEPING.contains(&k.as_str()));
        kept.map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let rest = |object: &serde_json::Map<String, Value>| {
        object.iter().filter(|(k, _)| *k != "metadata").count()
    };
    rest(new) == rest(old)
        && new
            .iter()
            .filter(|(k, _)| *k != "metadata")
            .all(|(k, v)| old.get(k) == Some(v))
        && metadata(new) == metadata(old)
}

/// Whether what the generation counts has changed: everything but the metadata and, where it is a subresource, the
/// status.
pub(super) fn spec_changed(resource: &Resource, new: &Value, old: &Value) -> bool {
    let counts = |key: &str| match key {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => !resource.status,
        _ => true,
    };
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else {
        return true;
    };
    let differs = |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>| {
        a.iter().any(|(k, v)| counts(k) && b.get(k) != Some(v))
    };
    differs(new, old) || differs(old, new)
}
