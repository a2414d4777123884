//! Fills in defaults.

use serde_json::Value;

use super::Schema;

impl Schema {
    /// Fills in what is missing and has a default; a null where null is not allowed counts as missing.
    pub(crate) fn fill_defaults(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, property) in &self.properties {
                    let Some(default) = &property.default else {
                        continue;
                    };
                    let missing = match map.get(name) {
                        None => true,
                        Some(Value::Null) => !property.nullable,
                        Some(_) => false,
                    };
                    if missing {
                        map.insert(name.clone(), default.clone());
                    }
                }
                // Null without a default and not nullable: pruned, as Kubernetes does.
                map.retain(|name, value| {
                    !value.is_null()
                        || self
                            .properties
                            .get(name)
                            .is_none_or(|p| p.nullable || p.preserve_unknown)
                });
                for (name, value) in map {
                    let schema = self.properties.get(name).or(self.additional.as_deref());
                    if let Some(schema) = schema {
                        schema.fill_defaults(value);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for item in items {
                        schema.fill_defaults(item);
                    }
                }
            }
            _ => {}
        }
    }
}
