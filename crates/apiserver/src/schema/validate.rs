//! Checks a value against its schema.

use std::collections::HashSet;

use serde_json::Value;

use super::{Effort, Exhausted, ListType, Schema, format, integer};
use crate::{
    field_path::Path,
    limits::{self, MAX_DEPTH},
    status::{Cause, MAX_CAUSES, shown},
};

/// How many bytes of a string count as one step.
const BYTES_PER_STEP: usize = 64;

/// Returns what is wrong with an object. `old` is its state before, for transition rules.
pub(crate) fn validate(
    schema: &Schema,
    value: &Value,
    old: Option<&Value>,
    mut effort: Effort<'_>,
) -> Result<Vec<Cause>, Exhausted> {
    let mut checker = Checker {
        effort: &mut effort,
        causes: Vec::new(),
        silent: 0,
        failed: false,
    };
    checker.check(schema, value, &Path::Root, true)?;
    let mut causes = checker.causes;
    // CEL rules rely on the types that the schema declares, so they are evaluated for well-formed objects only.
    if causes.is_empty() && schema.has_rules {
        let token = effort.token().ok_or(Exhausted)?;
        causes = schema.evaluate_rules(value, old, token);
    }
    Ok(causes)
}

/// One walk over a value and its schema.
struct Checker<'e, 't> {
    effort: &'e mut Effort<'t>,
    causes: Vec<Cause>,
    /// Greater than zero inside `anyOf`, `oneOf` and `not`, which only need to know whether a schema holds.
    silent: usize,
    /// Whether a fault was found while silent.
    failed: bool,
}

impl Checker<'_, '_> {
    fn report(&mut self, cause: impl FnOnce() -> Cause) {
        if self.silent > 0 {
            self.failed = true;
        } else if self.causes.len() < MAX_CAUSES {
            self.causes.push(cause());
        }
    }

    fn invalid(&mut self, path: &Path<'_>, value: &Value, why: impl FnOnce() -> String) {
        self.report(|| {
            let path = path.to_string();
            let why = format!("{path} in body {}", why());
            Cause::invalid(path, value, &why)
        });
    }

    /// Whether more faults would change nothing.
    fn is_done(&self) -> bool {
        match self.silent {
            0 => self.causes.len() >= MAX_CAUSES,
            _ => self.failed,
        }
    }

