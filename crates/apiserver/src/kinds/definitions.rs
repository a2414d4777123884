//! CustomResourceDefinitions: their defaults and conditions, and the resources that they make.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{age_column, name_column};
use crate::{
    field_path::child,
    object::{self, add_finalizer},
    registry::{Cell, Column, Moment, Resource, Resources, Strategy},
    schema,
    server::Inner,
    status::Cause,
};

/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
pub(crate) const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";

pub(crate) struct Definitions;

impl Strategy for Definitions {
    fn prepare(&self, new: &mut Value, old: Option<&Value>, moment: &Moment<'_>) {
        // Parts of another type are left as they are: the validation that follows refuses them.
        if let Some(names) = object::map_at(new, &["spec", "names"]) {
            let text = |field: &str| names.get(field).and_then(Value::as_str).unwrap_or_default();
            let kind = text("kind").to_owned();
            let (no_singular, no_list_kind) =
                (text("singular").is_empty(), text("listKind").is_empty());
            if no_singular {
                names.insert("singular".into(), kind.to_lowercase().into());
            }
            if no_list_kind {
                names.insert("listKind".into(), format!("{kind}List").into());
            }
        }
        if let Some(spec) = object::map_at(new, &["spec"])
            && spec.get("conversion").is_none_or(Value::is_null)
        {
            spec.insert("conversion".into(), json!({"strategy": "None"}));
        }
        if old.is_none() {
            add_finalizer(new, CLEANUP);
        }
        let status = status(new, moment.now);
        object::set(new, "status", status);
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = &new["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
        let full = format!("{plural}.{group}");
        if object::name(new) != full {
            let why = "must be spec.names.plural+\".\"+spec.group";
            causes.push(Cause::invalid(
                "metadata.name",
                &object::name(new).into(),
                why,
            ));
        }
        if !["Namespaced", "Cluster"].contains(&text(&spec["scope"]).as_str()) {
            let allowed = [json!("Cluster"), json!("Namespaced")];
            causes.push(Cause::unsupported("spec.scope", &spec["scope"], &allowed));
        }
        if spec["conversion"]["strategy"] != "None" {
            let allowed = [json!("None")];
            causes.push(Cause::unsupported(
                "spec.conversion.strategy",
                &spec["conversion"]["strategy"],
                &allowed,
            ));
        }
        let versions = spec["versions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
            let why = "must have exactly one version marked as storage version";
            causes.push(Cause::invalid("spec.versions", &json!("versions"), why));
        }
        for (index, version) in versions.iter().enumerate() {
            let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
            let schema = &version["schema"]["openAPIV3Schema"];
            if schema.is_null() {
                causes.push(Cause::required(path, "schemas are required"));
                continue;
            }
            match schema::compile(schema) {
                Err((at, why)) => {
                    causes.push(Cause::invalid(child(&path, &at), &json!("schema"), &why));
                }
                Ok(_) if schema["type"] != "object" => causes.push(Cause::invalid(
                    child(&path, "type"),
                    &schema["type"],
                    "must be object at the root",
                )),
                // As in Kubernetes, rules that are stored already do not make later changes impossible.
                Ok(_) if stored_schemas(old).any(|stored| stored == schema) => {}
                Ok(compiled) => {
                    let excessive = schema::check_costs(&compiled).into_iter();
                    causes.extend(
                        excessive.map(|(at, why)| Cause::forbidden(child(&path, &at), &why)),
                    );
                }
            }
        }
        if let Some(old) = old {
            for path in [
                "/spec/scope",
                "/spec/group",
                "/spec/names/plural",
                "/spec/names/kind",
            ] {
                if new.pointer(path) != old.pointer(path) {
                    let field = path.trim_start_matches('/').replace('/', ".");
                    let value = new.pointer(path).unwrap_or(&Value::Null);
                    causes.push(Cause::invalid(field, value, "field is immutable"));
                }
            }
        }
        causes
    }

    /// Compiling the schemas takes long and parses CEL.
    fn validates_slowly(&self) -> bool {
        true
    }

    fn written(&self, server: &Arc<Inner>, name: &str) {
        reload(server, name);
        server.wake_cleanup();
    }
}

/// The schemas of the versions of a definition.
fn stored_schemas(definition: Option<&Value>) -> impl Iterator<Item = &Value> {
    let versions = definition.and_then(|definition| definition["spec"]["versions"].as_array());
    let schemas = versions.into_iter().flatten();
    schemas.map(|version| &version["schema"]["openAPIV3Schema"])
}

/// What the definition's controllers would write: names accepted, established.
fn status(new: &Value, now: &str) -> Value {
    let old = &new["status"];
    let condition = |kind: &str, reason: &str, message: &str| {
        let conditions = old["conditions"].as_array().into_iter().flatten();
        let since = conditions.filter(|c| c["type"] == kind && c["status"] == "True");
        let since = since.map(|c| c["lastTransitionTime"].clone()).next();
        json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| now.into()),
        })
    };
    let versions = new["spec"]["versions"].as_array();
    let storage = versions.and_then(|list| list.iter().find(|v| v["storage"] == true));
    let storage = storage.map_or(Value::Null, |v| v["name"].clone());
    let mut stored: Vec<Value> = old["storedVersions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if storage.is_string() && !stored.contains(&storage) {
        stored.push(storage);
    }
    json!({
        "acceptedNames": new["spec"]["names"],
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored,
    })
}

