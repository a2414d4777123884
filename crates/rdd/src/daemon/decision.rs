//! How the daemon stops. The first request decides: a signal stops the VMs; a [`StopRequest`] says whether they are
//! stopped or kept. Later requests can only shorten the grace period.

use std::sync::Arc;
use std::time::Duration;

use apiserver::http::mount::{
    MountedService, RequestBody, error_response, json_response, read_body,
};
use apiserver::{ResponseBody, User};
use controller_kit::GraceLimit;
use http::{Method, Request, Response};
use serde_json::Value;
use tokio::sync::watch;
use tower::util::BoxCloneSyncService;

use crate::service::stop_request::{PATH, StopRequest};

/// HTTP's "bad request".
const BAD_REQUEST: u16 = 400;
/// HTTP's "unauthorized".
const UNAUTHORIZED: u16 = 401;
/// HTTP's "not found".
const NOT_FOUND: u16 = 404;
/// HTTP's "method not allowed".
const METHOD_NOT_ALLOWED: u16 = 405;
/// HTTP's "conflict".
const CONFLICT: u16 = 409;

/// The request that decides, once there is one. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Decision(watch::Sender<Option<StopRequest>>);

impl Decision {
    /// Creates one without a request.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Records the request unless there is one already; returns the one that counts.
    pub(super) fn decide(&self, request: StopRequest) -> StopRequest {
        self.0.send_if_modified(|decided| {
            let first = decided.is_none();
            if first {
                *decided = Some(request);
            }
            first
        });
        self.0.borrow().unwrap_or(request)
    }

    /// Waits for a request. Cancel-safe.
    pub(super) async fn made(&self) -> StopRequest {
        let mut decided = self.0.subscribe();
        // This cannot fail, because `self` has the sender.
        match decided.wait_for(Option::is_some).await.map(|made| *made) {
            Ok(Some(request)) => request,
            _ => std::future::pending().await,
        }
    }
}

/// The API endpoint for requests to stop.
pub(super) struct StopEndpoint {
    /// Where the request is recorded.
    pub(super) decision: Decision,
    /// Shortens a stop that has begun.
    pub(super) grace_limit: GraceLimit,
    /// The grace period of requests that name none.
    pub(super) default_grace: Duration,
}

/// Why a request to stop is refused.
#[derive(Debug)]
struct Refusal {
    /// HTTP status code.
    code: u16,
    /// The reason of the `Status`.
    reason: &'static str,
    message: String,
}

impl StopEndpoint {
    /// Returns the service to mount at [`PATH`].
    pub(super) fn into_service(self) -> MountedService {
        let endpoint = Arc::new(self);
        let answer = move |request: Request<RequestBody>| {
            let endpoint = Arc::clone(&endpoint);
            async move { Ok(endpoint.answer(request).await) }
        };
        BoxCloneSyncService::new(tower::service_fn(answer))
    }

    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let path = request.uri().path().to_owned();
        if path != PATH {
            let message = format!("the daemon has no path {path}; a stop is requested at {PATH}");
            return error_response(NOT_FOUND, "NotFound", message);
        }
        if request.method() != Method::POST {
            let message = format!("{PATH} answers POST only");
            return error_response(METHOD_NOT_ALLOWED, "MethodNotAllowed", message);
        }
        let Some(user) = request.extensions().get::<User>().cloned() else {
            return error_response(UNAUTHORIZED, "Unauthorized", "Unauthorized");
        };
        let body = match read_body(request.into_body()).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        match self.post(&user, &body).await {
            Ok(answer) => json_response(&answer),
            Err(refusal) => error_response(refusal.code, refusal.reason, refusal.message),
        }
    }

    async fn post(&self, user: &User, body: &[u8]) -> Result<Value, Refusal> {
        let wanted: StopRequest = serde_json::from_slice(body).map_err(|error| Refusal {
            code: BAD_REQUEST,
            reason: "BadRequest",
            message: format!("the request to stop cannot be read: {error}"),
        })?;
        let holds = self.decision.decide(wanted);
        tracing::info!(user = user.name, ?wanted, ?holds, "asked to stop");
        let grace = |request: StopRequest| request.grace(self.default_grace);
        match (grace(holds), grace(wanted)) {
            (None, None) => Ok(serde_json::json!(holds)),
            (Some(_), Some(grace)) => {
                self.grace_limit.within(grace);
                Ok(serde_json::json!(wanted))
            }
            _ => Err(Refusal {
                code: CONFLICT,
                reason: "Conflict",
                message: format!("the control plane is stopping already, and {holds}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_request_decides() {
        let decision = Decision::new();
        let grace_limit = GraceLimit::default();
        let endpoint = StopEndpoint {
            decision: decision.clone(),
            grace_limit: grace_limit.clone(),
            default_grace: Duration::from_secs(30),
        };
        let user = User::master("me");
        let refused = endpoint.post(&user, b"{}").await.unwrap_err();
        assert_eq!(refused.code, BAD_REQUEST);
        let keep = br#"{"vms":"keep"}"#;
        assert!(endpoint.post(&user, keep).await.is_ok());
        assert!(
            endpoint.post(&user, keep).await.is_ok(),
            "the same request again"
        );
        // A later signal changes nothing.
        assert_eq!(
            decision.decide(StopRequest::BY_SIGNAL),
            StopRequest::Keep {}
        );
        let force = br#"{"vms":"stop","gracePeriodMs":0}"#;
        let refused = endpoint.post(&user, force).await.unwrap_err();
        assert_eq!(refused.code, CONFLICT);
        assert!(refused.message.contains("go on running"), "{refused:?}");
        assert_eq!(decision.made().await, StopRequest::Keep {});
        assert_eq!(grace_limit.deadline(), None);
    }

    #[tokio::test]
    async fn later_request_shortens_the_grace_period() {
        let decision = Decision::new();
        let grace_limit = GraceLimit::default();
        let endpoint = StopEndpoint {
            decision: decision.clone(),
            grace_limit: grace_limit.clone(),
            default_grace: Duration::from_secs(30),
        };
        decision.decide(StopRequest::BY_SIGNAL);
        let user = User::master("me");
        let post = |body: &'static [u8]| endpoint.post(&user, body);
        assert!(post(br#"{"vms":"stop","gracePeriodMs":0}"#).await.is_ok());
        let by = grace_limit.deadline().unwrap();
        assert!(by <= std::time::Instant::now());
        assert!(post(br#"{"vms":"stop"}"#).await.is_ok());
        assert_eq!(grace_limit.deadline(), Some(by), "it is never extended");
        assert_eq!(post(br#"{"vms":"keep"}"#).await.unwrap_err().code, CONFLICT);
    }
}
