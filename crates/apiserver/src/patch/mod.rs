//! Patches: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch for Kubernetes' own kinds.

mod json;
pub(crate) mod strategic;

use serde_json::Value;
use strategic::MergeKeys;

use crate::{limits, status::ApiError};

/// From this estimate of its work on, a JSON patch runs on the compute pool: operations times the bytes of the object.
/// Below it the patch takes less than a millisecond.
const LARGE_PATCH: usize = 1 << 20;

/// A decoded patch.
pub(crate) enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// A merge patch with merge keys and directives.
    Strategic(Value),
    /// The server's own: a merge patch whose `spec` replaces the old `spec` as a whole.
    Replace(Value),
}

impl Patch {
    /// Decodes the body of a PATCH request by its media type. `strategic`: the kind has a strategic merge patch.
    pub(crate) fn decode(media_type: &str, body: &[u8], strategic: bool) -> Result<Self, ApiError> {
        limits::check_body(body)?;
        let bad =
            |e: serde_json::Error| ApiError::bad_request(format!("error decoding patch: {e}"));
        match media_type {
            "application/json-patch+json" => {
                let patch: json_patch::Patch = serde_json::from_slice(body).map_err(bad)?;
                let operations = patch.0.len();
                if operations > json::MAX_OPERATIONS {
                    let why = format!(
                        "The allowed maximum operations in a JSON patch is {}, got {operations}",
                        json::MAX_OPERATIONS
                    );
                    return Err(ApiError::new(413, "RequestEntityTooLarge", why));
                }
                Ok(Self::Json(patch))
            }
            "application/merge-patch+json" => {
                let patch: Value = serde_json::from_slice(body).map_err(bad)?;
                object(&patch)?;
                Ok(Self::Merge(patch))
            }
            "application/strategic-merge-patch+json" if strategic => {
                let patch: Value = serde_json::from_slice(body).map_err(bad)?;
                object(&patch)?;
                Ok(Self::Strategic(patch))
            }
            _ if strategic => Err(ApiError::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
            )),
            _ => Err(ApiError::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json",
            )),
        }
    }

    /// Whether applying the patch to an object of this encoded size takes long enough to leave the async workers.
    pub(crate) fn is_large(&self, object_bytes: usize) -> bool {
        match self {
            Self::Json(patch) => patch.0.len().saturating_mul(object_bytes) > LARGE_PATCH,
            _ => false,
        }
    }

    /// Returns the state that the patch makes of `old`.
    pub(crate) fn apply(&self, old: &Value, merge_keys: MergeKeys) -> Result<Value, ApiError> {
        let mut new = old.clone();
        match self {
            Self::Json(patch) => json::apply(&mut new, patch)?,
            Self::Merge(patch) => json_patch::merge(&mut new, patch),
            Self::Replace(patch) => {
                if let Some(fields) = new.as_object_mut() {
                    fields.remove("spec");
                }
                json_patch::merge(&mut new, patch);
            }
            Self::Strategic(patch) => strategic::merge(&mut new, patch, merge_keys)?,
        }
        object(&new)?;
        Ok(new)
    }
}

fn object(value: &Value) -> Result<(), ApiError> {
    if value.is_object() {
        Ok(())
    } else {
        Err(ApiError::bad_request(
            "error decoding patch: a JSON object is expected",
        ))
    }
}
