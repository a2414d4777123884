//! [`Request`]: a request after access control, with its body read.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use crate::{access::user::User, registry::backend::Backend};

/// Becomes true when the listener stops or, for a request in process, the server. Watches end then.
pub(crate) type Closing = tokio::sync::watch::Receiver<bool>;

/// A request after access control, with its body read.
pub(crate) struct Request {
    pub(crate) backend: Arc<Backend>,
    pub(crate) user: User,
    pub(crate) method: Method,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) closing: Closing,
}

impl Request {
    /// Returns the media type of the body, without parameters.
    pub(super) fn media_type(&self) -> &str {
        let header = self.headers.get(header::CONTENT_TYPE);
        let header = header
            .and_then(|h| h.to_str().ok())
            .unwrap_or("application/json");
        header.split(';').next().unwrap_or_default().trim()
    }

    /// Returns the `Accept` header.
    pub(super) fn accept(&self) -> &str {
        let header = self.headers.get(header::ACCEPT);
        header.and_then(|h| h.to_str().ok()).unwrap_or("*/*")
    }

    /// Returns whether the request only reads.
    pub(super) fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }
}
