//! Compiles a schema from JSON to [`Schema`], within limits on its size.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    Allowed, Limits, ListType, LogicalOperators, Schema, Type,
    pattern::{MAX_SCHEMA_PATTERNS, Pattern},
    rules::Rule,
};
use crate::field_path::child;

/// The deepest nesting of a schema. It bounds the recursion of everything that walks one.
const MAX_DEPTH: usize = 64;
/// The most schemas inside a schema. The largest published definitions have about 20,000; each takes about 400 bytes.
const MAX_SCHEMAS: usize = 50_000;
/// The most CEL rules of a schema. Parsing one takes up to a few milliseconds.
const MAX_RULES: usize = 1000;

/// The path in the schema, and what is wrong there.
type Fault = (String, String);
type Compiled = Result<Schema, Fault>;

/// Compiles the schema of one version of a definition. Needs the stack of the compute pool if the schema has rules.
pub(crate) fn compile(source: &Value) -> Compiled {
    Compiler::new(None).schema(source, "", 0, true)
}

/// Compiles a schema whose `$ref`s name `definitions`, by the last component of the reference.
pub(crate) fn compile_with_definitions(
    source: &Value,
    definitions: &Map<String, Value>,
) -> Compiled {
    Compiler::new(Some(definitions)).schema(source, "", 0, true)
}

struct Compiler<'a> {
    definitions: Option<&'a Map<String, Value>>,
    /// How many schemas have been compiled.
    schemas: usize,
    rules: usize,
    /// Equal expressions count once.
    patterns: HashMap<String, Pattern>,
    /// The compiled size of all expressions.
    pattern_bytes: usize,
}

/// A schema that admits everything.
fn anything() -> Schema {
    Schema {
        preserve_unknown: true,
        ..Schema::default()
    }
}

fn is_true(source: &Value, field: &str) -> bool {
    source.get(field) == Some(&Value::Bool(true))
}

fn text<'s>(source: &'s Value, field: &str) -> Option<&'s str> {
    source.get(field).and_then(Value::as_str)
}

fn list<'s>(source: &'s Value, field: &str) -> impl Iterator<Item = &'s Value> {
    let list = source.get(field).and_then(Value::as_array);
    list.into_iter().flatten()
}

impl<'a> Compiler<'a> {
    fn new(definitions: Option<&'a Map<String, Value>>) -> Self {
        Self {
            definitions,
            schemas: 0,
            rules: 0,
            patterns: HashMap::new(),
            pattern_bytes: 0,
        }
    }

