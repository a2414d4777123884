//! From JSON to [`Schema`].

use serde_json::{Map, Value};

use super::{Junctors, Limits, ListType, Schema, Type, rules::Rule};

/// Schemas deeper than this are refused: recursion of ours is bounded by it.
const MAX_DEPTH: usize = 64;

/// Compiles the schema of a CRD's version. `Err` names the path in the schema and what is wrong there.
pub(crate) fn compile(source: &Value) -> Result<Schema, (String, String)> {
    Compiler { definitions: None }.schema(source, "", 0, true)
}

/// Compiles a schema whose `$ref`s point into `definitions`, by the last component of the reference.
pub(crate) fn compile_with_definitions(
    source: &Value,
    definitions: &Map<String, Value>,
) -> Result<Schema, (String, String)> {
    let definitions = Some(definitions);
    Compiler { definitions }.schema(source, "", 0, true)
}

struct Compiler<'a> {
    definitions: Option<&'a Map<String, Value>>,
}

type Compiled = Result<Schema, (String, String)>;

fn number(source: &Value, field: &str) -> Option<f64> {
    source[field].as_f64()
}

impl Compiler<'_> {
    fn children(
        &self,
        source: &Value,
        path: &str,
        depth: usize,
    ) -> Result<Vec<Schema>, (String, String)> {
        let list = source.as_array().into_iter().flatten().enumerate();
        list.map(|(i, s)| self.schema(s, &format!("{path}[{i}]"), depth + 1, false))
            .collect()
    }

    /// `structural`: false below a junctor, where types may be left out.
    fn schema(&self, source: &Value, path: &str, depth: usize, structural: bool) -> Compiled {
        if depth > MAX_DEPTH {
            return match self.definitions {
                // A recursive definition (JSONSchemaProps): from here on anything goes.
                Some(_) => Ok(Schema {
                    preserve_unknown: true,
                    ..Schema::default()
                }),
                None => Err((path.into(), format!("deeper than {MAX_DEPTH}"))),
            };
        }
        if let (Some(reference), Some(definitions)) = (source["$ref"].as_str(), self.definitions) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            // JSONSchemaProps refers to itself; a CRD's schema is compiled by itself anyway.
            if name.ends_with(".JSONSchemaProps") || name.ends_with(".FieldsV1") {
                return Ok(Schema {
                    preserve_unknown: true,
                    ..Schema::default()
                });
            }
            return match definitions.get(name) {
                Some(target) => self.schema(target, path, depth + 1, structural),
                None => Err((path.into(), format!("no definition of {name}"))),
            };
        }
        if source == &Value::Bool(true) {
            return Ok(Schema {
                preserve_unknown: true,
                ..Schema::default()
            });
        }
        let Some(fields) = source.as_object() else {
            return Err((path.into(), "must be an object".into()));
        };
        let mut schema = Schema {
            kind: self.kind(source, path)?,
            nullable: source["nullable"] == true,
            format: source["format"].as_str().map(Into::into),
            default: fields.get("default").cloned(),
            allowed: source["enum"].as_array().cloned().unwrap_or_default(),
            limits: limits(source),
            preserve_unknown: source["x-kubernetes-preserve-unknown-fields"] == true,
            embedded: source["x-kubernetes-embedded-resource"] == true,
            int_or_string: source["x-kubernetes-int-or-string"] == true
                || source["format"] == "int-or-string",
            ..Schema::default()
        };
        if schema.int_or_string {
            schema.kind = None;
        }
        let anything = schema.int_or_string || schema.preserve_unknown;
        if structural && self.definitions.is_none() && schema.kind.is_none() && !anything {
            return Err((
                super::child(path, "type"),
                "must not be empty for specified object fields".into(),
            ));
        }
        // A definition that says nothing (Kubernetes' JSON, RawExtension) admits everything.
        let says_nothing =
            !fields.contains_key("properties") && !fields.contains_key("additionalProperties");
        if self.definitions.is_some()
            && says_nothing
            && schema.kind.is_none_or(|k| k == Type::Object)
        {
            schema.preserve_unknown = true;
        }
        for (name, property) in source["properties"].as_object().into_iter().flatten() {
            let path = super::child(path, &format!("properties[{name}]"));
            let property = self.schema(property, &path, depth + 1, structural)?;
            schema.properties.insert(name.clone(), property);
        }
        match &source["additionalProperties"] {
            Value::Object(_) => {
                let path = super::child(path, "additionalProperties");
                let additional = self.schema(
                    &source["additionalProperties"],
                    &path,
                    depth + 1,
                    structural,
                )?;
                schema.additional = Some(Box::new(additional));
            }
            Value::Bool(true) => schema.preserve_unknown = true,
            _ => {}
        }
        if fields.contains_key("items") {
            let path = super::child(path, "items");
            let items = self.schema(&source["items"], &path, depth + 1, structural)?;
            schema.items = Some(Box::new(items));
        }
        let required = source["required"].as_array().into_iter().flatten();
        schema.required = required.filter_map(Value::as_str).map(Into::into).collect();
        if let Some(pattern) = source["pattern"].as_str() {
            let pattern = regex::Regex::new(pattern).map_err(|e| {
                (
                    super::child(path, "pattern"),
                    format!("must be a valid regular expression: {e}"),
                )
            })?;
            schema.pattern = Some(pattern);
        }
        schema.list_type = list_type(source);
        schema.junctors = self.junctors(source, path, depth)?;
        schema.rules = Rule::compile_all(&source["x-kubernetes-validations"], path)?;
        Ok(schema)
    }

    fn kind(&self, source: &Value, path: &str) -> Result<Option<Type>, (String, String)> {
        let name = match &source["type"] {
            // JSON Schema writes `["string", "null"]`.
            Value::Array(types) => types
                .iter()
                .filter_map(Value::as_str)
                .find(|t| *t != "null"),
            other => other.as_str(),
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
                return Err((super::child(path, "type"), why));
            }
        }))
    }

    fn junctors(
        &self,
        source: &Value,
        path: &str,
        depth: usize,
    ) -> Result<Option<Box<Junctors>>, (String, String)> {
        let one = |name: &str| self.children(&source[name], &super::child(path, name), depth);
        let junctors = Junctors {
            all_of: one("allOf")?,
            any_of: one("anyOf")?,
            one_of: one("oneOf")?,
            not: match &source["not"] {
                Value::Null => None,
                not => Some(self.schema(not, &super::child(path, "not"), depth + 1, false)?),
            },
        };
        let none = junctors.all_of.is_empty()
            && junctors.any_of.is_empty()
            && junctors.one_of.is_empty()
            && junctors.not.is_none();
        Ok((!none).then(|| Box::new(junctors)))
    }
}

fn list_type(source: &Value) -> ListType {
    match source["x-kubernetes-list-type"].as_str() {
        Some("set") => ListType::Set,
        Some("map") => {
            let keys = source["x-kubernetes-list-map-keys"].as_array();
            let keys = keys.into_iter().flatten().filter_map(Value::as_str);
            ListType::Map(keys.map(Into::into).collect())
        }
        _ => ListType::Atomic,
    }
}

fn limits(source: &Value) -> Option<Box<Limits>> {
    let length = |field: &str| source[field].as_u64();
    let limits = Limits {
        minimum: number(source, "minimum"),
        maximum: number(source, "maximum"),
        exclusive_minimum: source["exclusiveMinimum"] == true,
        exclusive_maximum: source["exclusiveMaximum"] == true,
        multiple_of: number(source, "multipleOf"),
        min_length: length("minLength"),
        max_length: length("maxLength"),
        min_items: length("minItems"),
        max_items: length("maxItems"),
        unique_items: source["uniqueItems"] == true,
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
        .any(|name| !source[*name].is_null())
        .then(|| Box::new(limits))
}
