//! Writes YAML in the style of this crate.

use serde::Serialize;
use serde_saphyr::SerializeError;

/// Writes a value as YAML. Strings of one line are not folded: keys and digests are long, and some readers (grep, the guest
/// agent) search lines instead of parsing YAML.
pub(crate) fn to_string<T: Serialize>(value: &T) -> Result<String, SerializeError> {
    let options = serde_saphyr::ser_options! {
        min_fold_chars: usize::MAX,
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(value, options)
}
