//! [`Strategy`]: the code that is special to a kind (Kubernetes: `RESTCreateStrategy` and its relatives).

use serde_json::Value;

use super::kind::Kinds;
use crate::status::Cause;

/// The circumstances of a write.
pub(crate) struct WriteInfo<'a> {
    /// The time of the write, RFC 3339.
    pub(crate) now: &'a str,
    pub(crate) subresource: Option<&'a str>,
    /// The kinds that are served now.
    pub(crate) kinds: &'a Kinds,
}

/// The code that is special to a kind. Every method has a default that does nothing.
///
/// A write calls them in this order: `default`, mutating admission, `prepare`, `validate`.
pub(crate) trait Strategy: Send + Sync {
    /// Fills in what Kubernetes fills in while it decodes the object, before mutating admission sees it.
    fn default(&self, _new: &mut Value) {}

    /// Sets the fields that the server owns, after mutating admission and before validation.
    fn prepare(&self, _new: &mut Value, _old: Option<&Value>, _info: &WriteInfo<'_>) {}

    /// Returns the faults that the schema cannot express.
    fn validate(&self, _new: &Value, _old: Option<&Value>) -> Vec<Cause> {
        Vec::new()
    }

    /// Returns whether [`Self::validate`] can take long or needs a deep stack, so that it runs on the compute pool.
    fn validates_slowly(&self) -> bool {
        false
    }

    /// Returns why `name` is not a name for an object of this kind.
    fn name_error(&self, name: &str) -> Option<String> {
        crate::names::dns_subdomain_error(name)
    }

    /// Changes an object whose deletion begins but does not end at once.
    fn begin_deletion(&self, _object: &mut Value, _now: &str) {}

    /// Returns whether something other than `metadata.finalizers` keeps a deleted object.
    fn blocks_deletion(&self, _object: &Value) -> bool {
        false
    }
}

/// A kind without code of its own.
pub(crate) struct Plain;

impl Strategy for Plain {}
