//! `metav1.Table` and `PartialObjectMetadata`.

use serde_json::{Value, json};

use super::{age, jsonpath};
use crate::kinds::{column::Cell, kind::Kind};

/// The `columnDefinitions`.
pub(crate) fn definitions(kind: &Kind) -> Value {
    let columns = kind.columns.iter().map(|c| {
        json!({
            "name": c.name, "type": c.kind, "format": c.format,
            "description": c.description, "priority": c.priority,
        })
    });
    Value::Array(columns.collect())
}

/// How much of the object stands in each row (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    Metadata,
    Object,
}

/// The row of an object.
pub(crate) fn row(
    kind: &Kind,
    object: &Value,
    include: IncludeObject,
    now: jiff::Timestamp,
) -> Value {
    let cells = kind.columns.iter().map(|column| match &column.cell {
        Cell::Name => object["metadata"]["name"].clone(),
        Cell::AgeOf(paths) => {
            let found = paths.iter().flat_map(|path| jsonpath::find(object, path));
            match found.filter_map(Value::as_str).next() {
                Some(time) => age_of(time, now),
                None => "<unknown>".into(),
            }
        }
        Cell::Path(path) => shown(&jsonpath::find(object, path), &column.kind),
        Cell::Computed(compute) => compute(object),
    });
    let mut row = json!({"cells": cells.collect::<Vec<_>>()});
    match include {
        IncludeObject::None => {}
        IncludeObject::Metadata => row["object"] = partial(object),
        IncludeObject::Object => row["object"] = object.clone(),
    }
    row
}

fn age_of(time: &str, now: jiff::Timestamp) -> Value {
    match time.parse::<jiff::Timestamp>() {
        Ok(then) => age::human(now.as_second() - then.as_second()).into(),
        Err(_) => "<invalid>".into(),
    }
}

fn shown(found: &[&Value], kind: &str) -> Value {
    match (found, kind) {
        // An empty cell, not `<none>`: what Kubernetes shows for custom resources.
        ([], _) => Value::Null,
        ([one @ (Value::Bool(_) | Value::Number(_))], "boolean" | "integer" | "number") => {
            (*one).clone()
        }
        ([Value::String(text)], _) => text.as_str().into(),
        ([one], _) => one.to_string().into(),
        (many, _) => {
            let texts = many
                .iter()
                .map(|v| v.as_str().map_or_else(|| v.to_string(), Into::into));
            texts.collect::<Vec<String>>().join(",").into()
        }
    }
}

/// The metadata alone.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}
