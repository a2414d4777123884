//! The audit record of a request: an event of the log target `apiserver::audit` at level debug, with the
//! `Audit-Id` that the response carries.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::user::User;

/// The header of request and response that identifies the audit record.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// An ID given by a client is used up to this length.
const MAX_ID: usize = 64;

/// Returns the ID of a request: the client's, or a new one.
pub(crate) fn id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(AUDIT_ID);
    if let Some(given) = given.filter(|id| !id.is_empty() && id.len() <= MAX_ID) {
        return given.clone();
    }
    let mut buffer = uuid::Uuid::encode_buffer();
    let id = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Records the outcome of a request, and names the ID in the response. `user` is `None` for an anonymous client.
pub(crate) fn record(
    id: HeaderValue,
    user: Option<&User>,
    method: &Method,
    path: &str,
    status: StatusCode,
    response: &mut HeaderMap,
) {
    tracing::debug!(
        target: "apiserver::audit",
        audit_id = id.to_str().unwrap_or_default(),
        user = user.map_or("system:anonymous", |user| user.name.as_str()),
        %method,
        path,
        code = status.as_u16(),
        "request"
    );
    response.insert(AUDIT_ID, id);
}
