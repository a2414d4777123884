//! Decodes protobuf bodies. The typed clients of client-go (`kubectl create`, controller-runtime) send objects of
//! Kubernetes' own kinds in this form whatever the server prefers. Responses are JSON, which all clients accept.
//!
//! An object is decoded to the equivalent JSON, by one table for each message. Sources: the envelope is
//! `k8s.io/apimachinery/pkg/runtime/serializer/protobuf`, field numbers are in the `generated.proto` files of
//! `k8s.io/api`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";
/// The deepest nesting of messages. The kinds below have five levels.
const MAX_DEPTH: usize = 16;

/// The form of a field.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Text,
    Int,
    Bool,
    /// A time with a precision of seconds.
    Time,
    /// A time with a precision of microseconds.
    MicroTime,
    Message(&'static Message),
    TextMap,
    BytesMap,
    Texts,
    Messages(&'static Message),
}

use Form::{Bool, BytesMap, Int, Messages, MicroTime, Text, TextMap, Texts, Time};

/// The fields of a message: number, name in JSON, form.
pub(crate) type Message = [(u64, &'static str, Form)];

const OWNER: &Message = &[
    (1, "kind", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "controller", Bool),
    (7, "blockOwnerDeletion", Bool),
];
/// The metadata of every object.
pub(crate) const META: &Message = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (5, "uid", Text),
    (6, "resourceVersion", Text),
    (7, "generation", Int),
    (8, "creationTimestamp", Time),
    (9, "deletionTimestamp", Time),
    (10, "deletionGracePeriodSeconds", Int),
    (11, "labels", TextMap),
    (12, "annotations", TextMap),
    (13, "ownerReferences", Messages(OWNER)),
    (14, "finalizers", Texts),
];
/// A reference to an object (`v1.ObjectReference`).
pub(crate) const OBJECT_REFERENCE: &Message = &[
    (1, "kind", Text),
    (2, "namespace", Text),
    (3, "name", Text),
    (4, "uid", Text),
    (5, "apiVersion", Text),
    (6, "resourceVersion", Text),
    (7, "fieldPath", Text),
];
/// `metav1.DeleteOptions`.
pub(crate) const DELETE_OPTIONS: &Message = &[
    (1, "gracePeriodSeconds", Int),
    (2, "preconditions", Form::Message(PRECONDITIONS)),
    (3, "orphanDependents", Bool),
    (4, "propagationPolicy", Text),
    (5, "dryRun", Texts),
];
const PRECONDITIONS: &Message = &[(1, "uid", Text), (2, "resourceVersion", Text)];
/// A review: SelfSubjectReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview. Of the spec only
/// the subject is read, which SubjectAccessReview alone has.
pub(crate) const REVIEW: &Message = &[
    (1, "metadata", Form::Message(META)),
    (
        2,
        "spec",
        Form::Message(&[(3, "user", Text), (4, "groups", Texts)]),
    ),
];

/// Decodes a body that holds an object of the kind `message` describes; `None` if it does not.
pub(crate) fn decode(body: &[u8], message: &'static Message) -> Option<Value> {
    let mut fields = Fields(body.strip_prefix(MAGIC)?);
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Wire::Bytes(meta)) => {
                let mut meta = Fields(meta);
                while !meta.0.is_empty() {
                    match meta.next()? {
                        (1, Wire::Bytes(text)) => api_version = text_of(text)?,
                        (2, Wire::Bytes(text)) => kind = text_of(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let mut object = fields_of(raw, message, 0)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Some(Value::Object(object))
}

fn text_of(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(Into::into)
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The fields of an encoded message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn next(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => self.take(8).map(|_| Wire::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Wire::Fixed)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

fn fields_of(bytes: &[u8], message: &'static Message, depth: usize) -> Option<Map<String, Value>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut out = Map::new();
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        let (number, wire) = fields.next()?;
        let Some((_, name, form)) = message.iter().find(|(n, _, _)| *n == number) else {
            continue;
        };
        match (form, wire) {
            // Go writes an empty string for an unset field that is not a pointer.
            (Text, Wire::Bytes([])) => {}
            (Text, Wire::Bytes(text)) => {
                out.insert((*name).into(), text_of(text)?.into());
            }
            (Int, Wire::Number(number)) => {
                // Negative numbers are sign-extended to 64 bits.
                out.insert((*name).into(), number.cast_signed().into());
            }
            (Bool, Wire::Number(number)) => {
                out.insert((*name).into(), (number != 0).into());
            }
            (Time | MicroTime, Wire::Bytes(bytes)) => {
                if let Some(time) = time(bytes, matches!(form, MicroTime))? {
                    out.insert((*name).into(), time.into());
                }
            }
            (Form::Message(message), Wire::Bytes(bytes)) => {
                let inner = fields_of(bytes, message, depth + 1)?;
                out.insert((*name).into(), Value::Object(inner));
            }
            (TextMap | BytesMap, Wire::Bytes(bytes)) => {
                let (key, value) = map_entry(bytes, matches!(form, BytesMap))?;
                let map = out
                    .entry(*name)
                    .or_insert_with(|| Value::Object(Map::new()));
                map.as_object_mut()?.insert(key, value);
            }
            (Texts, Wire::Bytes(text)) => push(&mut out, name, text_of(text)?.into())?,
            (Messages(message), Wire::Bytes(bytes)) => {
                let inner = fields_of(bytes, message, depth + 1)?;
                push(&mut out, name, Value::Object(inner))?;
            }
            _ => return None,
        }
    }
    Some(out)
}

fn push(out: &mut Map<String, Value>, name: &str, value: Value) -> Option<()> {
    let list = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut()?.push(value);
    Some(())
}

fn map_entry(bytes: &[u8], encoded: bool) -> Option<(String, Value)> {
    let (mut key, mut value) = (String::new(), &[][..]);
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Wire::Bytes(text)) => key = text_of(text)?,
            (2, Wire::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    let value = match encoded {
        true => STANDARD.encode(value).into(),
        false => text_of(value)?.into(),
    };
    Some((key, value))
}

/// Decodes a time. `Some(None)` is the zero time of Go, which means that the field is not set.
fn time(bytes: &[u8], micro: bool) -> Option<Option<String>> {
    let (mut seconds, mut nanos) = (None, 0);
    let mut fields = Fields(bytes);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Wire::Number(number)) => seconds = Some(number.cast_signed()),
            (2, Wire::Number(number)) => nanos = i32::try_from(number).ok()?,
            _ => {}
        }
    }
    let Some(seconds) = seconds else {
        return Some(None);
    };
    let time = jiff::Timestamp::new(seconds, nanos).ok()?;
    let format = if micro {
        "%Y-%m-%dT%H:%M:%S.%6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%SZ"
    };
    Some(Some(time.strftime(format).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG_MAP: &Message = &[(1, "metadata", Form::Message(META)), (2, "data", TextMap)];

    #[test]
    fn malformed_bodies_are_refused_without_a_panic() {
        let good = [
            b"k8s\0".as_slice(),
            b"\x0a\x0f\x0a\x02v1\x12\x09ConfigMap",
            b"\x12\x10\x0a\x03\x0a\x01c\x12\x09\x0a\x01k\x12\x04\x76\x76\x76\x76",
        ]
        .concat();
        let object = decode(&good, CONFIG_MAP).expect("decodes");
        assert_eq!(
            object.to_string(),
            r#"{"apiVersion":"v1","data":{"k":"vvvv"},"kind":"ConfigMap","metadata":{"name":"c"}}"#
        );
        for end in 0..good.len() {
            let _ = decode(&good[..end], CONFIG_MAP);
        }
        for at in 4..good.len() {
            let mut wrong = good.clone();
            wrong[at] = 0xff;
            let _ = decode(&wrong, CONFIG_MAP);
        }
    }
}
