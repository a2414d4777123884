//! YAML: read with a budget, so that aliases cannot expand without limit, and written.

use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;

/// Nested deeper than this, a document is refused (serde_json's limit).
const MAX_DEPTH: usize = 128;
/// Nodes of a document after its aliases are expanded. A body of three megabytes has fewer.
const MAX_NODES: usize = 250_000;
/// Scalar bytes of a document after its aliases are expanded: the largest body, twice.
const MAX_SCALAR_BYTES: usize = 6 << 20;

/// Decodes a document; the error says where and why it cannot be decoded.
pub(super) fn decode(bytes: &[u8]) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_total_scalar_bytes: MAX_SCALAR_BYTES,
            max_documents: 1,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
    };
    serde_saphyr::from_slice_with_options(bytes, options).map_err(|error| error.to_string())
}

/// Encodes a document.
pub(super) fn encode(value: &Value) -> Result<String, String> {
    serde_saphyr::to_string(value).map_err(|error| error.to_string())
}
