//! Namespaces: `spec.finalizers` and the phase. `admission/namespace_lifecycle.rs` holds what may happen in them.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use super::{
    column::{age_column, name_column, path_column},
    kind::{Kind, SchemaSource, Subresource, Verb},
    strategy::{Strategy, WriteInfo},
    typed,
};
use crate::{
    codec::protobuf::{self, Form, Message},
    names, object,
    patch::strategic::{MergeKeys, MergeList},
};

/// The prefix of the keys of all namespaces.
pub(crate) const PREFIX: &str = "/registry/core/namespaces/";
/// The finalizer in `spec.finalizers` that stays until the content of the namespace is deleted.
pub(crate) const CONTENT: &str = "kubernetes";
/// The label that every namespace has.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

const MERGE_KEYS: MergeKeys = &[("status.conditions", MergeList::Key("type"))];

const MESSAGE: &Message = &[
    (1, "metadata", Form::Message(protobuf::META)),
    (2, "spec", Form::Message(&[(1, "finalizers", Form::Texts)])),
    (3, "status", Form::Message(&[(1, "phase", Form::Text)])),
];

pub(super) fn kind() -> Kind {
    let schema = || typed::of::<Namespace>("io.k8s.api.core.v1.Namespace");
    Kind {
        short_names: vec!["ns".into()],
        namespaced: false,
        strategy: Arc::new(Namespaces),
        subresources: &[Subresource::Finalize, Subresource::Status],
        // Kubernetes does not delete namespaces as a collection.
        verbs: &[
            Verb::Create,
            Verb::Delete,
            Verb::Get,
            Verb::List,
            Verb::Patch,
            Verb::Update,
            Verb::Watch,
        ],
        merge_keys: Some(MERGE_KEYS),
        protobuf: Some(MESSAGE),
        selectable_fields: &["status.phase"],
        unconditional_update: true,
        columns: vec![
            name_column(),
            path_column("Status", ".status.phase"),
            age_column(),
        ],
        ..Kind::new(
            "",
            "v1",
            "namespaces",
            "Namespace",
            SchemaSource::Typed(schema),
        )
    }
}

struct Namespaces;

impl Strategy for Namespaces {
    fn default(&self, new: &mut Value) {
        let name = object::name(new).to_owned();
        if let Some(labels) = object::map_at(new, &["metadata", "labels"]) {
            labels.insert(NAME_LABEL.into(), name.into());
        }
    }

    fn prepare(&self, new: &mut Value, old: Option<&Value>, info: &WriteInfo<'_>) {
        // Admission may have changed the labels.
        self.default(new);
        match old {
            None => {
                // Validation refuses a spec of another type.
                if let Some(spec) = object::map_at(new, &["spec"]) {
                    spec.insert("finalizers".into(), json!([CONTENT]));
                }
                object::set(new, "status", json!({"phase": "Active"}));
            }
            Some(_) if info.subresource == Some(Subresource::Finalize.name()) => {}
            Some(old) => object::set(new, "spec", old["spec"].clone()),
        }
    }

    fn name_error(&self, name: &str) -> Option<String> {
        names::dns_label_error(name)
    }

    fn begin_deletion(&self, object: &mut Value, _now: &str) {
        object::set(object, "status", json!({"phase": "Terminating"}));
    }

    fn blocks_deletion(&self, object: &Value) -> bool {
        let finalizers = object["spec"]["finalizers"].as_array();
        finalizers.is_some_and(|list| !list.is_empty())
    }
}
