//! OpenAPI, as far as kubectl and code generators read it: schemas of every kind, and the paths with the
//! parameters that kubectl looks for before it sends them (`fieldValidation`, `dryRun`).

use serde_json::{Map, Value, json};

use super::{REVIEWS, groups, in_version, types};
use crate::registry::{Registry, Resource};

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// `/openapi/v3`: where the documents are. The hash makes clients fetch a document again when it may have changed.
pub(crate) fn index(registry: &Registry, revision: u64) -> Value {
    let resources = registry.all();
    let mut paths = Map::new();
    for (group, versions) in groups(&resources) {
        for version in versions {
            let path = path_of(&group, &version);
            let url = format!("/openapi/v3/{path}?hash={revision:016X}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// The document of one group and version, OpenAPI 3.0.
pub(crate) fn v3(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let resources = registry.all();
    let known = groups(&resources).get(group)?.iter().any(|v| v == version);
    if !known {
        return None;
    }
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for kind in ["ObjectMeta", "Status"] {
        schemas.extend(types::definitions("", kind)?.1);
    }
    for resource in in_version(&resources, group, version) {
        let name = component(resource, &mut schemas);
        list_component(resource, &name, &mut schemas);
        add_paths(resource, &name, &mut paths);
    }
    for (review_group, plural, kind) in REVIEWS.iter().filter(|(g, _, _)| *g == group) {
        let path = format!("/apis/{review_group}/{version}/{plural}");
        let gvk = json!({"group": review_group, "version": version, "kind": kind});
        let post = json!({"x-kubernetes-action": "post", "x-kubernetes-group-version-kind": gvk, "responses": {}});
        paths.insert(path, json!({"post": post}));
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "rdd", "version": "v1"},
        "paths": paths, "components": {"schemas": schemas},
    }))
}

/// Everything in one document, OpenAPI 2.0 (Swagger).
pub(crate) fn v2(registry: &Registry) -> Value {
    let resources = registry.all();
    let (mut definitions, mut paths) = (Map::new(), Map::new());
    for resource in resources.values() {
        let name = component(resource, &mut definitions);
        list_component(resource, &name, &mut definitions);
        add_paths(resource, &name, &mut paths);
    }
    // Version 2 has references elsewhere, and no `content` of responses.
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

fn gvk(resource: &Resource, kind: &str) -> Value {
    json!([{"group": resource.group, "version": resource.version, "kind": kind}])
}

/// Adds the schema of a resource; returns its name.
fn component(resource: &Resource, schemas: &mut Map<String, Value>) -> String {
    let (name, mut schema) = match &resource.openapi {
        Some(source) => {
            let reversed: Vec<&str> = resource.group.rsplit('.').collect();
            let name = format!(
                "{}.{}.{}",
                reversed.join("."),
                resource.version,
                resource.kind
            );
            let mut schema = Value::clone(source);
            for (field, description) in [
                (
                    "apiVersion",
                    "The versioned schema of this representation of an object.",
                ),
                ("kind", "The REST resource that this object represents."),
            ] {
                schema["properties"][field] = json!({"type": "string", "description": description});
            }
            let reference = format!("#/components/schemas/{}", types::OBJECT_META);
            schema["properties"]["metadata"] = json!({"allOf": [{"$ref": reference}], "description": "Standard object's metadata."});
            if let Some((_, definitions)) = types::definitions("", "ObjectMeta") {
                schemas.extend(definitions);
            }
            (name, schema)
        }
        None => {
            let Some((name, mut definitions)) = types::definitions(&resource.group, &resource.kind)
            else {
                return String::new();
            };
            let schema = definitions.remove(name).unwrap_or_default();
            schemas.extend(definitions);
            (name.to_owned(), schema)
        }
    };
    schema["x-kubernetes-group-version-kind"] = gvk(resource, &resource.kind);
    schemas.insert(name.clone(), schema);
    name
}

fn list_component(resource: &Resource, item: &str, schemas: &mut Map<String, Value>) {
    let name = item.replace(
        &format!(".{}", resource.kind),
        &format!(".{}", resource.list_kind),
    );
    let schema = json!({
        "type": "object", "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            "items": {"type": "array", "items": {"$ref": format!("#/components/schemas/{item}")}},
        },
        "x-kubernetes-group-version-kind": gvk(resource, &resource.list_kind),
    });
    schemas.insert(name, schema);
}

fn parameter(name: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}, "type": "string"})
}

fn add_paths(resource: &Resource, component: &str, paths: &mut Map<String, Value>) {
    let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
    let content = json!({
        "application/json": {"schema": {"$ref": format!("#/components/schemas/{component}")}},
    });
    let operation = |action: &str, write: bool| {
        let mut operation = json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind,
            "responses": {"200": {"description": "OK", "content": content}},
        });
        if write {
            operation["parameters"] = json!([
                parameter("dryRun"),
                parameter("fieldManager"),
                parameter("fieldValidation")
            ]);
        }
        operation
    };
    let base = format!("/{}", path_of(&resource.group, &resource.version));
    let collection = match resource.namespaced {
        true => format!("{base}/namespaces/{{namespace}}/{}", resource.plural),
        false => format!("{base}/{}", resource.plural),
    };
    if resource.namespaced {
        let all = format!("{base}/{}", resource.plural);
        paths.insert(all, json!({"get": operation("list", false)}));
    }
    let item = format!("{collection}/{{name}}");
    paths.insert(
        collection,
        json!({
            "get": operation("list", false), "post": operation("post", true),
            "delete": operation("deletecollection", true),
        }),
    );
    let mut patch = operation("patch", true);
    let mut media = vec![
        "application/json-patch+json",
        "application/merge-patch+json",
    ];
    if resource.built_in {
        media.push("application/strategic-merge-patch+json");
    }
    let bodies: Map<String, Value> = media
        .iter()
        .map(|m| ((*m).to_owned(), json!({"schema": {"type": "object"}})))
        .collect();
    patch["requestBody"] = json!({"content": bodies});
    paths.insert(
        item.clone(),
        json!({
            "get": operation("get", false), "put": operation("put", true), "patch": patch,
            "delete": operation("delete", true),
        }),
    );
    if resource.status {
        let status = json!({
            "get": operation("get", false), "put": operation("put", true), "patch": operation("patch", true),
        });
        paths.insert(format!("{item}/status"), status);
    }
}
