//! OpenAPI, as far as kubectl and code generators read it: the schema of every kind, and the paths with the parameters
//! that kubectl requires to be there before it uses them (`fieldValidation`, `dryRun`).

use serde_json::{Map, Value, json};

use super::{groups, in_version, reviews_in};
use crate::kinds::{
    catalog::Catalog,
    kind::{Kind, SchemaSource, Verb},
    typed,
};

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// Answers `/openapi/v3`, the index of the documents. The hash makes clients fetch a document again after a change.
pub(crate) fn index(catalog: &Catalog, revision: u64) -> Value {
    let kinds = catalog.all();
    let mut paths = Map::new();
    for (group, versions) in groups(&kinds) {
        for version in versions {
            let path = path_of(&group, &version);
            let url = format!("/openapi/v3/{path}?hash={revision:016X}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// Returns the document of one group and version, OpenAPI 3.0.
pub(crate) fn v3(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let kinds = catalog.all();
    let known = groups(&kinds).get(group)?.iter().any(|v| v == version);
    if !known {
        return None;
    }
    let mut schemas = Map::new();
    let mut paths = Map::new();
    schemas.extend(typed::object_meta().1);
    schemas.extend(typed::status().1);
    for kind in in_version(&kinds, group, version) {
        let name = component(kind, &mut schemas);
        list_component(kind, &name, &mut schemas);
        add_paths(kind, &name, &mut paths);
    }
    for review in reviews_in(group, version) {
        let path = format!("/apis/{group}/{version}/{}", review.plural);
        let gvk = json!({"group": group, "version": version, "kind": review.kind});
        let post = json!({"x-kubernetes-action": "post", "x-kubernetes-group-version-kind": gvk, "responses": {}});
        paths.insert(path, json!({"post": post}));
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "rdd", "version": "v1"},
        "paths": paths, "components": {"schemas": schemas},
    }))
}

/// Returns one document with all kinds, OpenAPI 2.0 (Swagger).
pub(crate) fn v2(catalog: &Catalog) -> Value {
    let kinds = catalog.all();
    let (mut definitions, mut paths) = (Map::new(), Map::new());
    for kind in kinds.values() {
        let name = component(kind, &mut definitions);
        list_component(kind, &name, &mut definitions);
        add_paths(kind, &name, &mut paths);
    }
    // Version 2 keeps definitions at another path, and its responses have no `content`.
    let mut definitions = Value::Object(definitions);
    relocate(&mut definitions);
    for path in paths.values_mut().filter_map(Value::as_object_mut) {
        for operation in path.values_mut() {
            operation["responses"] = json!({"200": {"description": "OK"}});
        }
    }
    json!({
        "swagger": "2.0", "info": {"title": "rdd", "version": "v1"},
        "paths": paths, "definitions": definitions,
    })
}

fn relocate(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get_mut("$ref") {
                *reference = reference.replace("#/components/schemas/", "#/definitions/");
            }
            map.values_mut().for_each(relocate);
        }
        Value::Array(items) => items.iter_mut().for_each(relocate),
        _ => {}
    }
}

fn gvk(kind: &Kind, name: &str) -> Value {
    json!([{"group": kind.group, "version": kind.version, "kind": name}])
}

/// Adds the schema of a kind; returns its name.
fn component(kind: &Kind, schemas: &mut Map<String, Value>) -> String {
    let (name, mut schema) = match &kind.schema {
        SchemaSource::Custom(source) => {
            let reversed: Vec<&str> = kind.group.rsplit('.').collect();
            let name = format!("{}.{}.{}", reversed.join("."), kind.version, kind.name);
            schemas.extend(typed::object_meta().1);
            (name, custom_schema(source))
        }
        SchemaSource::Typed(build) => {
            let (name, mut definitions) = build();
            let schema = definitions.remove(name).unwrap_or_default();
            schemas.extend(definitions);
            (name.to_owned(), schema)
        }
    };
    if let Some(fields) = schema.as_object_mut() {
        fields.insert(
            "x-kubernetes-group-version-kind".into(),
            gvk(kind, &kind.name),
        );
    }
    schemas.insert(name.clone(), schema);
    name
}

