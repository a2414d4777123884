//! From text to a template, and the errors of a text that is not one.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;

use super::de::{Context, DeError, Problem, Reader};
use super::tree::{self, Key, Node, Place, Value};
use super::types::Template;
use super::unsupported::{self, Warning};

/// A parsed template, with what its author should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The template as written, without defaults.
    pub template: Template,
    /// Fields without effect: those that Lima does not have, then those that rdd does not support yet.
    pub warnings: Vec<Warning>,
    /// Fields that Lima does not have, with a guess of what was meant. [`Parsed::strict`] makes them an error.
    pub unknown: Vec<FieldError>,
}

/// Text that is not a template. The message names every wrong field at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse template: {}", self.problems())]
pub enum ParseError {
    /// Not YAML, or beyond a limit.
    Syntax {
        /// The line, from 1; 0 if the message is about the whole text.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// The parser's message.
        message: String,
    },
    /// Fields with a value of the wrong kind, and with [`Parsed::strict`] unknown ones.
    Fields(Vec<FieldError>),
}

/// An error in one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's path, such as `images[0].digest`.
    pub field: String,
    /// The field's line, from 1; 0 if it is unknown.
    pub line: u64,
    /// What the field must be instead.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        if self.line > 0 {
            write!(f, " (line {})", self.line)?;
        }
        Ok(())
    }
}

impl From<Problem> for FieldError {
    fn from(problem: Problem) -> Self {
        Self {
            field: problem.path,
            line: problem.place.line,
            message: problem.message,
        }
    }
}

/// The problems that one message lists. More would hide the first.
const MAX_LISTED: usize = 20;

impl ParseError {
    fn problems(&self) -> String {
        match self {
            Self::Syntax {
                line: 0, message, ..
            } => message.clone(),
            Self::Syntax {
                line,
                column,
                message,
            } => format!("line {line}, column {column}: {message}"),
            Self::Fields(fields) => list(fields),
        }
    }
}

/// Lists problems in one line.
pub(super) fn list<T: fmt::Display>(problems: &[T]) -> String {
    let mut listed: Vec<String> = problems
        .iter()
        .take(MAX_LISTED)
        .map(ToString::to_string)
        .collect();
    if problems.len() > MAX_LISTED {
        listed.push(format!("and {} more", problems.len() - MAX_LISTED));
    }
    listed.join("; ")
}

impl Parsed {
    /// Makes unknown fields an error, as `--strict` wants it: `digets` instead of `digest` switches off a check.
    ///
    /// # Errors
    /// [`ParseError::Fields`] with every unknown field.
    pub fn strict(self) -> Result<Self, ParseError> {
        if self.unknown.is_empty() {
            Ok(self)
        } else {
            Err(ParseError::Fields(self.unknown))
        }
    }
}

impl Template {
    /// Parses a template. A field that Lima does not have is a warning, as in Lima.
    ///
    /// # Errors
    /// [`ParseError`] with line and column, or with the path of each field.
    pub fn parse(text: &str) -> Result<Parsed, ParseError> {
        let mut root = root_of(text)?;
        normalize(&mut root);
        let context = Context {
            source: text,
            unknown: RefCell::new(Vec::new()),
        };
        let read = Template::deserialize(Reader::root(&context, &root));
        let mut unknown: Vec<FieldError> = context
            .unknown
            .into_inner()
            .into_iter()
            .map(FieldError::from)
            .collect();
        unknown.sort_by_key(|problem| problem.line);
        let template = read.map_err(|error| {
            let problem = match error {
                DeError::At(problem) => problem.into(),
                DeError::Bare(message) => FieldError {
                    field: String::new(),
                    line: 0,
                    message,
                },
            };
            ParseError::Fields(vec![problem])
        })?;
        let mut warnings: Vec<Warning> = unknown
            .iter()
            .map(|problem| Warning {
                field: problem.field.clone(),
                message: format!("{}; it is ignored (line {})", problem.message, problem.line),
            })
            .collect();
        warnings.extend(unsupported::warnings(&template));
        Ok(Parsed {
            template,
            warnings,
            unknown,
        })
    }
}

/// Reads the tree of a template, which is a map.
pub(super) fn root_of(text: &str) -> Result<Node, ParseError> {
    let root = tree::read(text).map_err(|error| ParseError::Syntax {
        line: error.place.line,
        column: error.place.column,
        message: error.message,
    })?;
    match &root.value {
        Value::Map(_) => Ok(root),
        Value::Null => Err(ParseError::Syntax {
            line: 0,
            column: 0,
            message: "it is empty".to_owned(),
        }),
        other => Err(ParseError::Syntax {
            line: root.place.line,
            column: root.place.column,
            message: format!(
                "it must be a map of fields such as \"images:\"; got {}",
                other.describe()
            ),
        }),
    }
}

/// Replaces the short forms that Lima accepts by the long ones.
fn normalize(root: &mut Node) {
    // `default` means the same as an absent field.
    for field in ["arch", "os", "vmType", "mountType"] {
        if let Some(node) = root.get_mut(field)
            && matches!(&node.value, Value::Text(text) if text == "default")
        {
            node.value = Value::Null;
        }
    }
    if let Some(base) = root.get_mut("base") {
        if matches!(base.value, Value::Text(_)) {
            base.value = Value::List(vec![base.clone()]);
        }
        each_text_becomes(base, "url");
    }
    if let Some(disks) = root.get_mut("additionalDisks") {
        each_text_becomes(disks, "name");
    }
    for list in ["provision", "probes"] {
        if let Some(Node {
            value: Value::List(items),
            ..
        }) = root.get_mut(list)
        {
            for item in items {
                if let Some(file) = item.get_mut("file") {
                    text_becomes(file, "url");
                }
            }
        }
    }
}

fn each_text_becomes(node: &mut Node, field: &str) {
    if let Value::List(items) = &mut node.value {
        for item in items {
            text_becomes(item, field);
        }
    }
}

fn text_becomes(node: &mut Node, field: &str) {
    if matches!(node.value, Value::Text(_)) {
        let place: Place = node.place;
        let text = node.clone();
        *node = Node::new(
            Value::Map(vec![(
                Key {
                    name: field.to_owned(),
                    place,
                },
                text,
            )]),
            place,
        );
    }
}
