//! Structural schemas: JSONSchemaProps of `apiextensions.k8s.io/v1`, compiled.
//!
//! A written object passes them in this order: [`prune`] drops unknown fields, [`default`] fills in defaults,
//! [`integer`] gives integers one form, [`validate`] checks the result, and [`rules`] evaluates the CEL rules.
//!
//! Every step is bounded. The size of a schema is limited when it is compiled ([`compile`]), validation counts its
//! steps ([`effort`]), and CEL rules have a static cost limit ([`cost`]) and a budget at run time ([`meter`]).

mod compile;
mod cost;
mod default;
mod effort;
mod expression;
mod format;
mod integer;
mod meter;
mod pattern;
mod prune;
mod rules;
mod validate;

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

pub(crate) use compile::{compile, compile_with_definitions};
pub(crate) use cost::check_costs;
pub(crate) use default::TooLarge;
pub(crate) use effort::{Effort, Exhausted, too_many_steps};
pub(crate) use validate::validate;

/// The JSON type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::String => value.is_string(),
            Self::Integer => integer::is_integer(value),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

/// How the items of a list are identified (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// Not at all.
    #[default]
    Atomic,
    /// By their value.
    Set,
    /// By the values of these fields.
    Map(Vec<String>),
}

/// A compiled schema of one value.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub(crate) kind: Option<Type>,
    pub(crate) nullable: bool,
    pub(crate) format: Option<String>,
    pub(crate) properties: BTreeMap<String, Schema>,
    pub(crate) additional: Option<Box<Schema>>,
    pub(crate) items: Option<Box<Schema>>,
    pub(crate) required: Vec<String>,
    pub(crate) default: Option<Value>,
    pub(crate) allowed: Option<Box<Allowed>>,
    pub(crate) pattern: Option<pattern::Pattern>,
    pub(crate) limits: Option<Box<Limits>>,
    pub(crate) preserve_unknown: bool,
    pub(crate) embedded: bool,
    pub(crate) int_or_string: bool,
    pub(crate) list_type: ListType,
    pub(crate) logical: Option<Box<LogicalOperators>>,
    pub(crate) rules: Vec<rules::Rule>,
    /// Whether this schema or one inside it has CEL rules.
    pub(crate) has_rules: bool,
}

/// The values of an `enum`.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// In the order of the schema, for messages.
    pub(crate) list: Vec<Value>,
    set: HashSet<Value>,
}

impl Allowed {
    fn new(list: Vec<Value>) -> Self {
        let set = list.iter().cloned().collect();
        Self { list, set }
    }

    fn contains(&self, value: &Value) -> bool {
        self.set.contains(value)
    }
}

/// Limits that most schemas do not have, kept apart so that a schema stays small.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) minimum: Option<f64>,
    pub(crate) maximum: Option<f64>,
    pub(crate) exclusive_minimum: bool,
    pub(crate) exclusive_maximum: bool,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) unique_items: bool,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
}

/// Schemas that only validate: they neither prune nor fill in defaults.
#[derive(Debug, Default)]
pub(crate) struct LogicalOperators {
    pub(crate) all_of: Vec<Schema>,
    pub(crate) any_of: Vec<Schema>,
    pub(crate) one_of: Vec<Schema>,
    pub(crate) not: Option<Schema>,
}
