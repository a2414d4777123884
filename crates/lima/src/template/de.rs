//! Deserializes the template's types from a tree. Unknown fields are collected with their paths instead of stopping at
//! the first, and the error of a value of the wrong kind has its path and place.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::tree::{Key, Node, Place, Value, shortened};

/// A problem with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// `images[0].digest`; empty for the whole template.
    pub(crate) path: String,
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// An error that is passed up until its field is known.
#[derive(Debug)]
pub(crate) enum DeError {
    /// The place is still to be added.
    Bare(String),
    At(Problem),
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare(message) => f.write_str(message),
            Self::At(problem) => f.write_str(&problem.message),
        }
    }
}

impl std::error::Error for DeError {}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Bare(message.to_string())
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let quoted: Vec<_> = expected.iter().map(|name| format!("{name:?}")).collect();
        let hint = suggestion(variant, expected)
            .map(|name| format!(", did you mean {name:?}?"))
            .unwrap_or_default();
        Self::Bare(format!(
            "must be one of {}; got {:?}{hint}",
            quoted.join(", "),
            shortened(variant)
        ))
    }
}

/// Returns the name of `known` that was probably meant: the same name in another case, or one with at most two typos.
pub(crate) fn suggestion<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    /// With more typos a guess is as likely wrong as right.
    const TYPOS: usize = 2;
    if let Some(name) = known.iter().find(|name| name.eq_ignore_ascii_case(given)) {
        return Some(name);
    }
    let allowed = TYPOS.min(given.chars().count() / 2);
    known
        .iter()
        .map(|name| {
            (
                strsim::osa_distance(&given.to_lowercase(), &name.to_lowercase()),
                *name,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Shared by all readers of one template.
pub(crate) struct Context<'s> {
    pub(crate) source: &'s str,
    pub(crate) unknown: RefCell<Vec<Problem>>,
}

/// Reads one value.
pub(crate) struct Reader<'c> {
    context: &'c Context<'c>,
    node: &'c Node,
    path: String,
}

impl<'c> Reader<'c> {
    pub(crate) fn root(context: &'c Context<'c>, node: &'c Node) -> Self {
        Self {
            context,
            node,
            path: String::new(),
        }
    }

    fn problem(&self, message: String) -> DeError {
        DeError::At(Problem {
            path: self.path.clone(),
            place: self.node.place,
            message,
        })
    }

    fn locate(&self, error: DeError) -> DeError {
        match error {
            DeError::Bare(message) => self.problem(message),
            located @ DeError::At(_) => located,
        }
    }

    fn wrong_kind(&self, expected: &str) -> DeError {
        self.problem(format!(
            "must be {expected}; got {}",
            self.node.value.describe()
        ))
    }

    fn integer<'de, V: Visitor<'de>>(
        self,
        expected: &str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let result = match &self.node.value {
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Uint(value) => visitor.visit_u64(*value),
            _ => return Err(self.wrong_kind(expected)),
        };
        // serde's message for a number out of range names Rust's types.
        result.map_err(|_: DeError| self.wrong_kind(expected))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

macro_rules! integers {
    ($($method:ident: $expected:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
            self.integer($expected, visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = DeError;

    integers! {
        deserialize_u8: "a number from 0 to 255";
        deserialize_u16: "a number from 0 to 65535";
        deserialize_u32: "a whole number from 0 to 4294967295";
        deserialize_u64: "a whole number that is not negative";
        deserialize_i8: "a whole number";
        deserialize_i16: "a whole number";
        deserialize_i32: "a whole number";
        deserialize_i64: "a whole number";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Uint(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.wrong_kind("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node.scalar_text(self.context.source) {
            Some(text) => visitor.visit_str(&text).map_err(|error| self.locate(error)),
            None if matches!(self.node.value, Value::Null) => visitor.visit_str(""),
            None => Err(self.wrong_kind("a text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let Value::List(nodes) = &self.node.value else {
            // An empty field is an empty list, as in Lima.
            return match self.node.value {
                Value::Null => visitor.visit_seq(Items {
                    reader: &self,
                    nodes: [].iter(),
                    index: 0,
                }),
                _ => Err(self.wrong_kind("a list")),
            };
        };
        visitor
            .visit_seq(Items {
                reader: &self,
                nodes: nodes.iter(),
                index: 0,
            })
            .map_err(|error| self.locate(error))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match &self.node.value {
            Value::List(nodes) if nodes.len() == len => self.deserialize_seq(visitor),
            _ => Err(self.wrong_kind(&format!("a list of {len}"))),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let none = Vec::new();
        let entries = match &self.node.value {
            Value::Map(entries) => entries,
            Value::Null => &none,
            _ => return Err(self.wrong_kind("a map of names to values")),
        };
        visitor
            .visit_map(Fields::all(&self, entries))
            .map_err(|error| self.locate(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let none = Vec::new();
        let entries = match &self.node.value {
            Value::Map(entries) => entries,
            Value::Null => &none,
            _ => return Err(self.wrong_kind("a map of fields")),
        };
        let mut access = Fields::all(&self, entries);
        access.entries.retain(|(key, _)| {
            let known = fields.contains(&key.name.as_str());
            // `x-` marks fields for other programs.
            if !known && !key.name.starts_with("x-") {
                let hint =
                    suggestion(&key.name, fields).map(|name| format!(", did you mean {name}?"));
                self.context.unknown.borrow_mut().push(Problem {
                    path: join(&self.path, &shortened(&key.name)),
                    place: key.place,
                    message: format!("unknown field{}", hint.unwrap_or_default()),
                });
            }
            known
        });
        visitor
            .visit_map(access)
            .map_err(|error| self.locate(error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        match &self.node.value {
            Value::Text(text) => visitor
                .visit_enum(Name(text.as_str().into_deserializer()))
                .map_err(|error| self.locate(error)),
            _ => Err(self.wrong_kind(&format!("one of {}", variants.join(", ")))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple_struct identifier ignored_any
    }
}

/// The items of a list.
struct Items<'r, 'c> {
    reader: &'r Reader<'c>,
    nodes: std::slice::Iter<'c, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = DeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DeError> {
        let Some(node) = self.nodes.next() else {
            return Ok(None);
        };
        let path = format!("{}[{}]", self.reader.path, self.index);
        self.index += 1;
        let reader = Reader {
            context: self.reader.context,
            node,
            path: path.clone(),
        };
        seed.deserialize(reader)
            .map(Some)
            .map_err(|error| match error {
                DeError::Bare(message) => DeError::At(Problem {
                    path,
                    place: node.place,
                    message,
                }),
                located @ DeError::At(_) => located,
            })
    }
}

/// The fields of a map, in reverse, so that taking the next one is cheap.
struct Fields<'r, 'c> {
    reader: &'r Reader<'c>,
    entries: Vec<(&'r Key, &'r Node)>,
    current: Option<(&'r Key, &'r Node)>,
}

impl<'r, 'c> Fields<'r, 'c> {
    fn all(reader: &'r Reader<'c>, entries: &'r [(Key, Node)]) -> Self {
        Self {
            reader,
            entries: entries
                .iter()
                .rev()
                .map(|(key, node)| (key, node))
                .collect(),
            current: None,
        }
    }
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = DeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DeError> {
        self.current = self.entries.pop();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, DeError> = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DeError> {
        let Some((key, node)) = self.current.take() else {
            return Err(DeError::Bare("a value without its key".to_owned()));
        };
        let reader = Reader {
            context: self.reader.context,
            node,
            path: join(&self.reader.path, &key.name),
        };
        seed.deserialize(reader)
    }
}

/// The name of an enum's variant.
struct Name<'t>(StrDeserializer<'t, DeError>);

impl<'de> EnumAccess<'de> for Name<'_> {
    type Error = DeError;
    type Variant = UnitOnly;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, UnitOnly), DeError> {
        Ok((seed.deserialize(self.0)?, UnitOnly))
    }
}

/// The enums of a template are plain names.
struct UnitOnly;

impl<'de> de::VariantAccess<'de> for UnitOnly {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, DeError> {
        Err(DeError::Bare("must be a name".to_owned()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DeError> {
        Err(DeError::Bare("must be a name".to_owned()))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, DeError> {
        Err(DeError::Bare("must be a name".to_owned()))
    }
}
