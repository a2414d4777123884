//! [`Target`]: the object or collection that an operation is about.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    kinds::kind::{Kind, Subresource},
    object,
    status::About,
};

/// One object of a kind or, with an empty name, a collection.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) subresource: Option<Subresource>,
}

impl Target {
    /// The target that is this object.
    pub(crate) fn of(kind: &Arc<Kind>, object: &Value) -> Self {
        let namespace = object["metadata"]["namespace"].as_str();
        Self {
            kind: Arc::clone(kind),
            namespace: namespace.map(Into::into),
            name: object::name(object).into(),
            subresource: None,
        }
    }

    /// The target of a stored entry, by its key, so that an object that cannot be decoded has one as well. `None` if
    /// the key is not one of the kind.
    pub(crate) fn of_entry(kind: &Arc<Kind>, entry: &store::Entry) -> Option<Self> {
        let rest = entry.key.strip_prefix(&kind.prefix(None))?;
        let (namespace, name) = match kind.namespaced {
            true => rest.split_once('/').map(|(n, name)| (Some(n), name))?,
            false => (None, rest),
        };
        Some(Self {
            kind: Arc::clone(kind),
            namespace: namespace.map(Into::into),
            name: name.into(),
            subresource: None,
        })
    }

    pub(crate) fn key(&self) -> String {
        self.kind.key(self.namespace.as_deref(), &self.name)
    }

    pub(crate) fn about(&self) -> About<'_> {
        self.kind.about()
    }

    pub(crate) fn is_status(&self) -> bool {
        self.subresource == Some(Subresource::Status)
    }
}
