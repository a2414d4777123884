//! `x-kubernetes-validations`: rules in CEL.
//!
//! Facts about the order, the budget and the messages: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel`.

use std::{collections::HashMap, fmt};

use cel::{
    Context,
    common::{
        ast::IdedExpr,
        types::{
            CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional, CelString,
        },
        value::Val,
    },
};
use serde_json::Value;

use super::{
    ListType, Schema, Type,
    expression::{Expression, Outcome, environment},
    meter::{self, Ended},
};
use crate::{
    compute::Token,
    field_path::{Path, child},
    status::{Cause, MAX_CAUSES},
};

/// The longest text of a `messageExpression`, in bytes; Kubernetes' limit.
const MAX_MESSAGE: usize = 5 << 10;
/// The longest part of a rule that a message shows, in bytes.
const MAX_SHOWN_RULE: usize = 512;
/// The name of the value before the write.
const OLD_SELF: &str = "oldSelf";

/// One rule.
pub(crate) struct Rule {
    source: String,
    expression: Expression,
    /// The rule as it was parsed, for the estimate of its cost.
    pub(super) parsed: IdedExpr,
    message: Option<String>,
    message_expression: Option<Expression>,
    reason: &'static str,
    field_path: Option<String>,
    /// The rule mentions `oldSelf`, so it is evaluated only if there is an old value.
    transition: bool,
    /// `oldSelf` is an optional, so the rule is evaluated without an old value as well.
    optional_old_self: bool,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.source).finish()
    }
}

fn parse(source: &str) -> Result<(Expression, IdedExpr), String> {
    Expression::parse(source).map_err(|why| format!("compilation failed: {why}"))
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
        let text = |field: &str| rule.get(field).and_then(Value::as_str);
        let source = text("rule").unwrap_or_default().to_owned();
        let (expression, parsed) = parse(&source).map_err(|why| ("rule", why))?;
        let message_expression = match text("messageExpression") {
            Some(text) => Some(parse(text).map_err(|why| ("messageExpression", why))?.0),
            None => None,
        };
        Ok(Self {
            transition: parsed.references().has_variable(OLD_SELF),
            expression,
            parsed,
            message: text("message").map(Into::into),
            message_expression,
            reason: match text("reason") {
                Some("FieldValueForbidden") => "FieldValueForbidden",
                Some("FieldValueRequired") => "FieldValueRequired",
                Some("FieldValueDuplicate") => "FieldValueDuplicate",
                _ => "FieldValueInvalid",
            },
            field_path: text("fieldPath").map(Into::into),
            optional_old_self: rule.get("optionalOldSelf") == Some(&Value::Bool(true)),
            source,
        })
    }

    /// The rule as messages name it: its own message, or the start of its text.
    fn shown(&self) -> &str {
        let text = self.message.as_deref().unwrap_or(&self.source).trim();
        &text[..text.floor_char_boundary(MAX_SHOWN_RULE)]
    }

    /// Evaluates the rule. `Ok(None)` if it holds, `Err` if no further rule may be evaluated.
    fn check(
        &self,
        context: &Context<'_, '_>,
        value: &Value,
        path: &Path<'_>,
        budget: &mut u64,
        token: &Token,
    ) -> Result<Option<Cause>, Cause> {
        let invalid = |why: &str| Cause::invalid(path.to_string(), value, why);
        let (result, ended) = self.expression.evaluate(context, budget, token);
        if let Some(ended) = ended {
            return Err(invalid(&self.end_text(ended)));
        }
        let why = match result {
            Ok(Outcome::Bool(true)) => return Ok(None),
            Ok(_) => self.message_text(context, budget, token),
            Err(error) => {
                return Ok(Some(invalid(&format!(
                    "{error} evaluating rule: {}",
                    self.shown()
                ))));
            }
        };
        let field = match &self.field_path {
            Some(inner) => format!("{path}{inner}"),
            None => path.to_string(),
        };
        let mut cause = Cause::invalid(field, value, &why);
        match self.reason {
            "FieldValueForbidden" => cause.message = format!("Forbidden: {why}"),
            "FieldValueRequired" => cause.message = format!("Required value: {why}"),
            _ => {}
        }
        cause.reason = self.reason;
        Ok(Some(cause))
    }

    fn end_text(&self, ended: Ended) -> String {
        match ended {
            Ended::Call => format!(
                "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to \
                 call cost exceeds limit for rule: {}",
                self.shown()
            ),
            Ended::Object => {
                "validation failed due to running out of cost budget, no further validation rules will be run".into()
            }
            Ended::Stopped => "validation failed due to its time limit, no further validation rules will be run".into(),
        }
    }

    fn message_text(&self, context: &Context<'_, '_>, budget: &mut u64, token: &Token) -> String {
        if let Some(expression) = &self.message_expression
            && let (Ok(Outcome::Text(text)), None) = expression.evaluate(context, budget, token)
        {
            let text = text.trim();
            if !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n') {
                return text.into();
            }
        }
        match &self.message {
            Some(message) => message.clone(),
            None => format!("failed rule: {}", self.shown()),
        }
    }
}

