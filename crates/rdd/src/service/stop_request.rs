//! The request to stop a daemon in a certain way: `POST /rdd/v1/stop`, with the administrator's certificate.
//!
//! A signal carries no parameters. The API works on every platform, depends on no terminal and on no file that a crash
//! could leave behind, and its response says what the daemon has decided.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The path of the endpoint.
pub(crate) const PATH: &str = "/rdd/v1/stop";

/// The longest grace period: longer than any guest needs, and short enough to be added to an instant.
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);

/// The body of the request, and of the response, which contains the request that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "vms",
    rename_all = "lowercase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub(crate) enum StopRequest {
    /// The VMs keep running; the next daemon adopts them.
    Keep {},
    /// The VMs are stopped, all at the same time.
    Stop {
        /// How long the guests may take to shut down, in milliseconds; absent: the daemon's default. A VM whose own
        /// grace period is shorter gets no more than that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace_period_ms: Option<u64>,
    },
}

impl StopRequest {
    /// The meaning of a signal.
    pub(crate) const BY_SIGNAL: Self = Self::Stop {
        grace_period_ms: None,
    };

    /// Stops the VMs with this grace period.
    pub(crate) fn within(grace: Duration) -> Self {
        Self::Stop {
            grace_period_ms: Some(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// The grace period of the guests; nothing if the VMs are kept.
    pub(crate) fn grace(self, default: Duration) -> Option<Duration> {
        match self {
            Self::Keep {} => None,
            Self::Stop { grace_period_ms } => {
                let wanted = grace_period_ms.map_or(default, Duration::from_millis);
                Some(wanted.min(LONGEST_GRACE))
            }
        }
    }
}

impl std::fmt::Display for StopRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keep {} => write!(f, "its VMs go on running"),
            Self::Stop {
                grace_period_ms: Some(0),
            } => write!(f, "its VMs are switched off"),
            Self::Stop { .. } => write!(f, "its VMs are being stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_period_has_an_upper_limit() {
        let grace = |request: StopRequest| request.grace(Duration::from_secs(30));
        assert_eq!(grace(StopRequest::Keep {}), None);
        assert_eq!(grace(StopRequest::BY_SIGNAL), Some(Duration::from_secs(30)));
        assert_eq!(
            grace(StopRequest::within(Duration::MAX)),
            Some(LONGEST_GRACE)
        );
    }

    #[test]
    fn body_has_the_documented_form() {
        for (request, body) in [
            (StopRequest::Keep {}, r#"{"vms":"keep"}"#),
            (StopRequest::BY_SIGNAL, r#"{"vms":"stop"}"#),
            (
                StopRequest::within(Duration::from_millis(1500)),
                r#"{"vms":"stop","gracePeriodMs":1500}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), body);
            assert_eq!(serde_json::from_str::<StopRequest>(body).unwrap(), request);
        }
        for body in ["", "{}", r#"{"vms":"eat"}"#, r#"{"vms":"keep","x":1}"#] {
            assert!(serde_json::from_str::<StopRequest>(body).is_err(), "{body}");
        }
    }
}
