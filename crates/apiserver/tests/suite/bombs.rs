//! A custom kind with a schema that a test chooses, for requests that are meant to do harm.

use serde_json::{Value, json};

use crate::support::Api;

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const BOMBS: &str = "/apis/x.io/v1/bombs";

/// A cluster-scoped definition with this schema.
pub(crate) fn definition(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "bombs.x.io"},
        "spec": {
            "group": "x.io", "scope": "Cluster",
            "names": {"plural": "bombs", "kind": "Bomb"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

/// A definition whose `spec` has this schema.
pub(crate) fn with_spec(schema: Value) -> Value {
    definition(json!({"type": "object", "properties": {"spec": schema}}))
}

pub(crate) fn free() -> Value {
    with_spec(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}))
}

pub(crate) fn bomb(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "x.io/v1", "kind": "Bomb", "metadata": {"name": name}, "spec": spec})
}

/// A server with one definition.
pub(crate) async fn serving(definition: &Value) -> Api {
    let api = Api::with(|config| config.crds.clear()).await;
    api.post(DEFINITIONS, definition).await.ok();
    api
}

/// Sends other requests until `work` is done. Returns its result and how many of them were answered meanwhile.
pub(crate) async fn beside<T: Send + 'static>(
    api: &Api,
    work: impl Future<Output = T> + Send + 'static,
) -> (T, usize) {
    let work = tokio::spawn(work);
    let mut answered = 0;
    while !work.is_finished() {
        api.get("/api/v1/namespaces/default").await.ok();
        answered += 1;
        tokio::task::yield_now().await;
    }
    (work.await.unwrap(), answered)
}
