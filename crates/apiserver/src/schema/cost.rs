//! Estimates what the CEL rules of a schema can cost at most, so that a definition whose rules would exceed their
//! budget for a large object is refused when it is created.
//!
//! The estimate follows Kubernetes: `cel-go/checker/cost.go` for expressions, `k8s.io/apiserver/pkg/cel/common` for
//! the largest size of a value without a limit in the schema, and `k8s.io/apiextensions-apiserver` for the budgets.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};
use serde_json::Value;

use super::{Schema, Type, expression::for_each_child};
use crate::field_path::child;

/// The most that one rule may cost for all values that it applies to (`StaticEstimatedCostLimit` of Kubernetes).
const PER_RULE: u64 = 10_000_000;
/// The most that all rules of a schema may cost (`StaticEstimatedCRDCostLimit` of Kubernetes).
const PER_SCHEMA: u64 = 100_000_000;
/// The largest request in bytes: what a value without a limit of its own is estimated by.
const MAX_REQUEST: u64 = 3 << 20;
/// The longest timestamp and duration in JSON.
const MAX_TIME: u64 = 32;
/// The length of a date in JSON.
const DATE: u64 = 12;

/// Returns the rules that can cost too much: the path in the schema, and why it is refused.
pub(crate) fn check_costs(schema: &Schema) -> Vec<(String, String)> {
    let mut estimate = Estimate {
        total: 0,
        faults: Vec::new(),
    };
    estimate.schema(schema, "", 1);
    if estimate.total > PER_SCHEMA {
        let why = excess(
            "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
            estimate.total,
            PER_SCHEMA,
        );
        estimate.faults.push((String::new(), why));
    }
    estimate.faults
}

