//! Drops fields that the schema does not have.

use serde_json::Value;

use super::Schema;
use crate::field_path::Path;

/// The fields of every object at the root and of every embedded object.
const RESOURCE_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// The most paths of dropped fields that are returned.
const MAX_REPORTED: usize = 100;

impl Schema {
    /// Drops unknown fields from an object and returns the paths of the first of them. The schema does not concern
    /// the object's `apiVersion`, `kind` and `metadata`.
    pub(crate) fn prune_resource(&self, value: &mut Value) -> Vec<String> {
        let mut unknown = Vec::new();
        self.prune(value, &Path::Root, true, &mut unknown);
        unknown
    }

    fn prune(&self, value: &mut Value, path: &Path<'_>, resource: bool, unknown: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                let resource = resource || self.embedded;
                let keep_all = self.preserve_unknown || self.additional.is_some();
                map.retain(|name, _| {
                    let known = keep_all
                        || self.properties.contains_key(name)
                        || resource && RESOURCE_FIELDS.contains(&name.as_str());
                    if !known && unknown.len() < MAX_REPORTED {
                        unknown.push(path.field(name).to_string());
                    }
                    known
                });
                for (name, value) in map {
                    if resource && RESOURCE_FIELDS.contains(&name.as_str()) {
                        continue;
                    }
                    let schema = self.properties.get(name).or(self.additional.as_deref());
                    if let Some(schema) = schema {
                        schema.prune(value, &path.field(name), false, unknown);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for (index, item) in items.iter_mut().enumerate() {
                        schema.prune(item, &path.index(index), false, unknown);
                    }
                }
            }
            _ => {}
        }
    }
}
