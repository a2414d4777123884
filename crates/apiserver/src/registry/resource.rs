//! What is known about one resource at one version.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use super::{Strategy, names};
use crate::{
    compute, object,
    schema::Schema,
    status::{About, ApiError},
};

/// How a cell of a table is made.
pub(crate) enum Cell {
    Name,
    /// Time since the timestamp at the first of these JSONPaths that finds one.
    AgeOf(Vec<String>),
    /// What the JSONPath finds.
    Path(String),
    /// Code.
    Made(fn(&Value) -> Value),
}

/// A column of a table (`metav1.TableColumnDefinition`).
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    /// 0: always shown; more: with `-o wide`.
    pub(crate) priority: i64,
    pub(crate) cell: Cell,
}

/// How a resource shows objects that are stored as another resource's (events.k8s.io shows the core group's events).
pub(crate) struct View {
    pub(crate) stored_group: &'static str,
    pub(crate) to_stored: fn(&mut Value),
    pub(crate) from_stored: fn(&mut Value),
}

type MakeSchema = Box<dyn Fn() -> Option<Schema> + Send + Sync>;

/// A resource: what discovery says about it, its schema, its strategy.
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    /// The version in which objects are stored.
    pub(crate) storage_version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    /// Has the status subresource.
    pub(crate) status: bool,
    /// `metadata.generation` counts changes of what is not metadata or status.
    pub(crate) generation: bool,
    /// Part of Kubernetes: strategic merge patches work, wrong types are a decoding error.
    pub(crate) built_in: bool,
    pub(crate) columns: Vec<Column>,
    pub(crate) view: Option<View>,
    /// The definition is being deleted: nothing new is made.
    pub(crate) terminating: bool,
    pub(crate) strategy: Arc<dyn Strategy>,
    /// The schema as JSON, for OpenAPI (`None`: built in, from k8s-openapi).
    pub(crate) openapi: Option<Arc<Value>>,
    pub(super) schema: OnceLock<Option<Schema>>,
    pub(super) make_schema: MakeSchema,
}

impl Resource {
    /// A resource with the usual form; the schema is made when it is first needed.
    pub(crate) fn new(
        group: &str,
        version: &str,
        plural: &str,
        kind: &str,
        make_schema: MakeSchema,
    ) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            storage_version: version.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            kind: kind.into(),
            list_kind: format!("{kind}List"),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced: true,
            status: false,
            generation: false,
            built_in: true,
            columns: Vec::new(),
            view: None,
            terminating: false,
            strategy: Arc::new(super::Plain),
            openapi: None,
            schema: OnceLock::new(),
            make_schema,
        }
    }

    pub(crate) fn schema(&self) -> Option<&Schema> {
        self.schema.get_or_init(&self.make_schema).as_ref()
    }

    /// Compiles the schema on the compute pool if that has not happened yet, so that [`Self::schema`] only reads it.
    pub(crate) async fn prepare_schema(self: &Arc<Self>) -> Result<(), ApiError> {
        if self.schema.get().is_some() {
            return Ok(());
        }
        let resource = Arc::clone(self);
        compute::run(move |_| {
            resource.schema();
        })
        .await
    }

    pub(crate) fn about(&self) -> About<'_> {
        About {
            group: &self.group,
            plural: &self.plural,
            kind: &self.kind,
        }
    }

    pub(crate) fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    fn stored_group(&self) -> &str {
        self.view
            .as_ref()
            .map_or(&self.group, |view| view.stored_group)
    }

    /// Whether objects are stored as this resource shows them.
    pub(crate) fn is_stored_form(&self) -> bool {
        self.view.is_none() && self.version == self.storage_version
    }

    /// Gives an object the form in which it is stored.
    pub(super) fn store_form(&self, object: &mut Value) {
        if let Some(view) = &self.view {
            (view.to_stored)(object);
        }
        object["apiVersion"] = group_version(self.stored_group(), &self.storage_version).into();
    }

    /// Gives a stored object the form of this resource.
    pub(crate) fn show_stored(&self, object: &mut Value) {
        if let Some(view) = &self.view {
            (view.from_stored)(object);
        }
        object["apiVersion"] = self.api_version().into();
    }

    /// [`Self::show_stored`] for the encoded form, which mostly is what is stored.
    pub(crate) fn present(&self, bytes: &Bytes) -> Bytes {
        if self.is_stored_form() {
            return bytes.clone();
        }
        if self.view.is_none() {
            return object::with_api_version(bytes, &self.api_version());
        }
        let mut object: Value = serde_json::from_slice(bytes).unwrap_or_default();
        self.show_stored(&mut object);
        object.to_string().into()
    }

    /// Where the objects are in the store.
    pub(crate) fn prefix(&self, namespace: Option<&str>) -> String {
        let group = match self.stored_group() {
            "" => "core",
            group => group,
        };
        match namespace {
            Some(namespace) => format!("/registry/{group}/{}/{namespace}/", self.plural),
            None => format!("/registry/{group}/{}/", self.plural),
        }
    }

    pub(crate) fn key(&self, namespace: Option<&str>, name: &str) -> String {
        self.prefix(namespace) + name
    }

    pub(super) fn name_error(&self, name: &str) -> Option<String> {
        self.strategy
            .name_error(name)
            .unwrap_or_else(|| names::dns_subdomain_error(name))
    }
}

/// `v1`, `group/v1`.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.into()
    } else {
        format!("{group}/{version}")
    }
}
