//! `metav1.Table` and `PartialObjectMetadata`.

use serde_json::{Value, json};

use super::{age, jsonpath};
use crate::kinds::{
    column::{Cell, Column},
    kind::Kind,
};

/// The most columns of a table. A definition may have more, which are left out.
const MAX_COLUMNS: usize = 100;
/// The most bytes of text in the cells of a row together. A column may name a whole object, so without a limit a table
/// could be a hundred times larger than the objects in it.
const MAX_ROW: usize = 32 << 10;

fn columns(kind: &Kind) -> impl Iterator<Item = &Column> {
    kind.columns.iter().take(MAX_COLUMNS)
}

/// Returns the `columnDefinitions`.
pub(crate) fn definitions(kind: &Kind) -> Value {
    let columns = columns(kind).map(|c| {
        json!({
            "name": c.name, "type": c.kind, "format": c.format,
            "description": c.description, "priority": c.priority,
        })
    });
    Value::Array(columns.collect())
}

/// How much of the object each row contains (`includeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    None,
    Metadata,
    Object,
}

/// Returns the row of an object.
pub(crate) fn row(
    kind: &Kind,
    object: &Value,
    include: IncludeObject,
    now: jiff::Timestamp,
) -> Value {
    let mut left = MAX_ROW;
    let cells = columns(kind).map(|column| match &column.cell {
        Cell::Name => object["metadata"]["name"].clone(),
        Cell::AgeOf(paths) => {
            let found = paths.iter().flat_map(|path| jsonpath::find(object, path));
            match found.filter_map(Value::as_str).next() {
                Some(time) => age_of(time, now),
                None => "<unknown>".into(),
            }
        }
        Cell::Path(path) => shown(&jsonpath::find(object, path), &column.kind, &mut left),
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

/// The cell for what a path finds. Takes the length of its text from `left`, and cuts the text there.
fn shown(found: &[&Value], kind: &str, left: &mut usize) -> Value {
    match (found, kind) {
        // The row is full.
        _ if *left == 0 => Value::Null,
        // Kubernetes shows an empty cell for custom resources, not `<none>`.
        ([], _) => Value::Null,
        ([one @ (Value::Bool(_) | Value::Number(_))], "boolean" | "integer" | "number") => {
            (*one).clone()
        }
        (many, _) => {
            let mut cell = String::new();
            for value in many {
                if !cell.is_empty() {
                    cell.push(',');
                }
                match value {
                    Value::String(text) => cell.push_str(&text[..text.floor_char_boundary(*left)]),
                    other => cell.push_str(&other.to_string()),
                }
                if cell.len() >= *left {
                    cell.truncate(cell.floor_char_boundary(*left));
                    break;
                }
            }
            *left -= cell.len();
            cell.into()
        }
    }
}

/// Returns the `PartialObjectMetadata` of an object.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}
