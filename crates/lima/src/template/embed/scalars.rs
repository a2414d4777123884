//! Keeps values that are read as numbers, and are meant as texts, as they were written.

use crate::template::tree::{Node, Value};

/// Fields whose values are texts, however they look.
const TEXTS: [&str; 3] = ["env", "param", "permissions"];

/// Turns numbers that would be written in another way (`1.10`, `0644`) into texts. The format has no field that is a
/// fraction.
pub(super) fn keep_as_written(root: &mut Node, source: &str) {
    keep(root, source, false);
}

fn keep(node: &mut Node, source: &str, is_text: bool) {
    let text = match node.value {
        Value::Float(_) => node.scalar_text(source),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) if is_text => node.scalar_text(source),
        _ => None,
    };
    if let Some(text) = text {
        node.value = Value::Text(text);
        return;
    }
    match &mut node.value {
        Value::List(items) => items
            .iter_mut()
            .for_each(|item| keep(item, source, is_text)),
        Value::Map(entries) => {
            for (key, value) in entries {
                keep(value, source, is_text || TEXTS.contains(&key.name.as_str()));
            }
        }
        _ => {}
    }
}
