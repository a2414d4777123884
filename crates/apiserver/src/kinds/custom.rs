//! The kinds that a CustomResourceDefinition declares, one for each version.

use std::sync::Arc;

use serde_json::Value;

use super::{
    column::{Cell, Column, age_column, name_column},
    definitions,
    kind::{Kind, SchemaSource, Subresource},
};
use crate::object;

/// Returns the kinds of a definition, with whether each is served. A definition whose names are not accepted has none.
pub(super) fn kinds(definition: &Value) -> Vec<(Kind, bool)> {
    if !definitions::is_established(definition) {
        return Vec::new();
    }
    let versions = definition["spec"]["versions"].as_array();
    let versions = versions.into_iter().flatten();
    versions
        .map(|version| (kind(definition, version), version["served"] == true))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(Into::into).collect()
}

fn kind(definition: &Value, version: &Value) -> Kind {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let all = spec["versions"].as_array();
    let storage = all.and_then(|list| list.iter().find(|v| v["storage"] == true));
    let schema = version["schema"]["openAPIV3Schema"].clone();
    let mut kind = Kind::new(
        &text(&spec["group"]),
        &text(&version["name"]),
        &text(&names["plural"]),
        &text(&names["kind"]),
        SchemaSource::Custom(Arc::new(schema)),
    );
    if let Some(storage) = storage {
        kind.storage_version = text(&storage["name"]);
    }
    kind.singular = text(&names["singular"]);
    kind.list_name = text(&names["listKind"]);
    kind.short_names = texts(&names["shortNames"]);
    kind.categories = texts(&names["categories"]);
    kind.namespaced = spec["scope"] == "Namespaced";
    if version["subresources"]["status"].is_object() {
        kind.subresources = &[Subresource::Status];
    }
    kind.generation = true;
    kind.terminating = object::is_being_deleted(definition);
    kind.columns = columns(&version["additionalPrinterColumns"]);
    kind
}

fn columns(extra: &Value) -> Vec<Column> {
    let mut columns = vec![name_column()];
    for column in extra.as_array().into_iter().flatten() {
        let text = |field: &str| column[field].as_str().unwrap_or_default().to_owned();
        let path = text("jsonPath");
        columns.push(Column {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            description: text("description"),
            priority: column["priority"].as_i64().unwrap_or(0),
            cell: if text("type") == "date" {
                Cell::AgeOf(vec![path])
            } else {
                Cell::Path(path)
            },
        });
    }
    if columns.len() == 1 {
        columns.push(age_column());
    }
    columns
}
