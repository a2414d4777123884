//! The event about an owner reference that cannot be resolved (Kubernetes: `OwnerRefInvalidNamespace`).

use std::sync::Arc;

use serde_json::json;

use super::owners::Owner;
use crate::{
    registry::{backend::Backend, context::WriteContext, create, target::Target},
    status::ApiError,
};

/// The namespace of events about cluster-scoped objects.
const EVENT_NAMESPACE: &str = "default";

/// Records that a cluster-scoped object has an owner of a namespaced kind.
pub(super) async fn record(
    backend: &Arc<Backend>,
    target: &Target,
    uid: &str,
    owner: &Owner,
) -> Result<(), ApiError> {
    let Some(kind) = backend.kinds.find("", "v1", "events") else {
        return Ok(());
    };
    let Owner {
        api_version,
        kind: owner_kind,
        name,
        uid: owner_uid,
        ..
    } = owner;
    let message = format!(
        "ownerRef [{api_version}/{owner_kind}, namespace: , name: {name}, uid: {owner_uid}] does not exist in \
         namespace \"\": a cluster-scoped object cannot have an owner of a namespaced kind; this object is never \
         garbage-collected"
    );
    let now = backend.now();
    let event = json!({
        "metadata": {"generateName": format!("{}.", target.name), "namespace": EVENT_NAMESPACE},
        "involvedObject": {
            "apiVersion": target.kind.api_version(), "kind": target.kind.name, "name": target.name, "uid": uid,
        },
        "type": "Warning", "reason": "OwnerRefInvalidNamespace", "message": message,
        "source": {"component": "garbage-collector-controller"}, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now,
    });
    let events = Target {
        kind,
        namespace: Some(EVENT_NAMESPACE.into()),
        name: String::new(),
        subresource: None,
    };
    let mut context = WriteContext::internal(backend);
    create::create(&mut context, events, event, Vec::new())
        .await
        .map(|_| ())
}
