//! `x-kubernetes-validations`: rules in CEL.

use std::{collections::HashMap, fmt, sync::Arc};

use cel::{Context, Program, objects::Key};
use serde_json::Value;

use super::{ListType, Schema, child};
use crate::status::Cause;

/// One rule.
pub(crate) struct Rule {
    source: String,
    program: Program,
    message: Option<String>,
    message_expression: Option<Program>,
    reason: &'static str,
    field_path: Option<String>,
    /// Mentions `oldSelf`: only asked when there is an old value.
    transition: bool,
    optional_old_self: bool,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.source).finish()
    }
}

/// Compiles CEL; the parser of the `cel` crate panics on some wrong input, which must not take the server down.
fn program(source: &str) -> Result<Program, String> {
    match std::panic::catch_unwind(|| Program::compile(source)) {
        Ok(Ok(program)) => Ok(program),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("syntax error".into()),
    }
}

/// Evaluates CEL; what the interpreter does not do with an error it may do with a panic.
fn execute(program: &Program, context: &Context<'_, '_>) -> Result<cel::Value, String> {
    let evaluate = std::panic::AssertUnwindSafe(|| program.execute(context));
    match std::panic::catch_unwind(evaluate) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the evaluation broke off".into()),
    }
}

impl Rule {
    pub(super) fn compile_all(source: &Value, path: &str) -> Result<Vec<Self>, (String, String)> {
        let rules = source.as_array().into_iter().flatten().enumerate();
        rules
            .map(|(index, rule)| {
                let path = child(path, &format!("x-kubernetes-validations[{index}]"));
                Self::compile(rule).map_err(|(field, why)| (child(&path, field), why))
            })
            .collect()
    }

    fn compile(rule: &Value) -> Result<Self, (&'static str, String)> {
        let source = rule["rule"].as_str().unwrap_or_default().to_owned();
        let compiled =
            program(&source).map_err(|why| ("rule", format!("compilation failed: {why}")))?;
        let message_expression = match rule["messageExpression"].as_str() {
            Some(text) => Some(
                program(text)
                    .map_err(|why| ("messageExpression", format!("compilation failed: {why}")))?,
            ),
            None => None,
        };
        Ok(Self {
            transition: compiled.references().has_variable("oldSelf"),
            program: compiled,
            message: rule["message"].as_str().map(Into::into),
            message_expression,
            reason: match rule["reason"].as_str() {
                Some("FieldValueForbidden") => "FieldValueForbidden",
                Some("FieldValueRequired") => "FieldValueRequired",
                Some("FieldValueDuplicate") => "FieldValueDuplicate",
                _ => "FieldValueInvalid",
            },
            field_path: rule["fieldPath"].as_str().map(Into::into),
            optional_old_self: rule["optionalOldSelf"] == true,
            source,
        })
    }

    fn check(
        &self,
        schema: &Schema,
        value: &Value,
        old: Option<&Value>,
        path: &str,
    ) -> Option<Cause> {
        if self.transition && (old.is_none() || self.optional_old_self && old.is_none()) {
            return None;
        }
        let mut context = Context::default();
        context.add_variable_from_value("self", to_cel(schema, value));
        if let (true, Some(old)) = (self.transition, old) {
            context.add_variable_from_value("oldSelf", to_cel(schema, old));
        }
        let why = match execute(&self.program, &context) {
            Ok(cel::Value::Bool(true)) => return None,
            Ok(_) => self.message_text(&context),
            Err(error) => format!("rule evaluation failed: {error}: {}", self.source),
        };
        let field = match &self.field_path {
            Some(sub) => format!("{path}{sub}"),
            None => path.to_owned(),
        };
        let mut cause = Cause::invalid(field, value, &why);
        match self.reason {
            "FieldValueForbidden" => cause.message = format!("Forbidden: {why}"),
            "FieldValueRequired" => cause.message = format!("Required value: {why}"),
            _ => {}
        }
        cause.reason = self.reason;
        Some(cause)
    }

    fn message_text(&self, context: &Context<'_, '_>) -> String {
        let made = self
            .message_expression
            .as_ref()
            .map(|p| execute(p, context));
        match (made, &self.message) {
            (Some(Ok(cel::Value::String(text))), _) => text.to_string(),
            (_, Some(message)) => message.clone(),
            _ => format!("failed rule: {}", self.source),
        }
    }
}

/// JSON as CEL sees it: the schema tells integers from floating-point numbers.
fn to_cel(schema: &Schema, value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(b) => cel::Value::Bool(*b),
        Value::Number(n) => match (n.as_i64(), schema.kind) {
            (Some(n), Some(super::Type::Number)) => cel::Value::Float(n as f64),
            (Some(n), _) => cel::Value::Int(n),
            (None, _) => cel::Value::Float(n.as_f64().unwrap_or_default()),
        },
        Value::String(s) => cel::Value::String(Arc::new(s.clone())),
        Value::Array(items) => {
            let none = Schema::default();
            let items_schema = schema.items.as_deref().unwrap_or(&none);
            let items: Vec<_> = items.iter().map(|i| to_cel(items_schema, i)).collect();
            cel::Value::List(Arc::new(items))
        }
        Value::Object(map) => {
            let none = Schema::default();
            let entries = map.iter().map(|(name, value)| {
                let property = schema.properties.get(name).or(schema.additional.as_deref());
                let value = to_cel(property.unwrap_or(&none), value);
                (Key::String(Arc::new(name.clone())), value)
            });
            let entries: HashMap<Key, cel::Value> = entries.collect();
            cel::Value::Map(cel::objects::Map::from(entries))
        }
    }
}

impl Schema {
    /// Asks the rules of this value and of everything in it.
    pub(super) fn check_rules(
        &self,
        value: &Value,
        old: Option<&Value>,
        path: &str,
        causes: &mut Vec<Cause>,
    ) {
        for rule in &self.rules {
            causes.extend(rule.check(self, value, old, path));
        }
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let schema = self.properties.get(name).or(self.additional.as_deref());
                    if let Some(schema) = schema {
                        let old = old.and_then(|o| o.get(name));
                        schema.check_rules(value, old, &child(path, name), causes);
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = &self.items else { return };
                for (index, item) in items.iter().enumerate() {
                    // Only items of list maps can be told apart, so only they have an old value.
                    let old = match &self.list_type {
                        ListType::Map(keys) => old.and_then(Value::as_array).and_then(|old| {
                            old.iter()
                                .find(|o| keys.iter().all(|k| o[k.as_str()] == item[k.as_str()]))
                        }),
                        _ => None,
                    };
                    schema.check_rules(item, old, &format!("{path}[{index}]"), causes);
                }
            }
            _ => {}
        }
    }
}
