//! Secrets: `stringData`, the default type, `immutable`.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value};

use super::{
    column::{Cell, age_column, column, name_column, path_column},
    config_maps::{count_data, data_causes, immutable_causes},
    kind::{Kind, SchemaSource},
    strategy::Strategy,
    typed,
};
use crate::{
    codec::protobuf::{self, Form, Message},
    status::Cause,
};

const MESSAGE: &Message = &[
    (1, "metadata", Form::Message(protobuf::META)),
    (2, "data", Form::BytesMap),
    (3, "type", Form::Text),
    (4, "stringData", Form::TextMap),
    (5, "immutable", Form::Bool),
];

pub(super) fn kind() -> Kind {
    let schema = || typed::of::<Secret>("io.k8s.api.core.v1.Secret");
    Kind {
        strategy: Arc::new(Secrets),
        merge_keys: Some(&[]),
        protobuf: Some(MESSAGE),
        selectable_fields: &["type"],
        unconditional_update: true,
        columns: vec![
            name_column(),
            path_column("Type", ".type"),
            column("Data", "string", Cell::Computed(count_data)),
            age_column(),
        ],
        ..Kind::new("", "v1", "secrets", "Secret", SchemaSource::Typed(schema))
    }
}

struct Secrets;

impl Strategy for Secrets {
    fn default(&self, new: &mut Value) {
        let Some(object) = new.as_object_mut() else {
            return;
        };
        object.entry("type").or_insert_with(|| "Opaque".into());
        // `stringData` is write-only: its values are stored base64-encoded in `data`. Values of the wrong type stay
        // where they are, for validation to refuse them.
        let is_text_map = |value: &Value| {
            let map = value.as_object();
            map.is_some_and(|map| map.values().all(Value::is_string))
        };
        if !object.get("stringData").is_some_and(is_text_map) {
            return;
        }
        let Value::Object(data) = object
            .entry("data")
            .or_insert_with(|| Value::Object(Map::new()))
        else {
            return;
        };
        let mut data = std::mem::take(data);
        if let Some(Value::Object(texts)) = object.remove("stringData") {
            for (key, text) in texts {
                let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
                data.insert(key, encoded.into());
            }
        }
        object.insert("data".into(), Value::Object(data));
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = data_causes(new, &["data"]);
        if let Some(old) = old {
            causes.extend(immutable_causes(new, old, &["data"]));
            if new["type"] != old["type"] {
                causes.push(Cause::invalid("type", &new["type"], "field is immutable"));
            }
        }
        causes
    }
}