    /// `structural` is false inside `allOf`, `anyOf`, `oneOf` and `not`, where types may be left out.
    fn schema(&mut self, source: &Value, path: &str, depth: usize, structural: bool) -> Compiled {
        self.schemas += 1;
        if self.schemas > MAX_SCHEMAS {
            return Err((
                path.into(),
                format!("the schema has more than {MAX_SCHEMAS} parts"),
            ));
        }
        if depth > MAX_DEPTH {
            return match self.definitions {
                // A recursive definition, which is not checked any deeper.
                Some(_) => Ok(anything()),
                None => Err((path.into(), format!("deeper than {MAX_DEPTH}"))),
            };
        }
        if let (Some(reference), Some(definitions)) = (text(source, "$ref"), self.definitions) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            // JSONSchemaProps refers to itself. The schema of a definition is compiled by itself when it is written.
            if name.ends_with(".JSONSchemaProps") || name.ends_with(".FieldsV1") {
                return Ok(anything());
            }
            return match definitions.get(name) {
                Some(target) => self.schema(target, path, depth + 1, structural),
                None => Err((path.into(), format!("no definition of {name}"))),
            };
        }
        if source == &Value::Bool(true) {
            return Ok(anything());
        }
        let Some(fields) = source.as_object() else {
            return Err((path.into(), "must be an object".into()));
        };
        let allowed: Vec<Value> = list(source, "enum").cloned().collect();
        let mut schema = Schema {
            kind: kind(source, path)?,
            nullable: is_true(source, "nullable"),
            format: text(source, "format").map(Into::into),
            default: fields.get("default").cloned(),
            allowed: (!allowed.is_empty()).then(|| Box::new(Allowed::new(allowed))),
            limits: limits(source),
            preserve_unknown: is_true(source, "x-kubernetes-preserve-unknown-fields"),
            embedded: is_true(source, "x-kubernetes-embedded-resource"),
            int_or_string: is_true(source, "x-kubernetes-int-or-string")
                || text(source, "format") == Some("int-or-string"),
            list_type: list_type(source),
            ..Schema::default()
        };
        if schema.int_or_string {
            schema.kind = None;
        }
        let any_type = schema.int_or_string || schema.preserve_unknown;
        if structural && self.definitions.is_none() && schema.kind.is_none() && !any_type {
            return Err((
                child(path, "type"),
                "must not be empty for specified object fields".into(),
            ));
        }
        // A definition without any statement (JSON and RawExtension of Kubernetes) admits everything.
        let is_empty =
            !fields.contains_key("properties") && !fields.contains_key("additionalProperties");
        if self.definitions.is_some() && is_empty && schema.kind.is_none_or(|k| k == Type::Object) {
            schema.preserve_unknown = true;
        }
        self.inner_schemas(&mut schema, source, path, depth, structural)?;
        let required = list(source, "required");
        schema.required = required.filter_map(Value::as_str).map(Into::into).collect();
        if let Some(pattern) = text(source, "pattern") {
            let pattern = self
                .pattern(pattern)
                .map_err(|why| (child(path, "pattern"), why))?;
            schema.pattern = Some(pattern);
        }
        schema.logical = self.logical_operators(source, path, depth)?;
        let rules = source
            .get("x-kubernetes-validations")
            .unwrap_or(&Value::Null);
        self.rules += rules.as_array().map_or(0, Vec::len);
        if self.rules > MAX_RULES {
            let path = child(path, "x-kubernetes-validations");
            return Err((path, format!("the schema has more than {MAX_RULES} rules")));
        }
        schema.rules = Rule::compile_all(rules, path)?;
        let inner = schema
            .properties
            .values()
            .chain(schema.additional.as_deref());
        let mut inner = inner.chain(schema.items.as_deref());
        schema.has_rules = !schema.rules.is_empty() || inner.any(|inner| inner.has_rules);
        Ok(schema)
    }

    /// The schemas of the parts of a value.
    fn inner_schemas(
        &mut self,
        schema: &mut Schema,
        source: &Value,
        path: &str,
        depth: usize,
        structural: bool,
    ) -> Result<(), Fault> {
        let properties = source.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            let path = child(path, &format!("properties[{name}]"));
            let property = self.schema(property, &path, depth + 1, structural)?;
            schema.properties.insert(name.clone(), property);
        }
        match source.get("additionalProperties") {
            Some(additional @ Value::Object(_)) => {
                let path = child(path, "additionalProperties");
                let additional = self.schema(additional, &path, depth + 1, structural)?;
                schema.additional = Some(Box::new(additional));
            }
            Some(Value::Bool(true)) => schema.preserve_unknown = true,
            _ => {}
        }
        if let Some(items) = source.get("items") {
            let path = child(path, "items");
            let items = self.schema(items, &path, depth + 1, structural)?;
            schema.items = Some(Box::new(items));
        }
        Ok(())
    }

    fn pattern(&mut self, source: &str) -> Result<Pattern, String> {
        if let Some(pattern) = self.patterns.get(source) {
            return Ok(pattern.clone());
        }
        let pattern = Pattern::compile(source)
            .map_err(|why| format!("must be a valid regular expression: {why}"))?;
        self.pattern_bytes += pattern.class();
        if self.pattern_bytes > MAX_SCHEMA_PATTERNS {
            return Err(format!(
                "the regular expressions of the schema take more than {MAX_SCHEMA_PATTERNS} bytes when they are compiled"
            ));
        }
        self.patterns.insert(source.into(), pattern.clone());
        Ok(pattern)
    }

    fn logical_operators(
        &mut self,
        source: &Value,
        path: &str,
        depth: usize,
    ) -> Result<Option<Box<LogicalOperators>>, Fault> {
        let operators = LogicalOperators {
            all_of: self.alternatives(source, "allOf", path, depth)?,
            any_of: self.alternatives(source, "anyOf", path, depth)?,
            one_of: self.alternatives(source, "oneOf", path, depth)?,
            not: match source.get("not") {
                None | Some(Value::Null) => None,
                Some(not) => Some(self.schema(not, &child(path, "not"), depth + 1, false)?),
            },
        };
        let none = operators.all_of.is_empty()
            && operators.any_of.is_empty()
            && operators.one_of.is_empty()
            && operators.not.is_none();
        Ok((!none).then(|| Box::new(operators)))
    }

    fn alternatives(
        &mut self,
        source: &Value,
        operator: &str,
        path: &str,
        depth: usize,
    ) -> Result<Vec<Schema>, Fault> {
        let path = child(path, operator);
        list(source, operator)
            .enumerate()
            .map(|(i, s)| self.schema(s, &format!("{path}[{i}]"), depth + 1, false))
            .collect()
    }
}

fn kind(source: &Value, path: &str) -> Result<Option<Type>, Fault> {
    let name = match source.get("type") {
        // JSON Schema writes `["string", "null"]`.
        Some(Value::Array(types)) => types
            .iter()
            .filter_map(Value::as_str)
            .find(|t| *t != "null"),
        other => other.and_then(Value::as_str),
    };
    Ok(Some(match name {
        None => return Ok(None),
        Some("object") => Type::Object,
        Some("array") => Type::Array,
        Some("string") => Type::String,
        Some("integer") => Type::Integer,
        Some("number") => Type::Number,
        Some("boolean") => Type::Boolean,
        Some(other) => {
            let why = format!(
                "unknown type {other:?}: must be object, array, string, integer, number or boolean"
            );
            return Err((child(path, "type"), why));
        }
    }))
}

fn list_type(source: &Value) -> ListType {
    match text(source, "x-kubernetes-list-type") {
        Some("set") => ListType::Set,
        Some("map") => {
            let keys = list(source, "x-kubernetes-list-map-keys").filter_map(Value::as_str);
            ListType::Map(keys.map(Into::into).collect())
        }
        _ => ListType::Atomic,
    }
}

fn limits(source: &Value) -> Option<Box<Limits>> {
    let number = |field: &str| source.get(field).and_then(Value::as_f64);
    let length = |field: &str| source.get(field).and_then(Value::as_u64);
    let limits = Limits {
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: is_true(source, "exclusiveMinimum"),
        exclusive_maximum: is_true(source, "exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: length("minLength"),
        max_length: length("maxLength"),
        min_items: length("minItems"),
        max_items: length("maxItems"),
        unique_items: is_true(source, "uniqueItems"),
        min_properties: length("minProperties"),
        max_properties: length("maxProperties"),
    };
    let names = [
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
    ];
    names
        .iter()
        .any(|name| source.get(*name).is_some_and(|value| !value.is_null()))
        .then(|| Box::new(limits))
}