/// A JSON value as CEL sees it. The schema distinguishes integers from floating-point numbers. Strings are borrowed.
fn to_cel<'v>(schema: &Schema, value: &'v Value) -> Box<dyn Val + 'v> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(b) => Box::new(CelBool::from(*b)),
        Value::Number(n) => match (n.as_i64(), schema.kind) {
            (Some(n), Some(Type::Number)) => Box::new(CelDouble::from(n as f64)),
            (Some(n), _) => Box::new(CelInt::from(n)),
            (None, _) => Box::new(CelDouble::from(n.as_f64().unwrap_or_default())),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            let none = Schema::default();
            let schema = schema.items.as_deref().unwrap_or(&none);
            let items: Vec<_> = items.iter().map(|item| to_cel(schema, item)).collect();
            Box::new(CelList::from(items))
        }
        Value::Object(map) => {
            let none = Schema::default();
            let entries = map.iter().map(|(name, value)| {
                let property = schema.properties.get(name).or(schema.additional.as_deref());
                let value = to_cel(property.unwrap_or(&none), value);
                (CelMapKey::from(name.as_str()), value)
            });
            let entries: HashMap<CelMapKey<'v>, Box<dyn Val + 'v>> = entries.collect();
            Box::new(CelMap::from(entries))
        }
    }
}

impl Schema {
    /// Evaluates the rules of this schema and of the schemas inside it within the budget of one object.
    pub(super) fn evaluate_rules(
        &self,
        value: &Value,
        old: Option<&Value>,
        token: &Token,
    ) -> Vec<Cause> {
        let mut evaluation = Evaluation {
            budget: meter::PER_OBJECT,
            token,
            causes: Vec::new(),
        };
        // The cause of an early end is among the causes already.
        let _ = evaluation.check(self, value, old, &Path::Root);
        evaluation.causes
    }
}

/// No further rule may be evaluated.
struct End;

struct Evaluation<'t> {
    budget: u64,
    token: &'t Token,
    causes: Vec<Cause>,
}

impl Evaluation<'_> {
    fn check(
        &mut self,
        schema: &Schema,
        value: &Value,
        old: Option<&Value>,
        path: &Path<'_>,
    ) -> Result<(), End> {
        // As in Kubernetes, the rules of a schema do not see null: the schema around it has to.
        if !schema.has_rules || value.is_null() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        self.check_own(schema, value, old, path)?;
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    let inner = schema.properties.get(name).or(schema.additional.as_deref());
                    if let Some(inner) = inner {
                        let old = old.and_then(|old| old.get(name));
                        self.check(inner, value, old, &path.field(name))?;
                    }
                }
            }
            Value::Array(items) => {
                if let Some(inner) = schema.items.as_ref().filter(|inner| inner.has_rules) {
                    let old = OldItems::new(&schema.list_type, old);
                    for (index, item) in items.iter().enumerate() {
                        self.check(inner, item, old.find(item), &path.index(index))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Evaluates the rules of one schema. The value is converted once for all of them.
    fn check_own(
        &mut self,
        schema: &Schema,
        value: &Value,
        old: Option<&Value>,
        path: &Path<'_>,
    ) -> Result<(), End> {
        let applies = |rule: &&Rule| !rule.transition || old.is_some() || rule.optional_old_self;
        let rules: Vec<&Rule> = schema.rules.iter().filter(applies).collect();
        if rules.is_empty() {
            return Ok(());
        }
        let mut context = Context::with_env(environment());
        context.add_variable_as_val("self", to_cel(schema, value));
        let uses_old = rules.iter().any(|rule| rule.transition);
        if let (true, Some(old)) = (uses_old, old) {
            context.add_variable_as_val(OLD_SELF, to_cel(schema, old));
        }
        let mut optional = context.new_inner_scope();
        if uses_old {
            let old = match old {
                Some(old) => CelOptional::of(to_cel(schema, old)),
                None => CelOptional::none(),
            };
            optional.add_variable_as_val(OLD_SELF, Box::new(old));
        }
        for rule in rules {
            let context = match rule.optional_old_self {
                true => &optional,
                false => &context,
            };
            match rule.check(context, value, path, &mut self.budget, self.token) {
                Ok(cause) => self.causes.extend(cause),
                Err(cause) => {
                    self.causes.push(cause);
                    return Err(End);
                }
            }
            if self.causes.len() >= MAX_CAUSES {
                return Err(End);
            }
        }
        Ok(())
    }
}

/// The old items of a list, by their keys. Only the items of list maps can be identified, so only they have one.
struct OldItems<'o> {
    keys: &'o [String],
    items: HashMap<Vec<Option<&'o Value>>, &'o Value>,
}

impl<'o> OldItems<'o> {
    fn new(list_type: &'o ListType, old: Option<&'o Value>) -> Self {
        let (ListType::Map(keys), Some(Value::Array(old))) = (list_type, old) else {
            return Self {
                keys: &[],
                items: HashMap::new(),
            };
        };
        let items = old.iter().map(|item| (key_of(keys, item), item));
        Self {
            keys,
            items: items.collect(),
        }
    }

    fn find(&self, item: &Value) -> Option<&'o Value> {
        if self.items.is_empty() {
            return None;
        }
        self.items.get(&key_of(self.keys, item)).copied()
    }
}

fn key_of<'i>(keys: &[String], item: &'i Value) -> Vec<Option<&'i Value>> {
    keys.iter().map(|key| item.get(key)).collect()
}
