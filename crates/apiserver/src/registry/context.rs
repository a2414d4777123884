//! [`WriteContext`]: the user and the options of a write.

use std::sync::Arc;

use super::backend::Backend;
use crate::access::user::User;

/// The treatment of unknown and duplicate fields (`fieldValidation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// The user and the options of a write.
pub(crate) struct WriteContext<'a> {
    pub(crate) backend: &'a Arc<Backend>,
    pub(crate) user: User,
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    /// Warnings for the client, sent as `Warning` headers.
    pub(crate) warnings: Vec<String>,
    /// Whether admission plugins see the write. The server's own clean-up passes none, so that no plugin can keep an
    /// object whose owner or namespace is gone.
    pub(crate) plugins: bool,
}

impl<'a> WriteContext<'a> {
    /// The context of a write by the server itself.
    pub(crate) fn internal(backend: &'a Arc<Backend>) -> Self {
        Self {
            backend,
            user: User::master("system:apiserver"),
            dry_run: false,
            field_validation: FieldValidation::Ignore,
            warnings: Vec::new(),
            plugins: false,
        }
    }
}
