//! Admission webhooks: code that changes or refuses a write before the API server stores it.
//!
//! A webhook takes an admission request and returns an admission response as Kubernetes defines them, so the same code
//! is called in process by the daemon's API server, or over HTTPS by any other.

use kube::Resource;
use kube::core::DynamicObject;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, Operation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decoded::Decoded;

/// Whether a webhook may change the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It may change the object; called before the schema is checked.
    Mutating,
    /// It sees the object as it will be stored; called last.
    Validating,
}

/// The writes that a webhook is called for.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The plural name of the resource, such as `configmaps`. Subresources are not included.
    pub resource: &'static str,
    /// The operations.
    pub operations: Vec<Operation>,
    /// Called only if the object, before or after the write, has this label with this value. Kubernetes' `objectSelector`.
    pub label: Option<(&'static str, &'static str)>,
}

/// An admission webhook.
#[async_trait::async_trait]
pub trait Webhook: Send + Sync + 'static {
    /// Its name, as Kubernetes requires it: `NAME.GROUP`.
    fn name(&self) -> &'static str;

    /// When it is called.
    fn stage(&self) -> Stage;

    /// What it is called for.
    fn rule(&self) -> Rule;

    /// Accepts, changes or refuses the write. Must have no side effect, because the write can still be refused by others.
    async fn review(&self, request: AdmissionRequest<DynamicObject>) -> AdmissionResponse;
}

/// The request with its objects decoded as `K`. Fields that do not fit their type are left out (see [`Decoded`]), so that
/// a stored object with such a field can still be repaired and deleted.
///
/// # Errors
/// The response for an object that cannot be decoded.
pub fn typed<K: Resource + DeserializeOwned + Serialize>(
    request: &AdmissionRequest<DynamicObject>,
) -> Result<AdmissionRequest<K>, Box<AdmissionResponse>> {
    decode(request).map_err(|error| {
        let mut response =
            AdmissionResponse::invalid(format!("the object cannot be read: {error}"));
        response.uid.clone_from(&request.uid);
        Box::new(response)
    })
}

fn decode<K: Resource + DeserializeOwned + Serialize>(
    request: &AdmissionRequest<DynamicObject>,
) -> Result<AdmissionRequest<K>, serde_json::Error> {
    let mut value = serde_json::to_value(request)?;
    for field in ["object", "oldObject"] {
        let object = value[field].take();
        if object.is_null() {
            continue;
        }
        let decoded: Decoded<K> = serde_json::from_value(object)?;
        let problems = decoded.problem_text();
        value[field] = match (decoded.into_object(), problems) {
            (Some(object), _) => serde_json::to_value(object)?,
            (None, Some(problems)) if field == "object" => {
                return Err(serde::de::Error::custom(problems));
            }
            // Nothing is known of the old object; the new one replaces it.
            (None, _) => serde_json::Value::Null,
        };
    }
    serde_json::from_value(value)
}
