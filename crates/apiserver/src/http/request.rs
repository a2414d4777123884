//! Takes a request through access control to its handler, and turns errors into `Status` objects.

use std::{fmt::Display, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use serde_json::json;

use super::{frontend::Frontend, health, mount, read};
use crate::{
    access::{audit, authorize, impersonate, user::User},
    codec::body::ResponseBody,
    compute::panic_text,
    handlers::{
        self,
        reply::{json_reply, status_reply},
        request::Closing,
    },
    route::Route,
    status::ApiError,
};

/// The connection or the in-process client that a request comes from.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) frontend: Arc<Frontend>,
    /// `None`: a client without a certificate.
    pub(crate) user: Option<User>,
    pub(crate) closing: Closing,
}

/// Answers a request.
pub(crate) async fn respond<B>(origin: Origin, request: Request<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let id: HeaderValue = audit::id(request.headers());
    let user = origin.user.clone();
    // No input may cause a panic. If one does, the client gets an answer and the connection stays.
    let answered = AssertUnwindSafe(try_respond(origin, request)).catch_unwind();
    let mut response = match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => status_reply(&error),
        Err(panic) => {
            let why = panic_text(panic.as_ref());
            tracing::error!(%method, path, why, "a request handler panicked");
            status_reply(&ApiError::internal(
                "the request caused a fault in the server",
            ))
        }
    };
    if method == Method::HEAD {
        *response.body_mut() = ResponseBody::empty();
    }
    let status = response.status();
    let headers = response.headers_mut();
    audit::record(id, user.as_ref(), &method, &path, status, headers);
    response
}

async fn try_respond<B>(
    origin: Origin,
    request: Request<B>,
) -> Result<Response<ResponseBody>, ApiError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let frontend = &origin.frontend;
    let path = request.uri().path();
    let route = Route::parse(path);
    // Health and version are for every client.
    match &route {
        Route::Health(endpoint) => {
            let query = request.uri().query().unwrap_or_default();
            return Ok(health::answer(frontend, endpoint, query));
        }
        Route::Version => return Ok(json_reply(200, &json!(frontend.version))),
        _ => {}
    }
    let user = origin.user.ok_or_else(ApiError::unauthorized)?;
    impersonate::check(&user, request.headers())?;
    authorize::check(&user, path)?;
    if let Some(service) = frontend.mounts.find(path) {
        return Ok(mount::call(service, user, request).await);
    }
    let (parts, body) = request.into_parts();
    let body = match parts.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => read::read(body).await?,
    };
    let request = handlers::request::Request {
        backend: Arc::clone(&frontend.backend),
        closing: origin.closing,
        user,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        method: parts.method,
        headers: parts.headers,
        body,
    };
    handlers::answer(request, route).await
}
