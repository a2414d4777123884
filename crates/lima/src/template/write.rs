//! A template as text.

use super::Template;

/// A template that cannot be written as YAML; only values that YAML has no form for lead here.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the template as YAML: {0}")]
pub struct WriteError(#[from] serde_saphyr::SerializeError);

impl Template {
    /// The template as YAML, fields in a fixed order, what is not set left out.
    ///
    /// # Errors
    /// [`WriteError`], which no parsed template leads to.
    pub fn to_yaml(&self) -> Result<String, WriteError> {
        Ok(crate::yaml::to_string(self)?)
    }
}
