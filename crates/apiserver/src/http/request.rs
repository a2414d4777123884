//! Reads a request, lets in who may come in, and turns refusals into Status objects.

use std::{fmt::Display, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;

use super::{ResponseBody, health};
use crate::{
    compute::panic_text,
    handlers::{self, Closing, json_reply, status_reply},
    route::Route,
    server::Inner,
    status::ApiError,
    user::User,
};

/// The largest body of a request; Kubernetes' limit.
const MAX_BODY: usize = 3 << 20;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a request comes from.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) server: Arc<Inner>,
    /// `None`: a client without a certificate.
    pub(crate) user: Option<User>,
    /// Becomes true when the listener (or, in process, the server) stops.
    pub(crate) closing: Closing,
}

/// Answers a request.
pub(crate) async fn respond<B>(origin: Origin, request: Request<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    let head = request.method() == Method::HEAD;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
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
    if head {
        *response.body_mut() = ResponseBody::empty();
    }
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
    let (parts, body) = request.into_parts();
    let route = Route::parse(parts.uri.path());
    let query = parts.uri.query().unwrap_or_default();
    match &route {
        Route::Health(endpoint) => return Ok(health::answer(&origin.server, endpoint, query)),
        Route::Version => return Ok(json_reply(200, &json!(origin.server.version))),
        _ => {}
    }
    let user = origin.user.ok_or_else(ApiError::unauthorized)?;
    if !user.is_master() {
        let message = format!(
            "forbidden: User {:?} cannot access path {:?}",
            user.name,
            parts.uri.path()
        );
        return Err(ApiError::new(403, "Forbidden", message));
    }
    let body = match parts.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => read(body).await?,
    };
    if let Some(endpoint) = origin.server.endpoint(parts.uri.path()) {
        if parts.method != Method::POST {
            return Err(ApiError::method_not_allowed());
        }
        let answer = endpoint.post(&user, &body).await;
        return match answer {
            Ok(answer) => Ok(json_reply(200, &answer)),
            Err(refusal) => Err(ApiError::new(refusal.code, refusal.reason, refusal.message)),
        };
    }
    let request = handlers::Request {
        server: origin.server,
        closing: origin.closing,
        user,
        query: query.to_owned(),
        method: parts.method,
        headers: parts.headers,
        body,
    };
    handlers::answer(request, route).await
}

async fn read<B>(body: B) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(ApiError::too_large(MAX_BODY));
    }
    // The error is boxed as text, so that the body's own type of error has no conditions to meet.
    let body = body.map_err(|e| std::io::Error::other(e.to_string()));
    let collected =
        tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::too_large(MAX_BODY))
        }
        Ok(Err(error)) => Err(ApiError::bad_request(format!(
            "the body could not be read: {error}"
        ))),
        Err(_) => Err(ApiError::new(
            408,
            "Timeout",
            "the body did not arrive in time",
        )),
    }
}
