//! `metadata.generation` and equality of objects.

use serde_json::Value;

use crate::kinds::kind::Kind;

/// Fields of the metadata that do not count as a change of the object.
const BOOKKEEPING: [&str; 2] = ["resourceVersion", "managedFields"];

/// Returns whether two states of an object are the same, so that nothing needs to be written.
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

/// Returns whether the generation increases: something changed that is neither metadata nor a status with a
/// subresource of its own.
pub(super) fn spec_changed(kind: &Kind, new: &Value, old: &Value) -> bool {
    let counts = |key: &str| match key {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => !kind.has_status(),
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
