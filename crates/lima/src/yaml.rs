//! How this crate writes YAML.

use serde::Serialize;
use serde_saphyr::SerializeError;

/// Strings of one line stay on one line: keys and digests are long, and readers that are not YAML parsers (grep, our
/// guests' first-boot service) look at lines.
pub(crate) fn to_string<T: Serialize>(value: &T) -> Result<String, SerializeError> {
    let options = serde_saphyr::ser_options! {
        min_fold_chars: usize::MAX,
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(value, options)
}
