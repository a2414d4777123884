//! What is special about a kind.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{server::Inner, status::Cause};

/// The circumstances of a write.
pub(crate) struct Moment<'a> {
    /// RFC 3339.
    pub(crate) now: &'a str,
    pub(crate) subresource: Option<&'a str>,
}

/// What is special about a kind. Every method has the meaning "nothing is".
pub(crate) trait Strategy: Send + Sync {
    /// Defaults and derived fields, before admission and validation.
    fn prepare(&self, _new: &mut Value, _old: Option<&Value>, _moment: &Moment<'_>) {}

    /// What is wrong beyond the schema.
    fn validate(&self, _new: &Value, _old: Option<&Value>) -> Vec<Cause> {
        Vec::new()
    }

    /// Whether [`Self::validate`] can take long or needs a deep stack, so that it has to run on the compute pool.
    fn validates_slowly(&self) -> bool {
        false
    }

    /// `Some`: the kind's own rule for names, with its result.
    fn name_error(&self, _name: &str) -> Option<Option<String>> {
        None
    }

    /// `Err` says why an object may not be deleted.
    fn may_delete(&self, _object: &Value) -> Result<(), String> {
        Ok(())
    }

    /// The deletion of an object that does not vanish at once begins.
    fn begin_deletion(&self, _object: &mut Value, _now: &str) {}

    /// Whether something beside `metadata.finalizers` keeps the object.
    fn blocks_deletion(&self, _object: &Value) -> bool {
        false
    }

    /// Fields beside `metadata.name` and `metadata.namespace` that a field selector may name.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// How long an object lives.
    fn time_to_live(&self) -> Option<Duration> {
        None
    }

    /// An object was created, changed or deleted. Called after the write, in no particular order for concurrent
    /// writes: look at the store.
    fn written(&self, _server: &Arc<Inner>, _name: &str) {}
}

/// Nothing is special.
pub(crate) struct Plain;

impl Strategy for Plain {}
