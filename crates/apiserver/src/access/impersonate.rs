//! Impersonation (`kubectl --as`). It needs RBAC to be of use; until then a request that asks for it is refused,
//! because answering it as the real user would grant it rights that the impersonated user does not have.

use http::HeaderMap;

use super::user::User;
use crate::status::ApiError;

/// The common prefix of the headers, in lower case as `http` stores them.
const PREFIX: &str = "impersonate-";

/// Refuses a request with impersonation headers.
pub(crate) fn check(user: &User, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(header) = headers
        .keys()
        .find(|name| name.as_str().starts_with(PREFIX))
    else {
        return Ok(());
    };
    let message = format!(
        "forbidden: User {:?} cannot impersonate: this server does not support impersonation \
         (header {header}); repeat the request without --as, --as-group and --as-uid",
        user.name
    );
    Err(ApiError::new(403, "Forbidden", message))
}
