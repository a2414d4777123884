//! The template in a ConfigMap.

use api::lima::TEMPLATE_KEY;
use k8s_openapi::api::core::v1::ConfigMap;

/// Why a ConfigMap has no template. The texts are those of the Go rdd, because users' scripts match them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TextProblem {
    /// The key is missing.
    #[error("template ConfigMap must have a \"template\" data entry")]
    NoEntry,
    /// The value is empty.
    #[error("\"template\" data cannot be empty")]
    Empty,
}

/// The template of a ConfigMap.
pub(crate) fn text(config_map: &ConfigMap) -> Result<&str, TextProblem> {
    let text = config_map
        .data
        .as_ref()
        .and_then(|data| data.get(TEMPLATE_KEY))
        .ok_or(TextProblem::NoEntry)?;
    if text.trim().is_empty() {
        Err(TextProblem::Empty)
    } else {
        Ok(text)
    }
}
