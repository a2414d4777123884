//! [`Selection`]: the objects of a collection that a request selects.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::call::Call;
use crate::{
    object::contains,
    selector::{FieldSelector, LabelSelector},
    status::ApiError,
};

/// The label selector and the field selector of a request.
#[derive(Clone, Default)]
pub(super) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// Texts that the JSON of every selected object contains.
    needles: Vec<String>,
    /// Whether the field selector needs more than the metadata.
    whole: bool,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

impl Selection {
    pub(super) fn parse(call: &Call) -> Result<Self, ApiError> {
        let own = call.kind().selectable_fields;
        let known: Vec<&str> = ["metadata.name", "metadata.namespace"]
            .iter()
            .chain(own)
            .copied()
            .collect();
        let fields = call.query.get("fieldSelector").unwrap_or_default();
        let labels = LabelSelector::parse(call.query.get("labelSelector").unwrap_or_default())?;
        let whole = own.iter().any(|field| fields.contains(field));
        let fields = FieldSelector::parse(fields, &known)?;
        let name = fields.required("metadata.name");
        let name = name.map(|name| format!("\"name\":{}", Value::from(name)));
        Ok(Self {
            needles: labels.needles().chain(name).collect(),
            labels,
            fields,
            whole,
        })
    }

    /// Restricts the selection to the object with this name.
    pub(super) fn of_name(mut self, name: &str) -> Self {
        if let Ok(fields) =
            FieldSelector::parse(&format!("metadata.name={name}"), &["metadata.name"])
        {
            self.fields = fields;
        }
        self
    }

    /// Returns whether everything is selected.
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Returns the only name that can be selected.
    pub(super) fn name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }

    /// Returns whether an encoded object is selected.
    pub(super) fn selects(&self, bytes: &Bytes) -> bool {
        if self.is_empty() {
            return true;
        }
        if self
            .needles
            .iter()
            .any(|needle| !contains(bytes, needle.as_bytes()))
        {
            return false;
        }
        let Ok(head) = serde_json::from_slice::<Head<'_>>(bytes) else {
            return false;
        };
        let meta = &head.metadata;
        if !self
            .labels
            .matches(|key| meta.labels.get(key).map(AsRef::as_ref))
        {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        let object: Value = match self.whole {
            true => serde_json::from_slice(bytes).unwrap_or_default(),
            false => Value::Null,
        };
        self.fields.matches(|field| match field {
            "metadata.name" => meta.name.to_string(),
            "metadata.namespace" => meta.namespace.to_string(),
            path => {
                let found = path
                    .split('.')
                    .try_fold(&object, |value, key| value.get(key));
                match found {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Null) | None => String::new(),
                    Some(other) => other.to_string(),
                }
            }
        })
    }
}
