//! Calls to the API server, each with a deadline of its own (hazard 8).

use std::time::Duration;

/// An answer takes milliseconds; a server that needs longer than this is stuck, and the call is made again later.
const LIMIT: Duration = Duration::from_secs(10);

/// Why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It answered no.
    #[error("cannot {action}: {}", reason(source))]
    Refused {
        /// What was tried.
        action: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// It did not answer.
    #[error("cannot {action}: the API server did not answer within {} s", LIMIT.as_secs())]
    TimedOut {
        /// What was tried.
        action: String,
    },
}

/// The API server's own words, without the wrapping.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl CallError {
    /// The HTTP status code of a refusal.
    fn code(&self) -> Option<u16> {
        match self {
            CallError::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            CallError::TimedOut { .. } => None,
        }
    }

    /// The API server answered.
    pub(crate) fn is_refusal(&self) -> bool {
        self.code().is_some()
    }

    /// The object changed, or exists already.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// There is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }
}

/// Waits for `call`, for at most [`LIMIT`]. `action` completes "cannot …".
pub(crate) async fn call<T>(
    action: impl FnOnce() -> String,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(CallError::Refused {
            action: action(),
            source: Box::new(source),
        }),
        Err(_) => Err(CallError::TimedOut { action: action() }),
    }
}

/// The same; an object that is not there is `None`.
pub(crate) async fn call_opt<T>(
    action: impl FnOnce() -> String,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Option<T>, CallError> {
    match call(action, future).await {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
