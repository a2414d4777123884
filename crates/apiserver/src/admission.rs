//! Admission: code of the assembling program that may change or refuse a write, in process.
//!
//! The same contract as Kubernetes' admission webhooks: first every plugin mutates, then (after defaulting,
//! pruning and validation against the schema) every plugin validates. Plugins must have no side effect when
//! [`AdmissionRequest::dry_run`] is set.

use serde_json::Value;

use crate::user::User;

/// What is being done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object (update, patch, status too).
    Update,
    /// A deletion, also one that only sets `deletionTimestamp`.
    Delete,
}

/// A write to be admitted.
#[derive(Clone, Debug)]
pub struct AdmissionRequest {
    /// What is being done.
    pub operation: Operation,
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name of the resource, such as `configmaps`.
    pub resource: String,
    /// `status` and the like.
    pub subresource: Option<String>,
    /// Kind.
    pub kind: String,
    /// Namespace, `None` for cluster-scoped resources.
    pub namespace: Option<String>,
    /// Name (already generated from `generateName`).
    pub name: String,
    /// Who asks.
    pub user: User,
    /// The object before; `None` for a create.
    pub old_object: Option<Value>,
    /// Nothing will be written: have no side effects.
    pub dry_run: bool,
}

/// A refusal. Becomes a Status: 403 Forbidden, `admission webhook "NAME" denied the request: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why, for the user.
    pub message: String,
    /// HTTP status code; 403 unless said otherwise.
    pub code: u16,
}

impl Denied {
    /// A refusal with 403 Forbidden.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 403,
        }
    }
}

/// In-process admission of some resources.
#[async_trait::async_trait]
pub trait AdmissionPlugin: Send + Sync + 'static {
    /// The name of the equivalent webhook, such as `limavm-defaulter.lima.rancherdesktop.io`.
    fn name(&self) -> &str;

    /// Whether this plugin wants to see the request.
    fn handles(&self, request: &AdmissionRequest) -> bool;

    /// Changes the object. Not called for deletions.
    async fn mutate(
        &self,
        _request: &AdmissionRequest,
        _object: &mut Value,
        _warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        Ok(())
    }

    /// Accepts or refuses the final object (`None` for a deletion; then look at `request.old_object`).
    async fn validate(
        &self,
        _request: &AdmissionRequest,
        _object: Option<&Value>,
        _warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        Ok(())
    }
}
