//! Kubernetes' `NamespaceLifecycle`: refuses the deletion of the system's namespaces, and a create in a namespace
//! that does not exist or is being deleted.

use std::sync::Arc;

use serde_json::json;

use super::{
    chain::Rule,
    plugin::{AdmissionRequest, Operation},
};
use crate::{
    kinds::namespaces,
    object,
    status::{About, ApiError},
};

pub(crate) struct NamespaceLifecycle {
    pub(crate) store: Arc<dyn store::Store>,
    /// Namespaces that are never deleted.
    pub(crate) protected: Arc<[String]>,
}

impl Rule for NamespaceLifecycle {
    fn check(&self, request: &AdmissionRequest) -> Result<(), ApiError> {
        match (request.operation, &request.namespace) {
            (Operation::Create, Some(namespace)) => self.check_open(namespace, request),
            (Operation::Delete, None)
                if request.group.is_empty() && request.resource == "namespaces" =>
            {
                self.check_unprotected(request)
            }
            _ => Ok(()),
        }
    }
}

fn about(request: &AdmissionRequest) -> About<'_> {
    About {
        group: &request.group,
        plural: &request.resource,
        kind: &request.kind,
    }
}

impl NamespaceLifecycle {
    fn check_unprotected(&self, request: &AdmissionRequest) -> Result<(), ApiError> {
        if !self.protected.contains(&request.name) {
            return Ok(());
        }
        let why = "this namespace may not be deleted";
        Err(about(request).forbidden(&request.name, why))
    }

    fn check_open(&self, namespace: &str, request: &AdmissionRequest) -> Result<(), ApiError> {
        let missing = || {
            let message = format!("namespaces {namespace:?} not found");
            ApiError::new(404, "NotFound", message)
                .with(Some(json!({"name": namespace, "kind": "namespaces"})))
        };
        let key = format!("{}{namespace}", namespaces::PREFIX);
        let entry = self.store.get(&key).ok_or_else(missing)?;
        // Decoding is needed only where the word occurs, so most creates are spared it.
        if !object::contains(&entry.value, b"Terminating") {
            return Ok(());
        }
        if !object::is_being_deleted(&object::decode(&entry)?) {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut error = about(request).forbidden(&request.name, &why);
        let message = format!("namespace {namespace} is being terminated");
        if let Some(details) = &mut error.details {
            details["causes"] = json!([{"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}]);
        }
        Err(error)
    }
}
