//! Null values in the objects of typed kinds. Go decodes them like absent ones: a null field of a struct is absent, a
//! null item of a list or value of a map is the zero value of its type.

use serde_json::{Value, json};

use crate::schema::{Schema, Type};

/// Removes or replaces the null values that the schema describes.
pub(crate) fn resolve(schema: &Schema, value: &mut Value) {
    // A reference with a description beside it is an `allOf` of one schema.
    let parts = schema.logical.iter().flat_map(|it| &it.all_of);
    for part in parts {
        resolve(part, value);
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| !value.is_null() || !schema.properties.contains_key(name));
            for (name, value) in fields {
                match (schema.properties.get(name), &schema.additional) {
                    (Some(schema), _) => resolve(schema, value),
                    (None, Some(schema)) => resolve_element(schema, value),
                    (None, None) => {}
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items
                    .iter_mut()
                    .for_each(|item| resolve_element(schema, item));
            }
        }
        _ => {}
    }
}

fn resolve_element(schema: &Schema, value: &mut Value) {
    if value.is_null() {
        *value = match schema.kind {
            Some(Type::Object) => json!({}),
            Some(Type::Array) => json!([]),
            Some(Type::String) => json!(""),
            Some(Type::Integer | Type::Number) => json!(0),
            Some(Type::Boolean) => json!(false),
            None => Value::Null,
        };
    } else {
        resolve(schema, value);
    }
}
