//! What a server answers beside the Kubernetes API: the paths of the program that it is a part of.

use serde_json::Value;

use crate::User;

/// Answers `POST` on one path outside `/api` and `/apis`. Only callers who may do everything get as far as this.
#[async_trait::async_trait]
pub trait Endpoint: Send + Sync {
    /// The whole path, such as `/rdd/v1/stop`.
    fn path(&self) -> &str;

    /// Answers a request; the body is limited in size and comes as the client sent it.
    async fn post(&self, user: &User, body: &[u8]) -> Result<Value, Refusal>;
}

/// Why an endpoint does not do what it was asked for. The client gets it as a `Status`, like every refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code of HTTP.
    pub code: u16,
    /// The reason, one word as Kubernetes has them: `Conflict`.
    pub reason: &'static str,
    /// What the caller should know.
    pub message: String,
}
