//! Makes hidden characters visible, because terminals, editors and browsers act on them and can deceive the reader.
//!
//! The stored report keeps every character, because quotations are compared with the code. What is shown is a copy in
//! which hidden characters are written out.

use serde_json::Value;

use crate::model::Report;
use crate::plain::{is_hidden, visible};

/// A copy of the report to show.
pub(super) fn harmless(report: &Report) -> Report {
    let Ok(mut value) = serde_json::to_value(report) else {
        return Report::default();
    };
    clean(&mut value);
    serde_json::from_value(value).unwrap_or_default()
}

fn clean(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('\r') || text.chars().any(is_hidden) => {
            *text = visible(text);
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(object) => object.values_mut().for_each(clean),
        _ => {}
    }
}
