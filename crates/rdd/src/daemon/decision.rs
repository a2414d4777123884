//! How the daemon ends: decided once, by whoever asks first. A signal stops the VMs; a request ([`StopRequest`]) says
//! what becomes of them. Who asks later can only shorten the time that the guests have.

use std::time::Duration;

use apiserver::User;
use apiserver::endpoint::{Endpoint, Refusal};
use controller_kit::GraceLimit;
use serde_json::Value;
use tokio::sync::watch;

use crate::service::stop_request::{PATH, StopRequest};

/// HTTP's "bad request".
const BAD_REQUEST: u16 = 400;
/// HTTP's "conflict".
const CONFLICT: u16 = 409;

/// What was decided, if anything was. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Decision(watch::Sender<Option<StopRequest>>);

impl Decision {
    /// Nothing is decided yet.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Decides, unless it is decided already; returns what holds.
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

    /// Waits for the decision. Safe to cancel.
    pub(super) async fn made(&self) -> StopRequest {
        let mut decided = self.0.subscribe();
        // It cannot fail: the sender is ours.
        match decided.wait_for(Option::is_some).await.map(|made| *made) {
            Ok(Some(request)) => request,
            _ => std::future::pending().await,
        }
    }
}

/// Takes requests to stop from the API.
pub(super) struct StopEndpoint {
    /// Where it is decided.
    pub(super) decision: Decision,
    /// For a stop that is under way.
    pub(super) grace_limit: GraceLimit,
    /// How long guests may take that nobody said anything of.
    pub(super) default_grace: Duration,
}

#[async_trait::async_trait]
impl Endpoint for StopEndpoint {
    fn path(&self) -> &str {
        PATH
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
    async fn who_asks_first_decides() {
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
        assert!(endpoint.post(&user, keep).await.is_ok(), "the same again");
        // The signal that comes too late changes nothing, and the request learns what holds.
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
    async fn who_loses_patience_shortens_the_stop_that_is_under_way() {
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
        assert_eq!(grace_limit.deadline(), Some(by), "it never gets longer");
        assert_eq!(post(br#"{"vms":"keep"}"#).await.unwrap_err().code, CONFLICT);
    }
}
