//! [`Chain`]: all admission plugins of a server.

use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use super::plugin::{AdmissionPlugin, AdmissionRequest, Denied};
use crate::status::ApiError;

/// A rule of the server itself. Unlike a plugin it also applies to the server's own writes, and it answers with
/// the error that Kubernetes gives.
pub(crate) trait Rule: Send + Sync {
    /// Accepts or refuses a write, before anything else is examined. `old_object` of the request is not set.
    fn check(&self, request: &AdmissionRequest) -> Result<(), ApiError>;
}

/// All admission plugins of a server.
pub(crate) struct Chain {
    rules: Vec<Box<dyn Rule>>,
    plugins: RwLock<Vec<Arc<dyn AdmissionPlugin>>>,
}

impl Chain {
    pub(crate) fn new(rules: Vec<Box<dyn Rule>>, plugins: Vec<Arc<dyn AdmissionPlugin>>) -> Self {
        Self {
            rules,
            plugins: RwLock::new(plugins),
        }
    }

    pub(crate) fn add(&self, plugin: Arc<dyn AdmissionPlugin>) {
        self.plugins.write().push(plugin);
    }

    /// Applies the rules of the server.
    pub(crate) fn check(&self, request: &AdmissionRequest) -> Result<(), ApiError> {
        self.rules.iter().try_for_each(|rule| rule.check(request))
    }

    /// Returns the plugins that handle the request.
    pub(crate) fn plugins_for(&self, request: &AdmissionRequest) -> Vec<Arc<dyn AdmissionPlugin>> {
        let plugins = self.plugins.read();
        let handling = plugins.iter().filter(|plugin| plugin.handles(request));
        handling.cloned().collect()
    }

    /// Returns whether there is any plugin; without one, a request need not be described in full.
    pub(crate) fn has_plugins(&self) -> bool {
        !self.plugins.read().is_empty()
    }
}

/// Asks one plugin to change the object.
pub(crate) async fn mutate(
    plugin: &dyn AdmissionPlugin,
    request: &AdmissionRequest,
    object: &mut Value,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let changed = plugin.mutate(request, object, warnings).await;
    changed.map_err(|denied| refused(plugin.name(), &denied))
}

/// Asks one plugin to accept the final object.
pub(crate) async fn validate(
    plugin: &dyn AdmissionPlugin,
    request: &AdmissionRequest,
    object: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let accepted = plugin.validate(request, object, warnings).await;
    accepted.map_err(|denied| refused(plugin.name(), &denied))
}

fn refused(plugin: &str, denied: &Denied) -> ApiError {
    let reason = match denied.code {
        400 => "BadRequest",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        500.. => "InternalError",
        _ => "Forbidden",
    };
    let message = format!(
        "admission webhook {plugin:?} denied the request: {}",
        denied.message
    );
    ApiError::new(denied.code, reason, message)
}
