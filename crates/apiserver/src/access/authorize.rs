//! Authorization. The only rule until there is RBAC: members of `system:masters` may do everything, other users
//! nothing. Requests and access reviews ask the same function, so a review says what a request will get.

use super::user::User;
use crate::status::ApiError;

/// Returns whether the user may do anything at all.
pub(crate) fn allows(user: &User) -> bool {
    user.is_master()
}

/// Refuses a request that the user may not make.
pub(crate) fn check(user: &User, path: &str) -> Result<(), ApiError> {
    if allows(user) {
        return Ok(());
    }
    let message = format!(
        "forbidden: User {:?} cannot access path {path:?}",
        user.name
    );
    Err(ApiError::new(403, "Forbidden", message))
}
