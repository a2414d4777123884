//! ConfigMaps: the form of their keys, and `immutable`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Map, Value, json};

use super::{
    column::{Cell, age_column, column, name_column},
    kind::{Kind, SchemaSource},
    strategy::Strategy,
    typed,
};
use crate::{
    codec::protobuf::{self, Form, Message},
    field_path::child,
    status::{Cause, MAX_CAUSES},
};

/// The data of one ConfigMap or Secret, in bytes (Kubernetes' limit).
const MAX_DATA: usize = 1 << 20;

const MESSAGE: &Message = &[
    (1, "metadata", Form::Message(protobuf::META)),
    (2, "data", Form::TextMap),
    (3, "binaryData", Form::BytesMap),
    (4, "immutable", Form::Bool),
];

pub(super) fn kind() -> Kind {
    let schema = || typed::of::<ConfigMap>("io.k8s.api.core.v1.ConfigMap");
    Kind {
        short_names: vec!["cm".into()],
        strategy: Arc::new(ConfigMaps),
        merge_keys: Some(&[]),
        protobuf: Some(MESSAGE),
        unconditional_update: true,
        columns: vec![
            name_column(),
            column("Data", "string", Cell::Computed(count_data)),
            age_column(),
        ],
        ..Kind::new(
            "",
            "v1",
            "configmaps",
            "ConfigMap",
            SchemaSource::Typed(schema),
        )
    }
}

/// Returns the number of keys of a ConfigMap or Secret.
pub(super) fn count_data(object: &Value) -> Value {
    let count = |field: &str| object[field].as_object().map_or(0, Map::len);
    json!(count("data") + count("binaryData"))
}

struct ConfigMaps;

impl Strategy for ConfigMaps {
    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = data_causes(new, &["data", "binaryData"]);
        let both = |key: &&String| new["data"].get(key.as_str()).is_some();
        for key in fields(new, "binaryData").map(|(k, _)| k).filter(both) {
            let why = "duplicate of key present in data";
            causes.push(Cause::invalid(
                child("data", key),
                &key.as_str().into(),
                why,
            ));
        }
        causes.extend(
            old.into_iter()
                .flat_map(|old| immutable_causes(new, old, &["data", "binaryData"])),
        );
        causes
    }
}

fn fields<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object[field].as_object().into_iter().flat_map(Map::iter)
}

/// Returns the faults in the keys and the size of the data.
pub(super) fn data_causes(object: &Value, names: &[&str]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut bytes = 0;
    for name in names {
        for (key, value) in fields(object, name) {
            if causes.len() >= MAX_CAUSES {
                break;
            }
            bytes += value.as_str().map_or(0, str::len);
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            let path = || format!("{name}[{key}]");
            if key.is_empty() || !key.bytes().all(allowed) {
                let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
                           'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                causes.push(Cause::invalid(path(), &key.as_str().into(), why));
            } else if key.len() > 253 {
                causes.push(Cause::invalid(
                    path(),
                    &key.as_str().into(),
                    "must be no more than 253 characters",
                ));
            } else if key == "." || key.starts_with("..") {
                causes.push(Cause::invalid(
                    path(),
                    &key.as_str().into(),
                    "must not be '.' or start with '..'",
                ));
            }
        }
    }
    if bytes > MAX_DATA {
        causes.push(Cause::too_long(
            "",
            &format!("may not be more than {MAX_DATA} bytes"),
        ));
    }
    causes
}

/// Returns the changes that an immutable object forbids.
pub(super) fn immutable_causes(new: &Value, old: &Value, names: &[&str]) -> Vec<Cause> {
    if old["immutable"] != true {
        return Vec::new();
    }
    let why = "field is immutable when `immutable` is set";
    let changed = |name: &&str| new.get(*name) != old.get(*name);
    let names = names.iter().copied().chain(["immutable"]);
    names
        .filter(changed)
        .map(|name| Cause::forbidden(name, why))
        .collect()
}
