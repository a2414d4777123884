//! Fills in defaults.

use serde_json::Value;

use super::Schema;
use crate::limits::{self, MAX_BYTES, MAX_DEPTH, MAX_MEMORY};

/// The defaults would make the object larger than an object may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// How much defaults may still add.
struct Left {
    bytes: usize,
    memory: usize,
}

impl Schema {
    /// Fills in missing fields that have a default. A null counts as missing where null is not allowed.
    ///
    /// A default inside list items or map values is filled in for each of them, so the total is limited to the size of
    /// an object.
    pub(crate) fn fill_defaults(&self, value: &mut Value) -> Result<(), TooLarge> {
        let mut left = Left {
            bytes: MAX_BYTES,
            memory: MAX_MEMORY,
        };
        self.fill(value, &mut left)
    }

    fn fill(&self, value: &mut Value, left: &mut Left) -> Result<(), TooLarge> {
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
                        let extent = limits::measure(default, MAX_DEPTH).ok_or(TooLarge)?;
                        let bytes = extent.bytes + name.len() + 4;
                        left.bytes = left.bytes.checked_sub(bytes).ok_or(TooLarge)?;
                        left.memory = left.memory.checked_sub(extent.memory).ok_or(TooLarge)?;
                        map.insert(name.clone(), default.clone());
                    }
                }
                // A null without a default that is not nullable is dropped, as in Kubernetes.
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
                        schema.fill(value, left)?;
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for item in items {
                        schema.fill(item, left)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
