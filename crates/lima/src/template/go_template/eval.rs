//! From nodes to text.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::syntax::{Command, Node, Operand, Pipeline};
use super::{ExpandError, Fixed, Names};

/// Nodes that one text may evaluate: loops in loops end here, whatever they write.
const STEP_LIMIT: usize = 100_000;

/// A value of text/template.
#[derive(Debug, Clone)]
enum Value<'v> {
    /// Go's nil, and a name without a value.
    Nil,
    /// The value of a parameter that is not defined.
    Undefined(&'v str),
    Bool(bool),
    Number(i64),
    Text(std::borrow::Cow<'v, str>),
    /// `.Param`.
    Params(&'v BTreeMap<String, String>),
    /// The dot outside of all blocks.
    Root,
}

impl Value<'_> {
    fn is_true(&self) -> bool {
        match self {
            Self::Nil | Self::Undefined(_) => false,
            Self::Bool(value) => *value,
            Self::Number(number) => *number != 0,
            Self::Text(text) => !text.is_empty(),
            Self::Params(params) => !params.is_empty(),
            Self::Root => true,
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::Nil | Self::Undefined(_) => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Params(_) | Self::Root => "a map",
        }
    }

    /// Go's `%v`; `None` for what has no text.
    fn text(&self) -> Option<String> {
        match self {
            Self::Nil | Self::Undefined(_) => Some(String::new()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone().into_owned()),
            Self::Params(_) | Self::Root => None,
        }
    }

    /// How many bytes [`Value::text`] has, at most.
    fn length(&self) -> usize {
        /// The longest number.
        const NUMBER: usize = 20;
        match self {
            Self::Text(text) => text.len(),
            _ => NUMBER,
        }
    }
}

/// Evaluates nodes into at most `limit` bytes.
pub(super) fn run(
    nodes: &[Node<'_>],
    names: &Names<'_>,
    limit: usize,
) -> Result<String, ExpandError> {
    let mut run = Run {
        names,
        out: String::new(),
        limit,
        steps: 0,
        variables: Vec::new(),
    };
    run.nodes(nodes, &Value::Root)?;
    Ok(run.out)
}

struct Run<'r> {
    names: &'r Names<'r>,
    out: String,
    limit: usize,
    steps: usize,
    /// The innermost of a name is the last.
    variables: Vec<(String, Value<'r>)>,
}

/// What went wrong in an expression; the action is added where it is known.
type Evaluated<T> = Result<T, Fault>;

enum Fault {
    Reason(String),
    Error(ExpandError),
}

impl Fault {
    fn new(reason: impl Into<String>) -> Self {
        Self::Reason(reason.into())
    }

    fn at(self, source: &str) -> ExpandError {
        match self {
            Self::Reason(reason) => ExpandError::action(source, reason),
            Self::Error(error) => error,
        }
    }
}

impl<'r> Run<'r> {
    fn write(&mut self, text: &str) -> Result<(), ExpandError> {
        if self.out.len() + text.len() > self.limit {
            return Err(ExpandError::TooLong { limit: self.limit });
        }
        self.out.push_str(text);
        Ok(())
    }

    fn nodes(&mut self, nodes: &[Node<'_>], dot: &Value<'r>) -> Result<(), ExpandError> {
        let scope = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn step(&mut self, source: &str) -> Result<(), ExpandError> {
        self.steps += 1;
        if self.steps > STEP_LIMIT {
            return Err(ExpandError::action(
                source,
                format!("the template takes more than {STEP_LIMIT} steps"),
            ));
        }
        Ok(())
    }

    fn node(&mut self, node: &Node<'_>, dot: &Value<'r>) -> Result<(), ExpandError> {
        match node {
            Node::Text(text) => self.write(text),
            Node::Output(source, pipeline) => {
                self.step(source)?;
                let value = self
                    .pipeline(pipeline, dot)
                    .map_err(|fault| fault.at(source))?;
                match &value {
                    Value::Undefined(name) if !self.names.lenient => {
                        Err(ExpandError::UndefinedParam((*name).to_owned()))
                    }
                    Value::Text(text) => self.write(text),
                    value => match value.text() {
                        Some(text) => self.write(&text),
                        None => Err(ExpandError::action(source, "is a map and not a text")),
                    },
                }
            }
            Node::Set(source, name, pipeline) => {
                self.step(source)?;
                let value = self
                    .pipeline(pipeline, dot)
                    .map_err(|fault| fault.at(source))?;
                self.set(name, value);
                Ok(())
            }
            Node::Choice {
                source,
                sets_dot,
                pipeline,
                then,
                otherwise,
            } => {
                self.step(source)?;
                let value = self
                    .pipeline(pipeline, dot)
                    .map_err(|fault| fault.at(source))?;
                match (value.is_true(), sets_dot) {
                    (true, true) => self.nodes(then, &value),
                    (true, false) => self.nodes(then, dot),
                    (false, _) => self.nodes(otherwise, dot),
                }
            }
            Node::Loop {
                source,
                variables,
                pipeline,
                body,
                otherwise,
            } => {
                self.step(source)?;
                let value = self
                    .pipeline(pipeline, dot)
                    .map_err(|fault| fault.at(source))?;
                let items: Vec<(Value<'r>, Value<'r>)> = match value {
                    Value::Params(params) => params
                        .iter()
                        .map(|(key, value)| (Value::Text(key.into()), Value::Text(value.into())))
                        .collect(),
                    Value::Nil | Value::Undefined(_) => Vec::new(),
                    other => {
                        let reason = format!("cannot loop over {}", other.describe());
                        return Err(ExpandError::action(source, reason));
                    }
                };
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                for (key, value) in items {
                    self.step(source)?;
                    let scope = self.variables.len();
                    let bound = match variables[..] {
                        [first, second] => vec![(first, key), (second, value.clone())],
                        [only] => vec![(only, value.clone())],
                        _ => Vec::new(),
                    };
                    self.variables.extend(
                        bound
                            .into_iter()
                            .map(|(name, value)| (name.to_owned(), value)),
                    );
                    self.nodes(body, &value)?;
                    self.variables.truncate(scope);
                }
                Ok(())
            }
        }
    }

    fn set(&mut self, name: &str, value: Value<'r>) {
        match self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name)
        {
            Some((_, old)) => *old = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&self, pipeline: &Pipeline<'_>, dot: &Value<'r>) -> Evaluated<Value<'r>> {
        let mut last: Option<Value<'r>> = None;
        for command in pipeline {
            let value = match command {
                Command::Value(operand) if last.is_none() => self.operand(operand, dot)?,
                Command::Value(_) => {
                    return Err(Fault::new("the text behind | is not a function"));
                }
                Command::Call(function, arguments) => {
                    self.call(function, arguments, last.take(), dot)?
                }
            };
            last = Some(value);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn operand(&self, operand: &Operand<'_>, dot: &Value<'r>) -> Evaluated<Value<'r>> {
        match operand {
            Operand::Field(fields) => self.fields(dot, fields),
            Operand::Variable("", fields) => self.fields(&Value::Root, fields),
            Operand::Variable(name, fields) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let Some((_, value)) = found else {
                    return Err(Fault::new(format!("the variable ${name} is not set")));
                };
                self.fields(value, fields)
            }
            Operand::Text(text) => Ok(Value::Text(text.clone().into())),
            Operand::Number(number) => Ok(Value::Number(*number)),
            Operand::Bool(value) => Ok(Value::Bool(*value)),
            Operand::Nil => Ok(Value::Nil),
            Operand::Nested(pipeline) => self.pipeline(pipeline, dot),
        }
    }

    fn fields(&self, from: &Value<'r>, fields: &str) -> Evaluated<Value<'r>> {
        let mut value = from.clone();
        for name in fields.split('.').filter(|name| !name.is_empty()) {
            value = match value {
                Value::Root if name == "Param" => Value::Params(self.names.params),
                Value::Root => match self.names.fixed.get(name) {
                    Some(Fixed::Text(text)) => Value::Text(text.as_str().into()),
                    Some(Fixed::Number(number)) => Value::Number(*number),
                    None => Value::Nil,
                },
                Value::Params(params) => match params.get(name) {
                    Some(text) => Value::Text(text.as_str().into()),
                    None => Value::Undefined(self.undefined(name)),
                },
                Value::Nil | Value::Undefined(_) => Value::Nil,
                _ if self.names.lenient => Value::Nil,
                other => {
                    let reason = format!(".{name} is asked of {}", other.describe());
                    return Err(Fault::Reason(reason));
                }
            };
        }
        Ok(value)
    }

    /// The name of an undefined parameter, as the text mentions it.
    fn undefined(&self, name: &str) -> &'r str {
        self.names.used.get(name).map_or("", String::as_str)
    }

    fn call(
        &self,
        function: &str,
        arguments: &[Operand<'_>],
        piped: Option<Value<'r>>,
        dot: &Value<'r>,
    ) -> Evaluated<Value<'r>> {
        // `and` and `or` look at no more arguments than they need.
        if matches!(function, "and" | "or") {
            let mut last = None;
            for operand in arguments {
                let value = self.operand(operand, dot)?;
                if value.is_true() == (function == "or") {
                    return Ok(value);
                }
                last = Some(value);
            }
            return piped
                .or(last)
                .ok_or_else(|| Fault::new(format!("{function} needs an argument")));
        }
        let mut values = arguments
            .iter()
            .map(|operand| self.operand(operand, dot))
            .collect::<Evaluated<Vec<_>>>()?;
        values.extend(piped);
        match (function, &values[..]) {
            ("not", [value]) => Ok(Value::Bool(!value.is_true())),
            ("eq", [first, rest @ ..]) if !rest.is_empty() => {
                for other in rest {
                    if compare(first, other)? == Ordering::Equal {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            ("ne", [a, b]) => Ok(Value::Bool(compare(a, b)? != Ordering::Equal)),
            ("lt", [a, b]) => Ok(Value::Bool(compare(a, b)? == Ordering::Less)),
            ("le", [a, b]) => Ok(Value::Bool(compare(a, b)? != Ordering::Greater)),
            ("gt", [a, b]) => Ok(Value::Bool(compare(a, b)? == Ordering::Greater)),
            ("ge", [a, b]) => Ok(Value::Bool(compare(a, b)? != Ordering::Less)),
            ("len", [Value::Text(text)]) => Ok(count(text.len())),
            ("len", [Value::Params(params)]) => Ok(count(params.len())),
            ("index", [map @ (Value::Params(_) | Value::Root), Value::Text(name)]) => {
                self.fields(map, name)
            }
            ("print" | "println", values) => {
                let mut parts = String::new();
                for (index, value) in values.iter().enumerate() {
                    // Go puts a blank between two operands when neither is a text.
                    let is_text = |value: &Value<'_>| matches!(value, Value::Text(_));
                    let blank = function == "println"
                        || index > 0 && !is_text(value) && !is_text(&values[index - 1]);
                    if index > 0 && blank {
                        parts.push(' ');
                    }
                    self.append(&mut parts, value)?;
                }
                if function == "println" {
                    parts.push('\n');
                }
                Ok(Value::Text(parts.into()))
            }
            ("printf", [Value::Text(format), rest @ ..]) => self.printf(format, rest),
            _ => Err(Fault::new(format!(
                "{function} does not take these arguments"
            ))),
        }
    }

    /// Appends to a value that is still to be written; it has the same limit as the whole text.
    fn append(&self, text: &mut String, value: &Value<'_>) -> Evaluated<()> {
        if text.len() + value.length() > self.limit {
            return Err(Fault::Error(ExpandError::TooLong { limit: self.limit }));
        }
        match value.text() {
            Some(part) => text.push_str(&part),
            None => return Err(Fault::new("a map cannot be printed")),
        }
        Ok(())
    }

    fn printf(&self, format: &str, values: &[Value<'_>]) -> Evaluated<Value<'r>> {
        let mut out = String::new();
        let mut values = values.iter();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let verb = chars.next();
            if verb == Some('%') {
                out.push('%');
                continue;
            }
            let value = values
                .next()
                .ok_or_else(|| Fault::new("printf has fewer arguments than its format wants"))?;
            match (verb, value) {
                (Some('v'), value) => self.append(&mut out, value)?,
                (Some('s'), value @ Value::Text(_)) => self.append(&mut out, value)?,
                (Some('d'), value @ Value::Number(_)) => self.append(&mut out, value)?,
                (Some('q'), Value::Text(text)) => {
                    // Every character may need an escape.
                    if out.len() + 4 * text.len() > self.limit {
                        return Err(Fault::Error(ExpandError::TooLong { limit: self.limit }));
                    }
                    out.push_str(&format!("{text:?}"));
                }
                _ => {
                    return Err(Fault::new(
                        "printf knows %s and %q for texts, %d for numbers, %v and %%",
                    ));
                }
            }
        }
        Ok(Value::Text(out.into()))
    }
}

fn count(length: usize) -> Value<'static> {
    Value::Number(i64::try_from(length).unwrap_or(i64::MAX))
}

fn compare(a: &Value<'_>, b: &Value<'_>) -> Evaluated<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => Ok(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
        (Value::Nil | Value::Undefined(_), Value::Nil | Value::Undefined(_)) => Ok(Ordering::Equal),
        (Value::Nil | Value::Undefined(_), _) => Ok(Ordering::Less),
        (_, Value::Nil | Value::Undefined(_)) => Ok(Ordering::Greater),
        _ => Err(Fault::new(format!(
            "cannot compare {} with {}",
            a.describe(),
            b.describe()
        ))),
    }
}
