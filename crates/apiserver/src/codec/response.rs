//! The formats of response bodies.

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use super::yaml;
use crate::status::ApiError;

/// The format of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

impl Format {
    /// The media types that a client can ask for, for messages.
    pub(crate) const OFFERED: &str = "application/json, application/yaml";

    /// Returns the format of one media type of an `Accept` header.
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            "application/json" | "application/*" | "*/*" | "" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            _ => None,
        }
    }

    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        })
    }

    /// Encodes a document.
    pub(crate) fn encode(self, value: &Value) -> Result<Bytes, ApiError> {
        match self {
            Self::Json => Ok(value.to_string().into()),
            Self::Yaml => {
                let encoded = yaml::encode(value).map_err(|error| {
                    ApiError::internal(format!("the answer cannot be written as YAML: {error}"))
                })?;
                Ok(encoded.into())
            }
        }
    }

    /// Encodes a document that is there as JSON already.
    pub(crate) fn encode_json(self, json: &Bytes) -> Result<Bytes, ApiError> {
        match self {
            Self::Json => Ok(json.clone()),
            Self::Yaml => self.encode(&crate::object::decode_or_head(json)?),
        }
    }
}
