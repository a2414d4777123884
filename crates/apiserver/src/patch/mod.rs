//! Patches: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch for Kubernetes' own kinds.

mod strategic;

use serde_json::Value;

use crate::{registry::Resource, status::ApiError};

/// Operations of one JSON patch; the same limit as Kubernetes'.
const MAX_OPERATIONS: usize = 10_000;

/// A decoded patch.
pub(crate) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
    /// The server's own: a merge patch whose `spec` takes the place of the old one as a whole.
    Replace(Value),
}

impl Patch {
    /// Decodes the body of a PATCH request by its media type.
    pub(crate) fn decode(media_type: &str, body: &[u8], built_in: bool) -> Result<Self, ApiError> {
        let bad =
            |e: serde_json::Error| ApiError::bad_request(format!("error decoding patch: {e}"));
        match media_type {
            "application/json-patch+json" => {
                let patch: json_patch::Patch = serde_json::from_slice(body).map_err(bad)?;
                if patch.0.len() > MAX_OPERATIONS {
                    let why = format!("the patch has more than {MAX_OPERATIONS} operations");
                    return Err(ApiError::new(413, "RequestEntityTooLarge", why));
                }
                Ok(Self::Json(patch))
            }
            "application/merge-patch+json" => {
                let patch: Value = serde_json::from_slice(body).map_err(bad)?;
                object(&patch)?;
                Ok(Self::Merge(patch))
            }
            "application/strategic-merge-patch+json" if built_in => {
                let patch: Value = serde_json::from_slice(body).map_err(bad)?;
                object(&patch)?;
                Ok(Self::Strategic(patch))
            }
            _ if built_in => Err(ApiError::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
            )),
            _ => Err(ApiError::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json",
            )),
        }
    }

    /// The state that the patch makes of `old`.
    pub(crate) fn apply(&self, old: &Value, resource: &Resource) -> Result<Value, ApiError> {
        let mut new = old.clone();
        match self {
            Self::Json(patch) => json_patch::patch(&mut new, patch).map_err(|error| {
                let message = format!(
                    "the server rejected our request due to an error in our request: {error}"
                );
                ApiError::new(422, "Invalid", message)
            })?,
            Self::Merge(patch) => json_patch::merge(&mut new, patch),
            Self::Replace(patch) => {
                new["spec"] = Value::Null;
                json_patch::merge(&mut new, patch);
            }
            Self::Strategic(patch) => strategic::merge(&mut new, patch, &resource.kind)?,
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