    fn check(
        &mut self,
        schema: &Schema,
        value: &Value,
        path: &Path<'_>,
        resource: bool,
    ) -> Result<(), Exhausted> {
        self.effort.spend(1 + schema.required.len() / 8)?;
        if self.is_done() || value.is_null() && schema.nullable {
            return Ok(());
        }
        if !self.check_type(schema, value, path) {
            return Ok(());
        }
        if let Some(allowed) = &schema.allowed {
            self.spend_for(value)?;
            if !allowed.contains(value) {
                self.report(|| Cause::unsupported(path.to_string(), value, &allowed.list));
            }
        }
        match value {
            Value::Object(map) => {
                for name in schema.required.iter().filter(|n| !map.contains_key(*n)) {
                    self.report(|| Cause::required(path.field(name).to_string(), ""));
                }
                for (name, value) in map {
                    if (resource || schema.embedded)
                        && ["metadata", "apiVersion", "kind"].contains(&name.as_str())
                    {
                        continue;
                    }
                    let inner = schema.properties.get(name).or(schema.additional.as_deref());
                    if let Some(inner) = inner {
                        self.check(inner, value, &path.field(name), false)?;
                    }
                }
            }
            Value::Array(items) => {
                if let Some(inner) = &schema.items {
                    for (index, item) in items.iter().enumerate() {
                        self.check(inner, item, &path.index(index), false)?;
                    }
                }
                self.check_list_type(schema, value, items, path)?;
            }
            Value::String(text) => self.check_text(schema, value, text, path)?,
            Value::Number(_) => {
                if let Some(format) = &schema.format
                    && !integer::in_range(format, value)
                {
                    self.report(|| {
                        let path = path.to_string();
                        let why =
                            format!("{path} in body must be of type {format}: {}", shown(value));
                        Cause::wrong_type(path, value, &why)
                    });
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        self.check_limits(schema, value, path)?;
        self.check_logical(schema, value, path, resource)
    }

    /// Counts the parts of a value that is hashed or compared as a whole.
    fn spend_for(&mut self, value: &Value) -> Result<(), Exhausted> {
        match value {
            Value::Array(_) | Value::Object(_) => {
                let extent = limits::measure(value, MAX_DEPTH).ok_or(Exhausted)?;
                self.effort
                    .spend(extent.values + extent.bytes / BYTES_PER_STEP)
            }
            Value::String(text) => self.effort.spend(text.len() / BYTES_PER_STEP),
            _ => Ok(()),
        }
    }

    fn check_type(&mut self, schema: &Schema, value: &Value, path: &Path<'_>) -> bool {
        let wanted = if schema.int_or_string {
            if value.is_string() || super::Type::Integer.admits(value) {
                return true;
            }
            "integer or string"
        } else {
            match schema.kind {
                Some(kind) if !kind.admits(value) => kind.name(),
                _ => return true,
            }
        };
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_i64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        self.report(|| {
            let path = path.to_string();
            let why = format!("{path} in body must be of type {wanted}: {found:?}");
            Cause::wrong_type(path, &found.into(), &why)
        });
        false
    }

    fn check_text(
        &mut self,
        schema: &Schema,
        value: &Value,
        text: &str,
        path: &Path<'_>,
    ) -> Result<(), Exhausted> {
        if let Some(pattern) = &schema.pattern {
            let (regex, steps) = pattern.regex();
            self.effort.spend(steps + text.len() / BYTES_PER_STEP * 4)?;
            if !regex.is_some_and(|regex| regex.is_match(text)) {
                self.invalid(path, value, || format!("should match '{pattern}'"));
            }
        }
        if let Some(format) = &schema.format {
            self.effort.spend(text.len() / BYTES_PER_STEP)?;
            if !format::holds(format, text) {
                self.invalid(path, value, || {
                    format!("must be of type {format}: {}", shown(value))
                });
            }
        }
        Ok(())
    }

    fn check_limits(
        &mut self,
        schema: &Schema,
        value: &Value,
        path: &Path<'_>,
    ) -> Result<(), Exhausted> {
        let Some(limits) = &schema.limits else {
            return Ok(());
        };
        match value {
            Value::Number(n) => {
                let n = n.as_f64().unwrap_or_default();
                if let Some(min) = limits.minimum {
                    if limits.exclusive_minimum && n <= min {
                        self.invalid(path, value, || format!("should be greater than {min}"));
                    } else if n < min {
                        self.invalid(path, value, || {
                            format!("should be greater than or equal to {min}")
                        });
                    }
                }
                if let Some(max) = limits.maximum {
                    if limits.exclusive_maximum && n >= max {
                        self.invalid(path, value, || format!("should be less than {max}"));
                    } else if n > max {
                        self.invalid(path, value, || {
                            format!("should be less than or equal to {max}")
                        });
                    }
                }
                if let Some(step) = limits.multiple_of
                    && step > 0.0
                    && (n / step).fract() != 0.0
                {
                    self.invalid(path, value, || format!("should be a multiple of {step}"));
                }
            }
            Value::String(text) => {
                self.effort.spend(text.len() / BYTES_PER_STEP)?;
                let length = text.chars().count() as u64;
                if let Some(min) = limits.min_length.filter(|min| length < *min) {
                    self.invalid(path, value, || {
                        format!("should be at least {min} chars long")
                    });
                }
                if let Some(max) = limits.max_length.filter(|max| length > *max) {
                    self.report(|| {
                        Cause::too_long(
                            path.to_string(),
                            &format!("may not be more than {max} bytes"),
                        )
                    });
                }
            }
            Value::Array(items) => {
                let length = items.len() as u64;
                if let Some(min) = limits.min_items.filter(|min| length < *min) {
                    self.invalid(path, value, || format!("should have at least {min} items"));
                }
                if let Some(max) = limits.max_items.filter(|max| length > *max) {
                    self.invalid(path, value, || format!("should have at most {max} items"));
                }
                if limits.unique_items {
                    self.spend_for(value)?;
                    let mut seen = HashSet::with_capacity(items.len());
                    if !items.iter().all(|item| seen.insert(item)) {
                        self.invalid(path, value, || "shouldn't contain duplicates".into());
                    }
                }
            }
            Value::Object(map) => {
                let length = map.len() as u64;
                if let Some(min) = limits.min_properties.filter(|min| length < *min) {
                    self.invalid(path, value, || {
                        format!("should have at least {min} properties")
                    });
                }
                if let Some(max) = limits.max_properties.filter(|max| length > *max) {
                    self.invalid(path, value, || {
                        format!("should have at most {max} properties")
                    });
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        Ok(())
    }

    fn check_list_type(
        &mut self,
        schema: &Schema,
        value: &Value,
        items: &[Value],
        path: &Path<'_>,
    ) -> Result<(), Exhausted> {
        match &schema.list_type {
            ListType::Atomic => {}
            ListType::Set => {
                self.spend_for(value)?;
                let mut seen = HashSet::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    if !seen.insert(item) {
                        self.report(|| Cause::duplicate(path.index(index).to_string(), item));
                    }
                }
            }
            ListType::Map(keys) => {
                self.effort.spend(items.len().saturating_mul(keys.len()))?;
                let mut seen = HashSet::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let values = || keys.iter().map(|key| item.get(key));
                    for value in values().flatten() {
                        self.spend_for(value)?;
                    }
                    if !seen.insert(values().collect::<Vec<_>>()) {
                        self.report(|| {
                            let fields = keys.iter().cloned().zip(values());
                            let fields = fields.filter_map(|(k, v)| Some((k, v?.clone())));
                            let key = Value::Object(fields.collect());
                            Cause::duplicate(path.index(index).to_string(), &key)
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the value has no fault by this schema.
    fn holds(
        &mut self,
        schema: &Schema,
        value: &Value,
        path: &Path<'_>,
        resource: bool,
    ) -> Result<bool, Exhausted> {
        let failed_before = std::mem::replace(&mut self.failed, false);
        self.silent += 1;
        let checked = self.check(schema, value, path, resource);
        self.silent -= 1;
        let held = !std::mem::replace(&mut self.failed, failed_before);
        checked.map(|()| held)
    }

    fn check_logical(
        &mut self,
        schema: &Schema,
        value: &Value,
        path: &Path<'_>,
        resource: bool,
    ) -> Result<(), Exhausted> {
        let Some(logical) = &schema.logical else {
            return Ok(());
        };
        for schema in &logical.all_of {
            self.check(schema, value, path, resource)?;
        }
        if !logical.any_of.is_empty() {
            let mut any = false;
            for schema in &logical.any_of {
                any = self.holds(schema, value, path, resource)?;
                if any {
                    break;
                }
            }
            if !any {
                self.invalid(path, value, || {
                    "must validate at least one schema (anyOf)".into()
                });
            }
        }
        if !logical.one_of.is_empty() {
            let mut held = 0;
            for schema in &logical.one_of {
                held += usize::from(self.holds(schema, value, path, resource)?);
            }
            if held != 1 {
                self.invalid(path, value, || {
                    "must validate one and only one schema (oneOf)".into()
                });
            }
        }
        if let Some(schema) = &logical.not
            && self.holds(schema, value, path, resource)?
        {
            self.invalid(path, value, || "must not validate the schema (not)".into());
        }
        Ok(())
    }
}
