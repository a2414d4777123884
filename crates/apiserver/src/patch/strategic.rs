//! Strategic merge patch: a merge patch that merges lists by the key of their items and understands the directives
//! `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…` and `$setElementOrder/…`.
//!
//! Lists are matched through hash tables, so a patch costs time proportional to its size and the size of the object.
//!
//! Facts: `k8s.io/apimachinery/pkg/util/strategicpatch`; the merge keys are the `patchMergeKey` tags of the types.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::status::ApiError;

/// How a list is merged. A list that is not named is replaced.
#[derive(Clone, Copy)]
pub(crate) enum MergeList {
    /// Items with the same value of this field are merged (`patchMergeKey`).
    Key(&'static str),
    /// The items are a set of values.
    Set,
}

/// The merged lists of a kind, by their path with dots.
pub(crate) type MergeKeys = &'static [(&'static str, MergeList)];

/// The lists that every kind has.
const METADATA: MergeKeys = &[
    ("metadata.ownerReferences", MergeList::Key("uid")),
    ("metadata.finalizers", MergeList::Set),
];

fn list_merge(keys: MergeKeys, path: &[&str]) -> Option<MergeList> {
    let path = path.join(".");
    let mut all = METADATA.iter().chain(keys);
    all.find(|(list, _)| *list == path).map(|(_, merge)| *merge)
}

/// Applies `patch` to `target`.
pub(super) fn merge(target: &mut Value, patch: &Value, keys: MergeKeys) -> Result<(), ApiError> {
    merge_value(target, patch, keys, &mut Vec::new())
}

fn merge_value<'p>(
    target: &mut Value,
    patch: &'p Value,
    keys: MergeKeys,
    path: &mut Vec<&'p str>,
) -> Result<(), ApiError> {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return Ok(());
    };
    match fields.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            let kept = fields.iter().filter(|(k, _)| *k != "$patch");
            *target = Value::Object(kept.map(|(k, v)| (k.clone(), v.clone())).collect());
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            let why = format!("unknown $patch directive {other:?}");
            return Err(ApiError::bad_request(why));
        }
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else {
        return Ok(());
    };
    if let Some(keep) = fields.get("$retainKeys").and_then(Value::as_array) {
        let keep: HashSet<&str> = keep.iter().filter_map(Value::as_str).collect();
        map.retain(|k, _| keep.contains(k.as_str()));
    }
    for (name, value) in fields {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            delete_values(map, list, value);
        } else if name.starts_with('$') {
            // $setElementOrder only orders; $retainKeys and $patch have been handled above.
        } else if value.is_null() {
            map.remove(name);
        } else {
            path.push(name);
            let slot = map.entry(name.as_str()).or_insert(Value::Null);
            match (value, list_merge(keys, path)) {
                (Value::Array(items), Some(MergeList::Key(key))) => {
                    merge_items(slot, items, key, keys, path)?;
                }
                (Value::Array(items), Some(MergeList::Set)) => add_values(slot, items),
                _ => merge_value(slot, value, keys, path)?,
            }
            path.pop();
        }
    }
    Ok(())
}

fn delete_values(map: &mut Map<String, Value>, list: &str, values: &Value) {
    if let (Some(list), Some(values)) = (
        map.get_mut(list).and_then(Value::as_array_mut),
        values.as_array(),
    ) {
        let values: HashSet<&Value> = values.iter().collect();
        list.retain(|item| !values.contains(item));
    }
}

fn add_values(slot: &mut Value, values: &[Value]) {
    let Some(list) = list_in(slot) else { return };
    let mut present: HashSet<Value> = list.iter().cloned().collect();
    for value in values {
        if present.insert(value.clone()) {
            list.push(value.clone());
        }
    }
}

/// The list in `slot`; a value of another type is replaced by an empty list.
fn list_in(slot: &mut Value) -> Option<&mut Vec<Value>> {
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut()
}

fn has_directive(item: &Value, directive: &str) -> bool {
    item.get("$patch").and_then(Value::as_str) == Some(directive)
}

fn merge_items<'p>(
    slot: &mut Value,
    items: &'p [Value],
    key: &str,
    keys: MergeKeys,
    path: &mut Vec<&'p str>,
) -> Result<(), ApiError> {
    if items.iter().any(|item| has_directive(item, "replace")) {
        let kept = items.iter().filter(|item| !has_directive(item, "replace"));
        *slot = Value::Array(kept.cloned().collect());
        return Ok(());
    }
    let Some(list) = list_in(slot) else {
        return Ok(());
    };
    // Deleted items become `None` until the end, so that the positions stay valid.
    let mut merged: Vec<Option<Value>> = std::mem::take(list).into_iter().map(Some).collect();
    let mut positions = HashMap::new();
    for (position, item) in merged.iter().flatten().enumerate() {
        if let Some(value) = item.get(key) {
            positions.entry(value.clone()).or_insert(position);
        }
    }
    for item in items {
        let Some(value) = item.get(key).filter(|value| !value.is_null()) else {
            let why = format!(
                "an item of {} does not have the merge key {key:?}",
                path.join(".")
            );
            return Err(ApiError::bad_request(why));
        };
        if has_directive(item, "delete") {
            if let Some(position) = positions.remove(value) {
                merged[position] = None;
            }
            continue;
        }
        let position = *positions.entry(value.clone()).or_insert_with(|| {
            merged.push(Some(Value::Null));
            merged.len() - 1
        });
        if let Some(old) = &mut merged[position] {
            merge_value(old, item, keys, path)?;
        }
    }
    *list = merged.into_iter().flatten().collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merges_by_key_and_follows_directives() {
        for (old, patch, expected) in [
            (
                json!({"data": {"a": "1", "b": "2"}}),
                json!({"data": {"a": null, "c": "3"}}),
                json!({"data": {"b": "2", "c": "3"}}),
            ),
            (
                json!({"data": {"a": "1"}}),
                json!({"data": {"$patch": "replace", "c": "3"}}),
                json!({"data": {"c": "3"}}),
            ),
            (
                json!({"data": {"a": "1", "b": "2"}}),
                json!({"data": {"$retainKeys": ["b", "c"], "c": "3"}}),
                json!({"data": {"b": "2", "c": "3"}}),
            ),
            (
                json!({"metadata": {"finalizers": ["x/a", "x/b"]}}),
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"], "finalizers": ["x/c"]}}),
                json!({"metadata": {"finalizers": ["x/b", "x/c"]}}),
            ),
            (
                json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}, {"uid": "2", "name": "b"}]}}),
                json!({"metadata": {"ownerReferences": [{"uid": "1", "$patch": "delete"}, {"uid": "2", "name": "c"}]}}),
                json!({"metadata": {"ownerReferences": [{"uid": "2", "name": "c"}]}}),
            ),
        ] {
            let mut new = old.clone();
            merge(&mut new, &patch, &[]).expect("merges");
            assert_eq!(new, expected, "{old} + {patch}");
        }
    }
}
