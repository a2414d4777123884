//! The interface of in-process admission plugins, which the program that assembles the server provides.
//!
//! The contract is that of Kubernetes' admission webhooks: first every plugin mutates; then, after defaulting,
//! pruning and validation against the schema, every plugin validates. A plugin must have no side effect when
//! [`AdmissionRequest::dry_run`] is set.

use serde_json::Value;

use crate::access::user::User;

/// The kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object: update or patch, of a subresource too.
    Update,
    /// A deletion, including one that only sets `deletionTimestamp`.
    Delete,
}

/// A write to be admitted.
#[derive(Clone, Debug)]
pub struct AdmissionRequest {
    /// The kind of write.
    pub operation: Operation,
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name of the resource, such as `configmaps`.
    pub resource: String,
    /// The subresource, such as `status`.
    pub subresource: Option<String>,
    /// The name of the kind, such as `ConfigMap`.
    pub kind: String,
    /// Namespace, `None` for cluster-scoped resources.
    pub namespace: Option<String>,
    /// Name, already generated from `generateName`.
    pub name: String,
    /// The user who makes the request.
    pub user: User,
    /// The object before the write; `None` for a create.
    pub old_object: Option<Value>,
    /// Nothing will be written, so the plugin must have no side effects.
    pub dry_run: bool,
}

/// A refusal. The client receives it as a Status: 403 Forbidden, `admission webhook "NAME" denied the request: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The reason, in words for the user.
    pub message: String,
    /// HTTP status code; [`Denied::new`] sets 403.
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

    /// Returns whether the plugin handles this request.
    fn handles(&self, request: &AdmissionRequest) -> bool;

    /// Changes the object. Not called for a deletion.
    async fn mutate(
        &self,
        _request: &AdmissionRequest,
        _object: &mut Value,
        _warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        Ok(())
    }

    /// Accepts or refuses the final object. For a deletion it is `None`, and `request.old_object` is set.
    async fn validate(
        &self,
        _request: &AdmissionRequest,
        _object: Option<&Value>,
        _warnings: &mut Vec<String>,
    ) -> Result<(), Denied> {
        Ok(())
    }
}
