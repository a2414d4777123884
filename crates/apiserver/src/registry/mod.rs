//! The generic registry: every kind is stored the same way; its [`Strategy`] says what is special about it.

pub(crate) mod create;
pub(crate) mod delete;
mod generation;
mod metadata;
pub(crate) mod names;
mod pipeline;
mod resource;
mod strategy;
pub(crate) mod update;

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use bytes::Bytes;
pub(crate) use resource::{Cell, Column, Resource, View, group_version};
use serde_json::Value;
pub(crate) use strategy::{Moment, Plain, Strategy};

use crate::{
    admission::AdmissionPlugin,
    object,
    server::Inner,
    status::{About, ApiError},
    user::User,
};

/// What a write that races with others tries before it gives up (Kubernetes: 5 for patches, unbounded for others).
const MAX_ATTEMPTS: usize = 16;

/// All resources that are served.
#[derive(Default)]
pub(crate) struct Registry {
    /// By group, version and plural name; sorted, as discovery shows them.
    resources: RwLock<Arc<Resources>>,
}

pub(crate) type Resources = BTreeMap<(String, String, String), Arc<Resource>>;

impl Registry {
    /// The resources as they are now.
    pub(crate) fn all(&self) -> Arc<Resources> {
        let resources = self.resources.read();
        Arc::clone(&resources.unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.all().get(&key).cloned()
    }

    /// The resource of a kind, as owner references name it.
    pub(crate) fn find_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let all = self.all();
        let mut found = all
            .values()
            .filter(|r| r.kind == kind && r.api_version() == api_version);
        found.next().cloned()
    }

    /// Changes the resources.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Resources)) {
        let guard = self.resources.write();
        let mut guard = guard.unwrap_or_else(std::sync::PoisonError::into_inner);
        change(Arc::make_mut(&mut guard));
    }
}

/// One object of a resource (or, with an empty name, the collection).
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// The object that this encoded object is.
    pub(crate) fn of(resource: &Arc<Resource>, object: &Value) -> Self {
        let namespace = object["metadata"]["namespace"].as_str();
        Self {
            resource: Arc::clone(resource),
            namespace: namespace.map(Into::into),
            name: object::name(object).into(),
            subresource: None,
        }
    }

    /// The object in a stored entry, by its key, so that an object that cannot be decoded has one as well. `None` if
    /// the key is not one of the resource.
    pub(crate) fn of_entry(resource: &Arc<Resource>, entry: &store::Entry) -> Option<Self> {
        let rest = entry.key.strip_prefix(&resource.prefix(None))?;
        let (namespace, name) = match resource.namespaced {
            true => rest.split_once('/').map(|(n, name)| (Some(n), name))?,
            false => (None, rest),
        };
        Some(Self {
            resource: Arc::clone(resource),
            namespace: namespace.map(Into::into),
            name: name.into(),
            subresource: None,
        })
    }

    pub(crate) fn key(&self) -> String {
        self.resource.key(self.namespace.as_deref(), &self.name)
    }

    pub(crate) fn about(&self) -> About<'_> {
        self.resource.about()
    }

    pub(crate) fn is_status(&self) -> bool {
        self.subresource.as_deref() == Some("status")
    }
}

/// What to do about unknown and duplicate fields (`fieldValidation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// Who writes, and how.
pub(crate) struct WriteContext<'a> {
    pub(crate) server: &'a Arc<Inner>,
    pub(crate) user: User,
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    /// Sent as `Warning` headers.
    pub(crate) warnings: Vec<String>,
    /// Whether admission is asked; the server's own clean-up is not refused by anybody.
    pub(crate) admission: bool,
}

impl<'a> WriteContext<'a> {
    /// A write by the server itself.
    pub(crate) fn internal(server: &'a Arc<Inner>) -> Self {
        Self {
            server,
            user: User::master("system:apiserver"),
            dry_run: false,
            field_validation: FieldValidation::Ignore,
            warnings: Vec::new(),
            admission: false,
        }
    }

    fn plugins(&self) -> Vec<Arc<dyn AdmissionPlugin>> {
        if self.admission {
            self.server.admission()
        } else {
            Vec::new()
        }
    }
}

/// What a write left.
pub(crate) struct Written {
    /// The encoded object.
    pub(crate) bytes: Bytes,
}

/// What a deletion left.
pub(crate) enum Deleted {
    /// The object is gone; its last state.
    Gone(Value),
    /// The object waits for its finalizers.
    Pending(Bytes),
}

/// The current entry of an object.
pub(crate) fn get(server: &Inner, target: &Target) -> Result<store::Entry, ApiError> {
    let entry = server.store.get(&target.key());
    entry.ok_or_else(|| target.about().not_found(&target.name))
}
