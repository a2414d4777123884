//! Strategic merge patch: a merge patch that knows by which field the items of a list are told apart, and the
//! directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…`.
//!
//! Facts: `k8s.io/apimachinery/pkg/util/strategicpatch`; the merge keys are the `patchMergeKey` tags of the types.

use serde_json::{Map, Value};

use crate::status::ApiError;

/// How a list is merged: by the items' key, or as a set of values. Every other list is replaced.
enum ListMerge {
    Key(&'static str),
    Set,
}

/// The lists of the kinds that are served, by the name of the field (names are unambiguous among them).
fn list_merge(kind: &str, path: &[&str]) -> Option<ListMerge> {
    match (kind, path) {
        (_, ["metadata", "ownerReferences"]) => Some(ListMerge::Key("uid")),
        (_, ["metadata", "finalizers"]) => Some(ListMerge::Set),
        ("ServiceAccount", ["secrets" | "imagePullSecrets"]) => Some(ListMerge::Key("name")),
        ("Namespace", ["status", "conditions"]) => Some(ListMerge::Key("type")),
        _ => None,
    }
}

/// Applies `patch` to `target`.
pub(super) fn merge(target: &mut Value, patch: &Value, kind: &str) -> Result<(), ApiError> {
    merge_value(target, patch, kind, &mut Vec::new())
}

fn merge_value<'p>(
    target: &mut Value,
    patch: &'p Value,
    kind: &str,
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
        map.retain(|k, _| keep.iter().any(|kept| kept == k));
    }
    for (name, value) in fields {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            delete_values(map, list, value);
        } else if name.starts_with('$') {
            // $setElementOrder only orders, $retainKeys and $patch are done.
        } else if value.is_null() {
            map.remove(name);
        } else {
            path.push(name);
            let slot = map.entry(name.as_str()).or_insert(Value::Null);
            match (value, list_merge(kind, path)) {
                (Value::Array(items), Some(ListMerge::Key(key))) => {
                    merge_items(slot, items, key, kind, path)?;
                }
                (Value::Array(items), Some(ListMerge::Set)) => add_values(slot, items),
                _ => merge_value(slot, value, kind, path)?,
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
        list.retain(|item| !values.contains(item));
    }
}

fn add_values(slot: &mut Value, values: &[Value]) {
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    if let Some(list) = slot.as_array_mut() {
        for value in values {
            if !list.contains(value) {
                list.push(value.clone());
            }
        }
    }
}

fn merge_items<'p>(
    slot: &mut Value,
    items: &'p [Value],
    key: &str,
    kind: &str,
    path: &mut Vec<&'p str>,
) -> Result<(), ApiError> {
    if items.iter().any(|item| item["$patch"] == "replace") {
        let kept = items.iter().filter(|item| item["$patch"] != "replace");
        *slot = Value::Array(kept.cloned().collect());
        return Ok(());
    }
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    let Some(list) = slot.as_array_mut() else {
        return Ok(());
    };
    for item in items {
        if item[key].is_null() {
            let why = format!(
                "an item of {} does not have the merge key {key:?}",
                path.join(".")
            );
            return Err(ApiError::bad_request(why));
        }
        let position = list.iter().position(|old| old[key] == item[key]);
        match (item["$patch"] == "delete", position) {
            (true, Some(position)) => {
                list.remove(position);
            }
            (true, None) => {}
            (false, Some(position)) => merge_value(&mut list[position], item, kind, path)?,
            (false, None) => {
                let mut new = Value::Null;
                merge_value(&mut new, item, kind, path)?;
                list.push(new);
            }
        }
    }
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
            merge(&mut new, &patch, "ConfigMap").expect("merges");
            assert_eq!(new, expected, "{old} + {patch}");
        }
    }
}