fn excess(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        100.0.. => "more than 100x".into(),
        // One decimal could say that the budget is exceeded by a factor of 1.0.
        ..1.5 => format!("{factor}x"),
        _ => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

struct Estimate {
    total: u64,
    faults: Vec<(String, String)>,
}

impl Estimate {
    /// Adds the rules of a schema that applies to `values` values of one object.
    fn schema(&mut self, schema: &Schema, path: &str, values: u64) {
        if !schema.has_rules {
            return;
        }
        for (index, rule) in schema.rules.iter().enumerate() {
            let mut scope = Scope(vec![
                ("self", Shape::Schema(schema)),
                ("oldSelf", Shape::Schema(schema)),
            ]);
            let cost = scope.cost(&rule.parsed).0.saturating_mul(values);
            self.total = self.total.saturating_add(cost);
            if cost > PER_RULE {
                let path = child(path, &format!("x-kubernetes-validations[{index}].rule"));
                self.faults
                    .push((path, excess("estimated rule cost", cost, PER_RULE)));
            }
        }
        for (name, property) in &schema.properties {
            let path = child(path, &format!("properties[{name}]"));
            self.schema(property, &path, values);
        }
        let parts = [
            ("additionalProperties", &schema.additional),
            ("items", &schema.items),
        ];
        for (name, part) in parts {
            if let Some(part) = part {
                let values = values.saturating_mul(Shape::Schema(schema).size());
                self.schema(part, &child(path, name), values);
            }
        }
    }
}

/// What is known of a value about its size.
#[derive(Clone)]
enum Shape<'s> {
    /// A value of this schema.
    Schema(&'s Schema),
    /// A string of at most so many bytes.
    Text(u64),
    /// A list of at most so many items.
    List(Box<Self>, u64),
    /// A number, a boolean or null.
    Scalar,
    /// A value that the schema does not describe.
    Unknown,
}

impl<'s> Shape<'s> {
    /// The largest number of bytes, items or entries.
    fn size(&self) -> u64 {
        let schema = match self {
            Self::Schema(schema) => schema,
            Self::Text(bytes) => return *bytes,
            Self::List(_, items) => return *items,
            Self::Scalar => return 1,
            Self::Unknown => return MAX_REQUEST,
        };
        let limits = schema.limits.as_deref();
        if schema.int_or_string {
            return limits
                .and_then(|l| l.max_length)
                .map_or(MAX_REQUEST, |n| n.saturating_mul(4));
        }
        match schema.kind {
            Some(Type::Array) => limits.and_then(|l| l.max_items).unwrap_or_else(|| {
                let item = schema.items.as_deref().map_or(1, smallest);
                (MAX_REQUEST - 2) / (item + 1)
            }),
            Some(Type::Object) => match &schema.additional {
                Some(additional) => limits
                    .and_then(|l| l.max_properties)
                    .unwrap_or_else(|| (MAX_REQUEST - 2) / (smallest(additional) + 6)),
                None if schema.preserve_unknown => MAX_REQUEST / 6,
                None => schema.properties.len() as u64,
            },
            Some(Type::String) => longest(schema),
            Some(_) => 1,
            None => MAX_REQUEST,
        }
    }

    /// The shape of a field.
    fn field(&self, name: &str) -> Self {
        match self {
            Self::Schema(schema) => {
                let field = schema.properties.get(name).or(schema.additional.as_deref());
                field.map_or(Self::Unknown, Self::Schema)
            }
            _ => Self::Unknown,
        }
    }

    /// The shape of an item of a list or of a value of a map.
    fn item(&self) -> Self {
        match self {
            Self::Schema(schema) => {
                let item = schema.items.as_deref().or(schema.additional.as_deref());
                item.map_or(Self::Unknown, Self::Schema)
            }
            Self::List(item, _) => (**item).clone(),
            _ => Self::Unknown,
        }
    }

    /// The shape of what a loop over the value visits: items, or the keys of a map.
    fn visited(&self) -> Self {
        match self {
            Self::Schema(schema) if schema.kind == Some(Type::Object) => {
                // All keys together fit into one request.
                Self::Text(MAX_REQUEST / self.size().max(1))
            }
            _ => self.item(),
        }
    }

    /// The number of bytes that a string can have, or 1: what walking the value costs ten times.
    fn walked(&self) -> u64 {
        match self {
            Self::Schema(schema)
                if schema.kind == Some(Type::Object) && schema.additional.is_none() =>
            {
                1
            }
            _ => self.size(),
        }
    }
}

/// The longest string of a schema in bytes. A character has up to four.
fn longest(schema: &Schema) -> u64 {
    match schema.format.as_deref() {
        Some("duration" | "date-time") => return MAX_TIME,
        Some("date") => return DATE,
        _ => {}
    }
    if let Some(max) = schema.limits.as_deref().and_then(|l| l.max_length) {
        return max.saturating_mul(4);
    }
    match &schema.allowed {
        Some(allowed) => {
            let texts = allowed.list.iter().filter_map(Value::as_str);
            texts.map(|text| text.len() as u64).max().unwrap_or(0)
        }
        None => MAX_REQUEST - 2,
    }
}

/// The smallest value of a schema in bytes of JSON.
fn smallest(schema: &Schema) -> u64 {
    match (schema.kind, schema.format.as_deref()) {
        (Some(Type::Object), _) if schema.additional.is_none() => {
            let required = schema.required.iter().filter_map(|name| {
                let property = schema.properties.get(name)?;
                property
                    .default
                    .is_none()
                    .then(|| name.len() as u64 + smallest(property) + 4)
            });
            2 + required.sum::<u64>()
        }
        (Some(Type::String), Some("date-time")) => 21,
        (Some(Type::String), Some("date")) => DATE,
        (Some(Type::String), Some("duration")) => 3,
        (Some(Type::Object | Type::Array | Type::String), _) => 2,
        (Some(Type::Boolean), _) => 4,
        (Some(Type::Integer | Type::Number) | None, _) => 1,
    }
}

/// The variables of an expression, innermost last.
struct Scope<'e, 's>(Vec<(&'e str, Shape<'s>)>);

impl<'e, 's> Scope<'e, 's> {
    /// The largest cost of an expression, and the shape of its result.
    fn cost(&mut self, expr: &'e IdedExpr) -> (u64, Shape<'s>) {
        match &expr.expr {
            Expr::Unspecified => (0, Shape::Unknown),
            Expr::Literal(LiteralValue::String(text)) => {
                (0, Shape::Text(text.inner().len() as u64))
            }
            Expr::Literal(LiteralValue::Bytes(bytes)) => {
                (0, Shape::Text(bytes.inner().len() as u64))
            }
            Expr::Literal(_) => (0, Shape::Scalar),
            Expr::Ident(name) => {
                let found = self.0.iter().rev().find(|(known, _)| known == name);
                (1, found.map_or(Shape::Unknown, |(_, shape)| shape.clone()))
            }
            Expr::Select(select) => self.select(select),
            Expr::List(list) => {
                let (mut cost, mut item) = (10, Shape::Unknown);
                for element in &list.elements {
                    let (more, shape) = self.cost(element);
                    cost = add(cost, more);
                    item = shape;
                }
                (
                    cost,
                    Shape::List(Box::new(item), list.elements.len() as u64),
                )
            }
            Expr::Map(_) | Expr::Struct(_) => {
                let mut cost = 40_u64;
                let mut parts = Vec::new();
                for_each_child(expr, &mut |part| parts.push(part));
                for part in parts {
                    cost = add(cost, self.cost(part).0);
                }
                (cost, Shape::Unknown)
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(loop_) => self.comprehension(loop_),
        }
    }

    fn select(&mut self, select: &'e SelectExpr) -> (u64, Shape<'s>) {
        let (cost, operand) = self.cost(&select.operand);
        let shape = match select.test {
            true => Shape::Scalar,
            false => operand.field(&select.field),
        };
        (add(cost, 1), shape)
    }

    fn call(&mut self, call: &'e CallExpr) -> (u64, Shape<'s>) {
        let mut cost = 0;
        let mut shapes = Vec::new();
        for argument in call.target.as_deref().into_iter().chain(&call.args) {
            let (more, shape) = self.cost(argument);
            cost = add(cost, more);
            shapes.push(shape);
        }
        let walked = |index: usize| shapes.get(index).map_or(1, Shape::walked);
        let tenth = |bytes: u64| bytes.div_ceil(10).max(1);
        let (more, shape) = match (call.func_name.as_str(), shapes.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::CONDITIONAL, shapes) => {
                (0, shapes.last().cloned().unwrap_or(Shape::Unknown))
            }
            (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, [list, _]) => {
                (1, list.item())
            }
            (operators::ADD, [left, right]) => {
                let size = left.size().saturating_add(right.size());
                let shape = match (left, right) {
                    (Shape::Scalar, _) | (_, Shape::Scalar) => Shape::Scalar,
                    (Shape::Text(_), _) | (_, Shape::Text(_)) => Shape::Text(size),
                    (list, _) => Shape::List(Box::new(list.item()), size),
                };
                (tenth(size), shape)
            }
            (operators::IN, [_, container]) => (container.size().max(1), Shape::Scalar),
            (
                operators::EQUALS
                | operators::NOT_EQUALS
                | operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                _,
            ) => (tenth(walked(0).min(walked(1))), Shape::Scalar),
            ("startsWith" | "endsWith", _) => (tenth(walked(1)), Shape::Scalar),
            ("contains", _) => (
                tenth(walked(0)).saturating_mul(tenth(walked(1))),
                Shape::Scalar,
            ),
            ("matches", _) => (
                tenth(walked(0).saturating_add(1)).saturating_mul(walked(1).div_ceil(4).max(1)),
                Shape::Scalar,
            ),
            ("string" | "bytes", [value]) => {
                (tenth(value.walked()), Shape::Text(value.size().max(64)))
            }
            // Optionals have the shape of their value.
            ("of" | "ofNonZeroValue" | "value" | "orValue" | "or", shapes) => (
                1,
                shapes
                    .iter()
                    .max_by_key(|shape| shape.size())
                    .cloned()
                    .unwrap_or(Shape::Unknown),
            ),
            _ => (1, Shape::Scalar),
        };
        (add(cost, more), shape)
    }

    fn comprehension(&mut self, loop_: &'e ComprehensionExpr) -> (u64, Shape<'s>) {
        let (range_cost, range) = self.cost(&loop_.iter_range);
        let (init_cost, init) = self.cost(&loop_.accu_init);
        let variables = self.0.len();
        self.0.push((&loop_.iter_var, range.visited()));
        if let Some(second) = &loop_.iter_var2 {
            self.0.push((second, range.item()));
        }
        self.0.push((&loop_.accu_var, init.clone()));
        let (condition_cost, _) = self.cost(&loop_.loop_cond);
        let (step_cost, step) = self.cost(&loop_.loop_step);
        self.0.truncate(variables);
        let turns = range.size();
        let result = match (init, step) {
            // `map` and `filter` add at most one item in each turn.
            (Shape::List(..), step) => Shape::List(Box::new(step.item()), turns),
            (init, _) => init,
        };
        self.0.push((&loop_.accu_var, result));
        let (result_cost, result) = self.cost(&loop_.result);
        self.0.truncate(variables);
        let turn_cost = add(condition_cost, step_cost);
        let loop_cost = turn_cost.saturating_mul(turns);
        let cost = add(add(range_cost, init_cost), add(loop_cost, result_cost));
        (cost, result)
    }
}

fn add(left: u64, right: u64) -> u64 {
    left.saturating_add(right)
}
