//! The report as JSON: the model itself, with its version.

use serde_json::Value;

use crate::model::Report;
use crate::report::harmless::harmless;

/// The version of the JSON report that this program writes. It grows when a reader of the version before would
/// misread the file; a new optional field does not.
pub const FORMAT_VERSION: u32 = 1;

/// Why a JSON report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or not of this shape.
    #[error("the report is no JSON report of deep-review: {0}")]
    Shape(#[from] serde_json::Error),
    /// Written by a newer program.
    #[error(
        "the report has format version {found}, this program reads up to {FORMAT_VERSION}: use a newer deep-review"
    )]
    Version {
        /// As the file says.
        found: u32,
    },
}

/// The report as JSON. Its `version` is [`FORMAT_VERSION`], whatever the value says.
pub fn json(report: &Report) -> Value {
    let mut value = serde_json::to_value(harmless(report)).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("version".to_owned(), FORMAT_VERSION.into());
    }
    value
}

/// Reads what [`json`] wrote. Unknown fields are left out.
pub fn from_json(text: &str) -> Result<Report, JsonError> {
    #[derive(serde::Deserialize)]
    struct Head {
        version: u32,
    }
    // The version first: a newer shape would give an error about a field, which does not say what to do.
    let head: Head = serde_json::from_str(text)?;
    if head.version > FORMAT_VERSION {
        return Err(JsonError::Version {
            found: head.version,
        });
    }
    Ok(serde_json::from_str(text)?)
}
