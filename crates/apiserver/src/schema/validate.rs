//! Checks a value against its schema.

use serde_json::Value;

use super::{ListType, Schema, child, format};
use crate::status::Cause;

/// No more causes than this are reported; a list of 10,000 wrong items needs no 10,000 sentences.
const MAX_CAUSES: usize = 100;

/// What is wrong with an object, by its schema; `old` is its state before, for transition rules.
pub(crate) fn validate(schema: &Schema, value: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    schema.check(value, "", true, &mut causes);
    // Rules may rely on the types: they are not asked about what is not well-formed.
    if causes.is_empty() {
        schema.check_rules(value, old, "", &mut causes);
    }
    causes.truncate(MAX_CAUSES);
    causes
}

impl Schema {
    fn check(&self, value: &Value, path: &str, resource: bool, causes: &mut Vec<Cause>) {
        if causes.len() >= MAX_CAUSES || value.is_null() && self.nullable {
            return;
        }
        if !self.check_type(value, path, causes) {
            return;
        }
        if !self.allowed.is_empty() && !self.allowed.contains(value) {
            causes.push(Cause::unsupported(path, value, &self.allowed));
        }
        match value {
            Value::Object(map) => {
                for name in self.required.iter().filter(|n| !map.contains_key(*n)) {
                    causes.push(Cause::required(child(path, name), ""));
                }
                for (name, value) in map {
                    if (resource || self.embedded)
                        && ["metadata", "apiVersion", "kind"].contains(&name.as_str())
                    {
                        continue;
                    }
                    if let Some(property) = self.properties.get(name) {
                        property.check(value, &child(path, name), false, causes);
                    } else if let Some(additional) = &self.additional {
                        additional.check(value, &child(path, name), false, causes);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for (index, item) in items.iter().enumerate() {
                        schema.check(item, &format!("{path}[{index}]"), false, causes);
                    }
                }
                self.check_list_type(items, path, causes);
            }
            Value::String(text) => {
                if let Some(pattern) = self.pattern.as_ref().filter(|p| !p.is_match(text)) {
                    let why = format!("{path} in body should match '{pattern}'");
                    causes.push(Cause::invalid(path, value, &why));
                }
                if let Some(format) = self.format.as_ref().filter(|f| !format::holds(f, text)) {
                    let why = format!("{path} in body must be of type {format}: {text:?}");
                    causes.push(Cause::invalid(path, value, &why));
                }
            }
            _ => {}
        }
        self.check_limits(value, path, causes);
        self.check_junctors(value, path, resource, causes);
    }

    fn check_type(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) -> bool {
        let wanted = if self.int_or_string {
            if value.is_string() || super::Type::Integer.admits(value) {
                return true;
            }
            "integer or string"
        } else {
            match self.kind {
                Some(kind) if !kind.admits(value) => kind.name(),
                _ => return true,
            }
        };
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let why = format!("{path} in body must be of type {wanted}: {found:?}");
        causes.push(Cause::wrong_type(path, &found.into(), &why));
        false
    }

    fn check_limits(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        let Some(limits) = &self.limits else { return };
        let mut wrong = |why: String| {
            causes.push(Cause::invalid(
                path,
                value,
                &format!("{path} in body {why}"),
            ));
        };
        match value {
            Value::Number(n) => {
                let n = n.as_f64().unwrap_or_default();
                if let Some(min) = limits.minimum {
                    if limits.exclusive_minimum && n <= min {
                        wrong(format!("should be greater than {min}"));
                    } else if n < min {
                        wrong(format!("should be greater than or equal to {min}"));
                    }
                }
                if let Some(max) = limits.maximum {
                    if limits.exclusive_maximum && n >= max {
                        wrong(format!("should be less than {max}"));
                    } else if n > max {
                        wrong(format!("should be less than or equal to {max}"));
                    }
                }
                if let Some(step) = limits
                    .multiple_of
                    .filter(|s| *s > 0.0 && (n / s).fract() != 0.0)
                {
                    wrong(format!("should be a multiple of {step}"));
                }
            }
            Value::String(text) => {
                let length = text.chars().count() as u64;
                if let Some(min) = limits.min_length.filter(|min| length < *min) {
                    wrong(format!("should be at least {min} chars long"));
                }
                if let Some(max) = limits.max_length.filter(|max| length > *max) {
                    causes.push(Cause::too_long(
                        path,
                        &format!("may not be more than {max} bytes"),
                    ));
                }
            }
            Value::Array(items) => {
                let length = items.len() as u64;
                if let Some(min) = limits.min_items.filter(|min| length < *min) {
                    wrong(format!("should have at least {min} items"));
                }
                if let Some(max) = limits.max_items.filter(|max| length > *max) {
                    wrong(format!("should have at most {max} items"));
                }
                if limits.unique_items && (1..items.len()).any(|i| items[..i].contains(&items[i])) {
                    wrong("shouldn't contain duplicates".into());
                }
            }
            Value::Object(map) => {
                let length = map.len() as u64;
                if let Some(min) = limits.min_properties.filter(|min| length < *min) {
                    wrong(format!("should have at least {min} properties"));
                }
                if let Some(max) = limits.max_properties.filter(|max| length > *max) {
                    wrong(format!("should have at most {max} properties"));
                }
            }
            _ => {}
        }
    }

    fn check_list_type(&self, items: &[Value], path: &str, causes: &mut Vec<Cause>) {
        let keys: Vec<Value> = match &self.list_type {
            ListType::Atomic => return,
            ListType::Set => items.to_vec(),
            ListType::Map(keys) => {
                let key = |item: &Value| {
                    // A key that is left out has its default.
                    let keys = keys.iter().map(|k| (k.clone(), item[k.as_str()].clone()));
                    Value::Object(keys.filter(|(_, v)| !v.is_null()).collect())
                };
                items.iter().map(key).collect()
            }
        };
        let mut seen = std::collections::HashSet::new();
        for (index, key) in keys.iter().enumerate() {
            if !seen.insert(key.to_string()) {
                causes.push(Cause::duplicate(format!("{path}[{index}]"), key));
            }
        }
    }

    fn check_junctors(&self, value: &Value, path: &str, resource: bool, causes: &mut Vec<Cause>) {
        let Some(junctors) = &self.junctors else {
            return;
        };
        let holds = |schema: &Schema| {
            let mut causes = Vec::new();
            schema.check(value, path, resource, &mut causes);
            causes.is_empty()
        };
        for schema in &junctors.all_of {
            schema.check(value, path, resource, causes);
        }
        let mut wrong = |why: &str| {
            causes.push(Cause::invalid(
                path,
                value,
                &format!("{path} in body {why}"),
            ));
        };
        if !junctors.any_of.is_empty() && !junctors.any_of.iter().any(holds) {
            wrong("must validate at least one schema (anyOf)");
        }
        if !junctors.one_of.is_empty() && junctors.one_of.iter().filter(|s| holds(s)).count() != 1 {
            wrong("must validate one and only one schema (oneOf)");
        }
        if junctors.not.as_ref().is_some_and(holds) {
            wrong("must not validate the schema (not)");
        }
    }
}
