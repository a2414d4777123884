//! Decodes the bodies of requests by their media type.

use serde_json::Value;

use super::{
    json,
    protobuf::{self, Message},
    yaml,
};
use crate::{limits, status::ApiError};

/// A decoded body.
pub(crate) struct Decoded {
    pub(crate) value: Value,
    /// The paths of keys that occur twice.
    pub(crate) duplicates: Vec<String>,
}

/// Decodes a body. `what` names in errors what the body should hold, such as `ConfigMap`; `message` is its protobuf
/// form, if it has one.
pub(crate) fn decode(
    media_type: &str,
    body: &[u8],
    what: &str,
    message: Option<&'static Message>,
) -> Result<Decoded, ApiError> {
    let bad =
        |why: &str| ApiError::bad_request(format!("the body cannot be decoded as a {what}: {why}"));
    let value = match (media_type, message) {
        ("application/json", _) => {
            limits::check_body(body)?;
            let (value, duplicates) = json::decode(body).map_err(|e| bad(&e.to_string()))?;
            return Ok(Decoded { value, duplicates });
        }
        ("application/yaml", _) => yaml::decode(body).map_err(|e| bad(&e))?,
        (protobuf::MEDIA_TYPE, Some(message)) => {
            let value = protobuf::decode(body, message);
            value.ok_or_else(|| bad("malformed protobuf"))?
        }
        (_, None) => {
            return Err(ApiError::unsupported_media_type(
                "application/json, application/yaml",
            ));
        }
        (_, Some(_)) => {
            return Err(ApiError::unsupported_media_type(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
    };
    Ok(Decoded {
        value,
        duplicates: Vec::new(),
    })
}
