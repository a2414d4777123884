//! Namespaces: `spec.finalizers`, the phase, and what may be created in them.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    object,
    registry::{Moment, Strategy, Target, names},
    server::Inner,
    status::ApiError,
};

/// The finalizer in `spec.finalizers` that stands for "the content has been deleted".
pub(crate) const CONTENT: &str = "kubernetes";
/// The label that every namespace has.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(crate) struct Namespaces {
    /// These are never deleted.
    pub(crate) protected: Arc<[String]>,
}

impl Strategy for Namespaces {
    fn prepare(&self, new: &mut Value, old: Option<&Value>, moment: &Moment<'_>) {
        let name = object::name(new).to_owned();
        if let Some(labels) = object::map_at(new, &["metadata", "labels"]) {
            labels.insert(NAME_LABEL.into(), name.into());
        }
        match old {
            None => {
                if let Some(spec) = object::map_at(new, &["spec"]) {
                    spec.insert("finalizers".into(), json!([CONTENT]));
                }
                object::set(new, "status", json!({"phase": "Active"}));
            }
            Some(_) if moment.subresource == Some("finalize") => {}
            Some(old) => object::set(new, "spec", old["spec"].clone()),
        }
    }

    fn name_error(&self, name: &str) -> Option<Option<String>> {
        Some(names::dns_label_error(name))
    }

    fn may_delete(&self, object: &Value) -> Result<(), String> {
        let name = object::name(object);
        if self.protected.iter().any(|protected| protected == name) {
            return Err("this namespace may not be deleted".into());
        }
        Ok(())
    }

    fn begin_deletion(&self, object: &mut Value, _now: &str) {
        object::set(object, "status", json!({"phase": "Terminating"}));
    }

    fn blocks_deletion(&self, object: &Value) -> bool {
        let finalizers = object["spec"]["finalizers"].as_array();
        finalizers.is_some_and(|list| !list.is_empty())
    }

    fn fields(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn written(&self, server: &Arc<Inner>, _name: &str) {
        server.wake_cleanup();
    }
}

/// Refuses a creation in a namespace that does not exist or is being deleted.
pub(crate) fn check_open(server: &Inner, namespace: &str, target: &Target) -> Result<(), ApiError> {
    let missing = || {
        let message = format!("namespaces {namespace:?} not found");
        ApiError::new(404, "NotFound", message)
            .with(Some(json!({"name": namespace, "kind": "namespaces"})))
    };
    let key = format!("/registry/core/namespaces/{namespace}");
    let entry = server.store.get(&key).ok_or_else(missing)?;
    // The phase is only looked at where the word occurs, which spares decoding on every create.
    if !object::contains(&entry.value, b"Terminating") {
        return Ok(());
    }
    let object = object::decode(&entry)?;
    if !object::is_being_deleted(&object) {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut error = target.about().forbidden(&target.name, &why);
    let message = format!("namespace {namespace} is being terminated");
    if let Some(details) = &mut error.details {
        details["causes"] = json!([{"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}]);
    }
    Err(error)
}
