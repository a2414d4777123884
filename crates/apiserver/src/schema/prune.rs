//! Drops fields that the schema does not know.

use serde_json::Value;

use super::{Schema, child};

/// What every resource embedded or at the root has.
const RESOURCE_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Schema {
    /// Drops unknown fields from an object (its `apiVersion`, `kind` and `metadata` are not the schema's business);
    /// returns their paths.
    pub(crate) fn prune_resource(&self, value: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        self.prune(value, "", true, &mut unknown);
        unknown
    }

    fn prune(&self, value: &mut Value, path: &str, resource: bool, unknown: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                let resource = resource || self.embedded;
                let keep_all = self.preserve_unknown || self.additional.is_some();
                map.retain(|name, _| {
                    let known = keep_all
                        || self.properties.contains_key(name)
                        || resource && RESOURCE_FIELDS.contains(&name.as_str());
                    if !known {
                        unknown.push(child(path, name));
                    }
                    known
                });
                for (name, value) in map {
                    if resource && RESOURCE_FIELDS.contains(&name.as_str()) {
                        continue;
                    }
                    let schema = self.properties.get(name).or(self.additional.as_deref());
                    if let Some(schema) = schema {
                        schema.prune(value, &child(path, name), false, unknown);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for (index, item) in items.iter_mut().enumerate() {
                        schema.prune(item, &format!("{path}[{index}]"), false, unknown);
                    }
                }
            }
            _ => {}
        }
    }
}
