//! CustomResourceDefinitions: their defaults, conditions and validation. `custom.rs` turns them into kinds.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::{
    column::{name_column, path_column},
    definition_names,
    kind::{Kind, SchemaSource, Subresource},
    strategy::{Strategy, WriteInfo},
    typed,
};
use crate::{
    field_path::child,
    object::{self, add_finalizer},
    schema,
    status::Cause,
};

/// The finalizer that keeps a definition until its objects are deleted.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// The prefix of the keys of all definitions.
pub(crate) const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";

/// The annotation that names the approval of an API in a group of Kubernetes.
const APPROVED: &str = "api-approved.kubernetes.io";

pub(crate) const GROUP: &str = "apiextensions.k8s.io";
pub(crate) const PLURAL: &str = "customresourcedefinitions";

pub(super) fn kind() -> Kind {
    let schema = || {
        typed::of::<CustomResourceDefinition>(
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        )
    };
    Kind {
        short_names: vec!["crd".into(), "crds".into()],
        categories: vec!["api-extensions".into()],
        namespaced: false,
        strategy: Arc::new(Definitions),
        subresources: &[Subresource::Status],
        merge_keys: Some(&[]),
        generation: true,
        columns: vec![
            name_column(),
            path_column("Created At", ".metadata.creationTimestamp"),
        ],
        ..Kind::new(
            GROUP,
            "v1",
            PLURAL,
            "CustomResourceDefinition",
            SchemaSource::Typed(schema),
        )
    }
}

struct Definitions;

impl Strategy for Definitions {
    fn default(&self, new: &mut Value) {
        let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else {
            return;
        };
        if spec.get("conversion").is_none_or(Value::is_null) {
            spec.insert("conversion".into(), json!({"strategy": "None"}));
        }
        let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) else {
            return;
        };
        let kind = names.get("kind").and_then(Value::as_str);
        let kind = kind.unwrap_or_default().to_owned();
        let defaults = [
            ("singular", kind.to_lowercase()),
            ("listKind", format!("{kind}List")),
        ];
        for (field, default) in defaults {
            let given = names.get(field).and_then(Value::as_str);
            if given.unwrap_or_default().is_empty() {
                names.insert(field.into(), default.into());
            }
        }
    }

    fn prepare(&self, new: &mut Value, old: Option<&Value>, info: &WriteInfo<'_>) {
        if old.is_none() {
            add_finalizer(new, CLEANUP);
        }
        let status = status(new, info);
        if let Some(fields) = new.as_object_mut() {
            fields.insert("status".into(), status);
        }
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
        causes.extend(match old {
            None => approval_causes(new),
            Some(_) => stored_version_causes(new),
        });
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
}

/// Returns the schemas of the versions of a definition.
fn stored_schemas(definition: Option<&Value>) -> impl Iterator<Item = &Value> {
    let versions = definition.and_then(|definition| definition["spec"]["versions"].as_array());
    let schemas = versions.into_iter().flatten();
    schemas.map(|version| &version["schema"]["openAPIV3Schema"])
}

/// Returns whether the kinds of a definition are served: its names were accepted. A definition without conditions
/// counts as established, since only its names can keep it from being so.
pub(crate) fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    !conditions.any(|c| c["type"] == "Established" && c["status"] == "False")
}

/// Returns the status that Kubernetes' controllers for definitions write: the accepted names, whether they are
/// accepted, and whether the definition is established.
fn status(new: &Value, info: &WriteInfo<'_>) -> Value {
    let old = &new["status"];
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        let conditions = old["conditions"].as_array().into_iter().flatten();
        let since = conditions.filter(|c| c["type"] == kind && c["status"] == status);
        let since = since.map(|c| c["lastTransitionTime"].clone()).next();
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| info.now.into()),
        })
    };
    let accepted = definition_names::check(new, info.kinds);
    let established_before = {
        let conditions = old["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|c| c["type"] == "Established" && c["status"] == "True")
    };
    let names = match &accepted.conflict {
        None => condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
        Some((reason, message)) => condition("NamesAccepted", "False", reason, message),
    };
    // A definition that was established stays so.
    let established = match established_before || accepted.conflict.is_none() {
        true => condition(
            "Established",
            "True",
            "InitialNamesAccepted",
            "the initial names have been accepted",
        ),
        false => condition(
            "Established",
            "False",
            "NotAccepted",
            "not all names are accepted",
        ),
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
        "acceptedNames": accepted.names,
        "conditions": [names, established],
        "storedVersions": stored,
    })
}

/// Returns the faults of a new definition in a group that is reserved for Kubernetes: it needs an annotation that
/// names the approval of its API.
fn approval_causes(new: &Value) -> Vec<Cause> {
    let group = new["spec"]["group"].as_str().unwrap_or_default();
    let reserved = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|suffix| group == *suffix || group.ends_with(&format!(".{suffix}")));
    if !reserved {
        return Vec::new();
    }
    let path = format!("metadata.annotations[{APPROVED}]");
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    let approval = &new["metadata"]["annotations"][APPROVED];
    let text = approval.as_str().unwrap_or_default();
    if text.is_empty() {
        let why = format!("protected groups must have approval annotation {APPROVED:?}, {see}");
        return vec![Cause::required(path, &why)];
    }
    let is_url = text
        .parse::<http::Uri>()
        .is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty()));
    if text.starts_with("unapproved") || is_url {
        return Vec::new();
    }
    let why = format!(
        "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \
         \"unapproved\", {see}"
    );
    vec![Cause::invalid(path, approval, &why)]
}

/// Returns the versions that hold stored objects but are missing in the spec: their objects could not be read.
fn stored_version_causes(new: &Value) -> Vec<Cause> {
    let versions = new["spec"]["versions"].as_array();
    let has = |name: &Value| versions.is_some_and(|all| all.iter().any(|v| v["name"] == *name));
    let stored = new["status"]["storedVersions"].as_array();
    let stored = stored.into_iter().flatten().enumerate();
    stored
        .filter(|(_, name)| !has(name))
        .map(|(index, name)| {
            let path = format!("status.storedVersions[{index}]");
            Cause::invalid(path, name, "missing from spec.versions")
        })
        .collect()
}
