//! YAML text as a tree that keeps the place of each value, read within limits.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Spanned};

/// A template is a page or two, with scripts; a ConfigMap holds at most 1 MiB.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Lima's deepest field is six levels down.
const MAX_DEPTH: usize = 32;
/// More values than any meaningful template of [`MAX_BYTES`] has.
const MAX_NODES: usize = 50_000;
/// Some templates use an anchor for a repeated script.
const MAX_ALIASES: usize = 256;
/// What all aliases together may expand to. It stops a "billion laughs" file.
const MAX_ALIAS_EVENTS: usize = 20_000;

/// A place in the text. Line and column count from 1; 0 means that the place is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self {
            line: location.line(),
            column: location.column(),
        }
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
    /// The value's first byte in the text and its length, if the parser gave them. A text field takes a number as it was
    /// written, because `1.10` is not `1.1`.
    bytes: Option<(u64, u64)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map with its place.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
}

impl Value {
    /// Describes the value in a message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("{value}"),
            Self::Int(value) => format!("the number {value}"),
            Self::Uint(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(text) => format!("the text {:?}", shortened(text)),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}

/// Returns the beginning of a text that may be long.
pub(crate) fn shortened(text: &str) -> String {
    const LIMIT: usize = 60;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Node {
    /// A node at `place`.
    pub(crate) fn new(value: Value, place: Place) -> Self {
        Self {
            value,
            place,
            bytes: None,
        }
    }

    /// Returns a scalar as it was written, or its canonical form if the place in the text is unknown.
    pub(crate) fn scalar_text(&self, source: &str) -> Option<String> {
        let written = || {
            let (start, length) = self.bytes?;
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            source
                .get(start..end)
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        };
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Bool(value) => Some(written().unwrap_or_else(|| value.to_string())),
            Value::Int(value) => Some(written().unwrap_or_else(|| value.to_string())),
            Value::Uint(value) => Some(written().unwrap_or_else(|| value.to_string())),
            Value::Float(value) => Some(written().unwrap_or_else(|| value.to_string())),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns the value of a field if this node is a map with that field.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries
                .iter_mut()
                .find(|(key, _)| key.name == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }
}

impl Node {
    /// Returns the value of a field if this node is a map with that field.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .find(|(key, _)| key.name == name)
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// Adds a field to a map. Other values stay as they are.
    pub(crate) fn insert(&mut self, key: Key, node: Node) {
        if let Value::Map(entries) = &mut self.value {
            entries.push((key, node));
        }
    }

    /// Takes a field out of a map.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Node> {
        let Value::Map(entries) = &mut self.value else {
            return None;
        };
        let index = entries.iter().position(|(key, _)| key.name == name)?;
        Some(entries.remove(index).1)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Uint(value) => serializer.serialize_u64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => serializer.collect_seq(items),
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, node) in entries {
                    map.serialize_entry(&key.name, node)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let span = spanned.defined.span();
        let bytes = span.byte_offset().zip(span.byte_len());
        Ok(Self {
            value: spanned.value,
            place: spanned.referenced.into(),
            bytes,
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
                deserializer.deserialize_any(self)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Int(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(i64::try_from(value).map_or(Value::Uint(value), Value::Int))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Float(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(Value::Text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut list = Vec::new();
                while let Some(node) = seq.next_element()? {
                    list.push(node);
                }
                Ok(Value::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let key = Key {
                        name: key.value,
                        place: key.referenced.into(),
                    };
                    entries.push((key, map.next_value()?));
                }
                Ok(Value::Map(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Text that is not YAML, or that exceeds a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// Reads one YAML document.
pub(crate) fn read(text: &str) -> Result<Node, SyntaxError> {
    let fail = |place, message| SyntaxError { place, message };
    if text.len() > MAX_BYTES {
        return Err(fail(
            Place::default(),
            format!(
                "it has {} bytes; a template has at most {MAX_BYTES}",
                text.len()
            ),
        ));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_documents: 1,
            // The parser holds back a run of comments until it knows what they belong to. The size of the text bounds it.
            max_buffered_comment_events: MAX_BYTES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
        alias_limits: alias_limits(),
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location().map(Place::from).unwrap_or_default();
        fail(place, without_place(&error.to_string()))
    })
}

fn alias_limits() -> serde_saphyr::options::AliasLimits {
    let mut limits = serde_saphyr::options::AliasLimits::default();
    limits.max_total_replayed_events = MAX_ALIAS_EVENTS;
    limits
}

/// Removes the place from the end of the parser's message, because ours has it at the beginning.
fn without_place(message: &str) -> String {
    // Some messages end with advice to the calling program.
    let message = message
        .trim()
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or_default();
    match message.rfind(" at line ") {
        Some(at) if message[at..].starts_with(" at line ") && !message[at..].contains('\n') => {
            message[..at].to_owned()
        }
        _ => message.to_owned(),
    }
}
