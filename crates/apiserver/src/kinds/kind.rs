//! [`Kind`]: everything the server knows about one kind of object in one version.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    column::Column,
    strategy::{Plain, Strategy},
};
use crate::{
    codec::protobuf::Message,
    compute,
    patch::strategic::MergeKeys,
    schema::{self, Schema},
    status::{About, ApiError},
};

/// A request's verb (`k8s.io/apiserver/pkg/endpoints/request.RequestInfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// All verbs, in the order in which discovery lists them.
    pub(crate) const ALL: &[Self] = &[
        Self::Create,
        Self::Delete,
        Self::DeleteCollection,
        Self::Get,
        Self::List,
        Self::Patch,
        Self::Update,
        Self::Watch,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// A part of an object with a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subresource {
    /// The status, which the main resource cannot write.
    Status,
    /// The finalizers in the spec of a namespace.
    Finalize,
}

impl Subresource {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Finalize => "finalize",
        }
    }

    pub(crate) const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Status => &[Verb::Get, Verb::Patch, Verb::Update],
            Self::Finalize => &[Verb::Update],
        }
    }
}

/// The name of a typed kind's definition, and that definition with those it refers to.
pub(crate) type TypedSchema = (&'static str, Map<String, Value>);

/// Where the schema of a kind comes from.
pub(crate) enum SchemaSource {
    /// A type of Kubernetes. The function builds its schema; the result is not kept as JSON.
    Typed(fn() -> TypedSchema),
    /// `openAPIV3Schema` of a CustomResourceDefinition.
    Custom(Arc<Value>),
}

/// A kind whose objects are stored in the form of another kind, such as events.k8s.io events, which are stored in
/// the form of the core group's events.
pub(crate) struct StoredAs {
    pub(crate) group: &'static str,
    pub(crate) to_stored: fn(&mut Value),
    pub(crate) from_stored: fn(&mut Value),
}

/// Kinds by group, version and plural name, sorted as discovery shows them.
pub(crate) type Kinds = BTreeMap<(String, String, String), Arc<Kind>>;

/// One kind of object in one version.
pub(crate) struct Kind {
    /// The API group, empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    /// The version in which objects are stored.
    pub(crate) storage_version: String,
    /// The name of the kind, such as `ConfigMap`.
    pub(crate) name: String,
    pub(crate) list_name: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) schema: SchemaSource,
    pub(crate) strategy: Arc<dyn Strategy>,
    pub(crate) columns: Vec<Column>,
    pub(crate) subresources: &'static [Subresource],
    pub(crate) verbs: &'static [Verb],
    /// The lists that a strategic merge patch merges by key. `None`: the kind has no strategic merge patch.
    pub(crate) merge_keys: Option<MergeKeys>,
    /// The protobuf form. `None`: the kind is not read from protobuf.
    pub(crate) protobuf: Option<&'static Message>,
    /// The fields, beside `metadata.name` and `metadata.namespace`, that a field selector may name.
    pub(crate) selectable_fields: &'static [&'static str],
    /// How long an object lives after its last write.
    pub(crate) time_to_live: Option<Duration>,
    /// `metadata.generation` counts the changes of everything but metadata and status.
    pub(crate) generation: bool,
    /// A PUT without `metadata.resourceVersion` replaces whatever is stored.
    pub(crate) unconditional_update: bool,
    /// A PUT of an object that does not exist creates it.
    pub(crate) create_on_update: bool,
    pub(crate) stored_as: Option<StoredAs>,
    /// The kind's definition is being deleted, so nothing new is created.
    pub(crate) terminating: bool,
    /// See [`Kind::schema`].
    pub(super) compiled: OnceLock<Option<Schema>>,
}

impl Kind {
    /// A namespaced kind with all verbs and without a strategy of its own.
    pub(crate) fn new(
        group: &str,
        version: &str,
        plural: &str,
        name: &str,
        schema: SchemaSource,
    ) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            storage_version: version.into(),
            name: name.into(),
            list_name: format!("{name}List"),
            plural: plural.into(),
            singular: name.to_lowercase(),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced: true,
            schema,
            strategy: Arc::new(Plain),
            columns: Vec::new(),
            subresources: &[],
            verbs: Verb::ALL,
            merge_keys: None,
            protobuf: None,
            selectable_fields: &[],
            time_to_live: None,
            generation: false,
            unconditional_update: false,
            create_on_update: false,
            stored_as: None,
            terminating: false,
            compiled: OnceLock::new(),
        }
    }

    /// Returns the compiled schema, compiling it on first use. `None`: it does not compile, which is logged.
    pub(crate) fn schema(&self) -> Option<&Schema> {
        let compiled = self.compiled.get_or_init(|| {
            let compiled = match &self.schema {
                SchemaSource::Custom(source) => schema::compile(source),
                SchemaSource::Typed(build) => {
                    let (name, definitions) = build();
                    let root = definitions.get(name).unwrap_or(&Value::Null);
                    schema::compile_with_definitions(root, &definitions)
                }
            };
            compiled
                .inspect_err(|(path, why)| {
                    tracing::error!(
                        kind = self.name,
                        group = self.group,
                        path,
                        why,
                        "the schema of a kind does not compile, so its objects are not validated"
                    );
                })
                .ok()
        });
        compiled.as_ref()
    }

    /// Compiles the schema on the compute pool if that has not happened yet, so that [`Self::schema`] only reads it.
    pub(crate) async fn prepare_schema(self: &Arc<Self>) -> Result<(), ApiError> {
        if self.compiled.get().is_some() {
            return Ok(());
        }
        let kind = Arc::clone(self);
        compute::run(move |_| {
            kind.schema();
        })
        .await
    }

    /// Returns whether Kubernetes decodes this kind into a struct: a value of the wrong type is then a decoding
    /// error, and null means absent.
    pub(crate) fn is_typed(&self) -> bool {
        matches!(self.schema, SchemaSource::Typed(_))
    }

    pub(crate) fn subresource(&self, name: &str) -> Option<Subresource> {
        self.subresources.iter().copied().find(|s| s.name() == name)
    }

    /// Returns whether the status is a subresource.
    pub(crate) fn has_status(&self) -> bool {
        self.subresources.contains(&Subresource::Status)
    }

    pub(crate) fn about(&self) -> About<'_> {
        About {
            group: &self.group,
            plural: &self.plural,
            kind: &self.name,
        }
    }

    pub(crate) fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    /// Returns the group under which objects are stored.
    pub(crate) fn stored_group(&self) -> &str {
        self.stored_as.as_ref().map_or(&self.group, |it| it.group)
    }

    /// Returns whether objects are stored in the form of this kind and version.
    pub(crate) fn is_stored_form(&self) -> bool {
        self.stored_as.is_none() && self.version == self.storage_version
    }

    /// Returns the prefix of the keys of all objects, or of those in one namespace.
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
}

/// Returns `v1` or `group/v1`.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.into()
    } else {
        format!("{group}/{version}")
    }
}