/// Makes what is served match the definition in the store.
pub(crate) fn reload(server: &Arc<Inner>, name: &str) {
    server.registry.change(|resources| {
        // Inside the lock, so that of two concurrent changes the later state stays.
        let entry = server.store.get(&format!("{PREFIX}{name}"));
        resources.retain(|_, r| r.built_in || format!("{}.{}", r.plural, r.group) != name);
        match entry.as_ref().map(object::decode) {
            Some(Ok(definition)) => add(resources, &definition),
            Some(Err(error)) => tracing::error!(name, %error, "a definition cannot be served"),
            None => {}
        }
    });
    server.forget_openapi();
}

fn add(resources: &mut Resources, definition: &Value) {
    let versions = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten();
    for version in versions.filter(|v| v["served"] == true) {
        let resource = resource(definition, version);
        let key = (
            resource.group.clone(),
            resource.version.clone(),
            resource.plural.clone(),
        );
        // A definition cannot take the place of a resource of Kubernetes'.
        resources.entry(key).or_insert_with(|| Arc::new(resource));
    }
}

fn resource(definition: &Value, version: &Value) -> Resource {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(Into::into).collect()
    };
    let source = Arc::new(version["schema"]["openAPIV3Schema"].clone());
    let for_schema = Arc::clone(&source);
    let make_schema = move || match schema::compile(&for_schema) {
        Ok(schema) => Some(schema),
        Err((path, why)) => {
            tracing::error!(path, why, "a stored schema does not compile");
            None
        }
    };
    let (group, plural, kind) = (
        text(&spec["group"]),
        text(&names["plural"]),
        text(&names["kind"]),
    );
    let mut resource = Resource::new(
        &group,
        &text(&version["name"]),
        &plural,
        &kind,
        Box::new(make_schema),
    );
    let all = spec["versions"].as_array();
    let storage = all.and_then(|list| list.iter().find(|v| v["storage"] == true));
    resource.storage_version =
        storage.map_or_else(|| resource.version.clone(), |v| text(&v["name"]));
    resource.singular = text(&names["singular"]);
    resource.list_kind = text(&names["listKind"]);
    resource.short_names = texts(&names["shortNames"]);
    resource.categories = texts(&names["categories"]);
    resource.namespaced = spec["scope"] == "Namespaced";
    resource.status = version["subresources"]["status"].is_object();
    resource.generation = true;
    resource.terminating = object::is_being_deleted(definition);
    resource.built_in = false;
    resource.openapi = Some(source);
    resource.columns = columns(&version["additionalPrinterColumns"]);
    resource
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
