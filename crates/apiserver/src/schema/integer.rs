//! Integers: which JSON numbers count as one, the range that a format gives them, and their one stored form.
//!
//! Kubernetes accepts `3.0` for an integer and stores `3`, because Go writes a whole float without a fraction. A
//! stored `3.0` would break clients that decode the field into an integer, so it is stored as `3` here too.

use serde_json::Value;

use super::{Schema, Type};

/// The largest whole float that represents exactly one integer: 2^53 - 1.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;

/// Whether a value is an integer that fits into 64 bits with sign, in either notation.
pub(super) fn is_integer(value: &Value) -> bool {
    value.is_i64() || whole(value).is_some()
}

/// The integer that a float such as `3.0` represents.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number().filter(|n| n.is_f64())?.as_f64()?;
    // In this range the conversion is exact.
    (number.fract() == 0.0 && number.abs() <= MAX_EXACT).then_some(number as i64)
}

/// Whether a number lies in the range of a format such as `int32`. Other formats admit every number.
pub(super) fn in_range(format: &str, value: &Value) -> bool {
    let (low, high) = match format {
        "int8" => (i64::from(i8::MIN), i64::from(i8::MAX)),
        "int16" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "int32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "int64" => (i64::MIN, i64::MAX),
        "uint8" => (0, i64::from(u8::MAX)),
        "uint16" => (0, i64::from(u16::MAX)),
        "uint32" => (0, i64::from(u32::MAX)),
        "uint64" => (0, i64::MAX),
        "float" => {
            return value
                .as_f64()
                .is_some_and(|f| f.abs() <= f64::from(f32::MAX));
        }
        _ => return true,
    };
    let number = value.as_i64().or_else(|| whole(value));
    number.is_some_and(|n| (low..=high).contains(&n))
}

impl Schema {
    /// Gives every whole float in an integer field the form of an integer: `3.0` becomes `3`.
    pub(crate) fn normalize_integers(&self, value: &mut Value) {
        match value {
            Value::Number(_) if self.kind == Some(Type::Integer) || self.int_or_string => {
                if let Some(number) = whole(value) {
                    *value = number.into();
                }
            }
            Value::Object(map) => {
                for (name, value) in map {
                    let schema = self.properties.get(name).or(self.additional.as_deref());
                    if let Some(schema) = schema {
                        schema.normalize_integers(value);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for item in items {
                        schema.normalize_integers(item);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_floats_are_integers_as_far_as_they_are_exact() {
        for (value, expected) in [
            (json!(3), true),
            (json!(3.0), true),
            (json!(-3.0), true),
            (json!(3.5), false),
            (json!(1e300), false),
            (json!(9.1e15), false),
            (json!(i64::MIN), true),
            (json!(u64::MAX), false),
            (json!("3"), false),
        ] {
            assert_eq!(is_integer(&value), expected, "{value}");
        }
    }

    #[test]
    fn formats_have_ranges() {
        for (format, value, expected) in [
            ("int32", json!(2_147_483_647), true),
            ("int32", json!(2_147_483_648_i64), false),
            ("int32", json!(3.0), true),
            ("int64", json!(i64::MAX), true),
            ("uint16", json!(-1), false),
            ("uint32", json!(4_294_967_295_i64), true),
            ("float", json!(1e39), false),
            ("double", json!(1e39), true),
        ] {
            assert_eq!(in_range(format, &value), expected, "{format} {value}");
        }
    }
}
