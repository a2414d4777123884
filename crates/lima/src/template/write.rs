//! Writes a template as YAML.

use super::types::Template;

/// YAML has no form for a value of the template.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the template as YAML: {0}")]
pub struct WriteError(#[from] serde_saphyr::SerializeError);

impl Template {
    /// Returns the template as YAML, with the fields in a fixed order and without empty ones.
    ///
    /// # Errors
    /// [`WriteError`], which no parsed template causes.
    pub fn to_yaml(&self) -> Result<String, WriteError> {
        Ok(crate::yaml::to_string(self)?)
    }
}
