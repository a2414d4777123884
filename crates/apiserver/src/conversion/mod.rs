//! Conversion between the form in which an object is stored and the form of the requested kind and version.
//!
//! The versions of a custom resource share one schema shape (conversion strategy `None`), so only `apiVersion`
//! differs. A built-in kind that is stored as another kind renames fields ([`crate::kinds::kind::StoredAs`]).

use bytes::Bytes;
use serde_json::Value;

use crate::{
    kinds::kind::{Kind, group_version},
    object,
    status::ApiError,
};

/// Gives an object the form in which it is stored.
pub(crate) fn to_stored(kind: &Kind, object: &mut Value) {
    if let Some(stored_as) = &kind.stored_as {
        (stored_as.to_stored)(object);
    }
    object["apiVersion"] = group_version(kind.stored_group(), &kind.storage_version).into();
}

/// Gives a stored object the form of `kind`.
pub(crate) fn from_stored(kind: &Kind, object: &mut Value) {
    if let Some(stored_as) = &kind.stored_as {
        (stored_as.from_stored)(object);
    }
    object["apiVersion"] = kind.api_version().into();
}

/// Returns a stored object in the form of `kind`, without decoding it where only the version can differ.
pub(crate) fn present(kind: &Kind, stored: &Bytes) -> Result<Bytes, ApiError> {
    if kind.is_stored_form() {
        return Ok(stored.clone());
    }
    if kind.stored_as.is_none() {
        return Ok(object::with_api_version(stored, &kind.api_version()));
    }
    let mut object = object::decode_or_head(stored)?;
    from_stored(kind, &mut object);
    Ok(object.to_string().into())
}