/// Completes the schema of a custom resource with the fields that every object has.
fn custom_schema(source: &Value) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let reference = format!("#/components/schemas/{}", typed::OBJECT_META);
    let standard = [
        (
            "apiVersion",
            text("The versioned schema of this representation of an object."),
        ),
        (
            "kind",
            text("The REST resource that this object represents."),
        ),
        (
            "metadata",
            json!({"allOf": [{"$ref": reference}], "description": "Standard object's metadata."}),
        ),
    ];
    let mut schema = source.clone();
    if let Some(fields) = schema.as_object_mut() {
        let properties = fields.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.extend(standard.map(|(name, value)| (name.to_owned(), value)));
        }
    }
    schema
}

fn list_component(kind: &Kind, item: &str, schemas: &mut Map<String, Value>) {
    let name = item.replace(&format!(".{}", kind.name), &format!(".{}", kind.list_name));
    let schema = json!({
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            "items": {"type": "array", "items": {"$ref": format!("#/components/schemas/{item}")}},
        },
        "x-kubernetes-group-version-kind": gvk(kind, &kind.list_name),
    });
    schemas.insert(name, schema);
}

fn parameter(name: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}, "type": "string"})
}

/// Adds the paths of a kind, with the verbs that it has.
fn add_paths(kind: &Kind, component: &str, paths: &mut Map<String, Value>) {
    let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.name});
    let content = json!({
        "application/json": {"schema": {"$ref": format!("#/components/schemas/{component}")}},
    });
    let operation = |verb: Verb| {
        let action = match verb {
            Verb::Create => "post",
            Verb::Update => "put",
            other => other.name(),
        };
        let mut operation = json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk,
            "responses": {"200": {"description": "OK", "content": content}},
        });
        if !matches!(verb, Verb::Get | Verb::List) {
            operation["parameters"] = json!([
                parameter("dryRun"),
                parameter("fieldManager"),
                parameter("fieldValidation")
            ]);
        }
        if verb == Verb::Patch {
            operation["requestBody"] = json!({"content": patch_bodies(kind)});
        }
        operation
    };
    let operations = |verbs: &[Verb], methods: &[(&str, Verb)]| -> Value {
        let served = methods.iter().filter(|(_, verb)| verbs.contains(verb));
        let operations = served.map(|(method, verb)| ((*method).to_owned(), operation(*verb)));
        Value::Object(operations.collect())
    };
    let base = format!("/{}", path_of(&kind.group, &kind.version));
    let collection = match kind.namespaced {
        true => format!("{base}/namespaces/{{namespace}}/{}", kind.plural),
        false => format!("{base}/{}", kind.plural),
    };
    if kind.namespaced {
        let all = format!("{base}/{}", kind.plural);
        paths.insert(all, operations(kind.verbs, &[("get", Verb::List)]));
    }
    let item = format!("{collection}/{{name}}");
    let collection_methods = [
        ("get", Verb::List),
        ("post", Verb::Create),
        ("delete", Verb::DeleteCollection),
    ];
    let item_methods = [
        ("get", Verb::Get),
        ("put", Verb::Update),
        ("patch", Verb::Patch),
        ("delete", Verb::Delete),
    ];
    paths.insert(collection, operations(kind.verbs, &collection_methods));
    for subresource in kind.subresources {
        let path = format!("{item}/{}", subresource.name());
        paths.insert(path, operations(subresource.verbs(), &item_methods));
    }
    paths.insert(item, operations(kind.verbs, &item_methods));
}

/// The media types of a kind's patches.
fn patch_bodies(kind: &Kind) -> Value {
    let mut media = vec![
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    if kind.merge_keys.is_some() {
        media.push("application/strategic-merge-patch+json");
    }
    let bodies = media
        .into_iter()
        .map(|media| (media.to_owned(), json!({"schema": {"type": "object"}})));
    Value::Object(bodies.collect())
}
