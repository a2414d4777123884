//! Secrets: `stringData`, the default type, `immutable`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::configmaps::{data_causes, immutable_causes};
use crate::{
    registry::{Moment, Strategy},
    status::Cause,
};

pub(crate) struct Secrets;

impl Strategy for Secrets {
    fn prepare(&self, new: &mut Value, _old: Option<&Value>, _moment: &Moment<'_>) {
        let Some(object) = new.as_object_mut() else {
            return;
        };
        object.entry("type").or_insert_with(|| "Opaque".into());
        // Write-only: what is given as text is kept as data.
        if let Some(Value::Object(texts)) = object.remove("stringData") {
            let data = object
                .entry("data")
                .or_insert_with(|| Value::Object(Map::new()));
            // Data of another type is refused by the validation that follows.
            if let Some(data) = data.as_object_mut() {
                for (key, text) in texts {
                    let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
                    data.insert(key, encoded.into());
                }
            }
        }
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

    fn fields(&self) -> &'static [&'static str] {
        &["type"]
    }
}
