//! Services beside the Kubernetes API: a tower service is mounted at a path prefix, such as `/rdd/v1` or `/metrics`,
//! and answers every request below it. Access control comes before: only users who may do everything get through.

use std::{convert::Infallible, fmt::Display, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use parking_lot::RwLock;
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};

use super::read;
use crate::{access::user::User, codec::body::ResponseBody, handlers::reply, status::ApiError};

/// The body of a request to a mounted service. It is not read yet and has no limit: [`read_body`] reads it.
pub type RequestBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// A service that can be mounted. The [`User`] is an extension of the request.
pub type MountedService =
    BoxCloneSyncService<Request<RequestBody>, Response<ResponseBody>, Infallible>;

/// The mounted services by prefix.
#[derive(Default)]
pub(crate) struct Mounts(RwLock<Vec<(Arc<str>, MountedService)>>);

impl Mounts {
    /// Mounts a service at a prefix without a trailing slash. The first of two mounts at one prefix is replaced.
    pub(crate) fn add(&self, prefix: &str, service: MountedService) {
        let mut mounts = self.0.write();
        mounts.retain(|(other, _)| **other != *prefix);
        mounts.push((prefix.into(), service));
        // The longest prefix wins.
        mounts.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    }

    /// Returns the service whose prefix is `path` or one of its parents.
    pub(crate) fn find(&self, path: &str) -> Option<MountedService> {
        let below = |prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mounts = self.0.read();
        let mut found = mounts.iter().filter(|(prefix, _)| below(prefix));
        found.next().map(|(_, service)| service.clone())
    }
}

/// Passes a request to a mounted service.
pub(crate) async fn call<B>(
    service: MountedService,
    user: User,
    request: Request<B>,
) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let mut request = request.map(|body| {
        // The error becomes text, so that the client's type of body has no further conditions to meet.
        let body = body.map_err(|error| std::io::Error::other(error.to_string()));
        body.boxed_unsync()
    });
    request.extensions_mut().insert(user);
    let mut service = service;
    match service.ready().await {
        Ok(ready) => match ready.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        Err(never) => match never {},
    }
}

/// Reads the body of a request to a mounted service, with the limits of the API's bodies: three megabytes, thirty
/// seconds. The error is the response to send.
pub async fn read_body(body: RequestBody) -> Result<Bytes, Response<ResponseBody>> {
    let read = read::read(body).await;
    read.map_err(|error| reply::status_reply(&error))
}

/// Builds the response for an error: a `Status`, as every error of the API.
pub fn error_response(
    code: u16,
    reason: &'static str,
    message: impl Into<String>,
) -> Response<ResponseBody> {
    reply::status_reply(&ApiError::new(code, reason, message))
}

/// Builds the response for a success with a JSON document.
pub fn json_response(value: &serde_json::Value) -> Response<ResponseBody> {
    reply::json_reply(200, value)
}
