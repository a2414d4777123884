//! API calls, each with its own deadline (hazard 8) and an error that names the action.

use std::time::Duration;

/// An answer takes milliseconds. A server that needs longer than this is stuck, and the caller retries later.
const LIMIT: Duration = Duration::from_secs(10);

/// Why a call to the API server failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server answered with an error, or could not be reached.
    #[error("cannot {action}: {}", reason(source))]
    Refused {
        /// What was tried.
        action: String,
        /// The server's answer.
        source: Box<kube::Error>,
    },
    /// The server did not answer.
    #[error("cannot {action}: the API server did not answer within {} s", LIMIT.as_secs())]
    TimedOut {
        /// What was tried.
        action: String,
    },
}

/// The API server's own message, without kube's wrapping.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

impl CallError {
    /// The HTTP status code of the server's answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            CallError::Refused { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            CallError::TimedOut { .. } => None,
        }
    }

    /// Whether the API server refused the call for good: neither is it busy (429), nor has it failed itself (5xx).
    pub fn is_refusal(&self) -> bool {
        self.code()
            .is_some_and(|code| (400..500).contains(&code) && code != 429)
    }

    /// Whether the object has changed meanwhile, or exists already.
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }
}

/// Waits for `call`, for at most 10 s. `action` completes "cannot …".
///
/// # Errors
/// The server refused the call or did not answer.
pub async fn call<T>(
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

/// Like [`call`], with `None` for an object that does not exist.
///
/// # Errors
/// The server refused the call for another reason, or did not answer.
pub async fn call_opt<T>(
    action: impl FnOnce() -> String,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Option<T>, CallError> {
    match call(action, future).await {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
