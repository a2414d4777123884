//! From text to a [`Template`], with everything that is wrong with it.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;

use super::de::{Context, DeError, Problem, Reader};
use super::tree::{self, Key, Node, Place, Value};
use super::{Template, Warning, unsupported};

/// A template that was read, and what the user should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The template as written; nothing is filled in yet.
    pub template: Template,
    /// Fields that are known and that rdd does not act on yet.
    pub warnings: Vec<Warning>,
}

/// Text that is not a template. The message names every unknown field at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse template: {}", self.problems())]
pub enum ParseError {
    /// Not YAML, or more than the limits allow.
    Syntax {
        /// The line, from 1; 0 when it is about the whole text.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// Fields that do not exist, or that hold a value of the wrong kind.
    Fields(Vec<FieldError>),
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Its path, such as `images[0].digest`.
    pub field: String,
    /// The line it stands on, from 1; 0 when it is not known.
    pub line: u64,
    /// What is wrong with it.
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

/// So many of a template's mistakes are told at once; more would hide the first.
const MAX_TOLD: usize = 20;

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
            Self::Fields(fields) => tell(fields),
        }
    }
}

/// The problems in one line.
pub(super) fn tell<T: fmt::Display>(problems: &[T]) -> String {
    let mut told: Vec<String> = problems
        .iter()
        .take(MAX_TOLD)
        .map(ToString::to_string)
        .collect();
    if problems.len() > MAX_TOLD {
        told.push(format!("and {} more", problems.len() - MAX_TOLD));
    }
    told.join("; ")
}

impl Template {
    /// Reads a template.
    ///
    /// A field that Lima does not know is an error and not a warning: `digets` instead of `digest` would switch off a
    /// check that somebody relies on.
    ///
    /// # Errors
    /// [`ParseError`] with line and column, or with the path of each field.
    pub fn parse(text: &str) -> Result<Parsed, ParseError> {
        let mut root = tree::read(text).map_err(|error| ParseError::Syntax {
            line: error.place.line,
            column: error.place.column,
            message: error.message,
        })?;
        match root.value {
            Value::Map(_) => {}
            Value::Null => {
                return Err(ParseError::Syntax {
                    line: 0,
                    column: 0,
                    message: "it is empty".to_owned(),
                });
            }
            ref other => {
                return Err(ParseError::Syntax {
                    line: root.place.line,
                    column: root.place.column,
                    message: format!(
                        "it must be a map of fields such as \"images:\"; got {}",
                        other.describe()
                    ),
                });
            }
        }
        normalize(&mut root);
        let context = Context {
            source: text,
            unknown: RefCell::new(Vec::new()),
        };
        let read = Template::deserialize(Reader::root(&context, &root));
        let mut problems: Vec<FieldError> = context
            .unknown
            .into_inner()
            .into_iter()
            .map(FieldError::from)
            .collect();
        match read {
            Ok(template) if problems.is_empty() => {
                let warnings = unsupported::warnings(&template);
                Ok(Parsed { template, warnings })
            }
            Ok(_) => Err(in_order(problems)),
            Err(error) => {
                problems.push(match error {
                    DeError::At(problem) => problem.into(),
                    DeError::Bare(message) => FieldError {
                        field: String::new(),
                        line: 0,
                        message,
                    },
                });
                Err(in_order(problems))
            }
        }
    }
}

/// In the order of the text, as one corrects it.
fn in_order(mut problems: Vec<FieldError>) -> ParseError {
    problems.sort_by_key(|problem| problem.line);
    ParseError::Fields(problems)
}

/// Lima lets some fields be written in a short way; here each becomes the long one.
fn normalize(root: &mut Node) {
    // `default` means the same as not to say it.
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
