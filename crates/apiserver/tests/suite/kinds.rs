//! What is special about the built-in kinds.

use serde_json::json;

use crate::support::{Api, CONFIG_MAPS, config_map};

#[tokio::test]
async fn put_creates_a_lease_that_does_not_exist() {
    let api = Api::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let path = format!("{leases}/l");
    let lease =
        |holder: &str| json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": holder}});
    let dry = api.put(&format!("{path}?dryRun=All"), &lease("a")).await;
    assert_eq!(dry.code, 201);
    api.get(&path).await.refused(404, "NotFound");
    let made = api.put(&path, &lease("a")).await;
    assert_eq!(
        (made.code, &made.ok()["spec"]["holderIdentity"]),
        (201, &json!("a"))
    );
    let mut next = made.ok();
    next["spec"]["holderIdentity"] = "b".into();
    let changed = api.put(&path, &next).await;
    assert_eq!(
        (changed.code, &changed.ok()["spec"]["holderIdentity"]),
        (200, &json!("b"))
    );
    // A lease, unlike a ConfigMap, is not replaced without a version.
    api.put(&path, &lease("c")).await.refused(422, "Invalid");
    let missing = leases.replace("default", "missing");
    api.put(&format!("{missing}/l"), &lease("a"))
        .await
        .refused(404, "NotFound");
    api.put(
        &format!("{CONFIG_MAPS}/none"),
        &config_map("none", json!({})),
    )
    .await
    .refused(404, "NotFound");
}

#[tokio::test]
async fn null_in_a_typed_kind_means_absent() {
    let api = Api::start().await;
    let in_default = |group: &str, plural: &str| format!("{group}/namespaces/default/{plural}");
    let core = |plural| in_default("/api/v1", plural);
    let about = json!({"namespace": "default"});
    let leases = in_default("/apis/coordination.k8s.io/v1", "leases");
    let events = in_default("/apis/events.k8s.io/v1", "events");
    for (path, body, pointer, expected) in [
        (
            core("configmaps"),
            json!({"metadata": {"name": "a"}, "data": null}),
            "/data",
            json!(null),
        ),
        (
            core("configmaps"),
            json!({"metadata": {"name": "b", "deletionTimestamp": null, "generateName": null},
                "data": {"a": null, "b": "c"}, "immutable": null}),
            "/data",
            json!({"a": "", "b": "c"}),
        ),
        (
            core("secrets"),
            json!({"metadata": {"name": "c"}, "type": null, "data": null, "stringData": {"a": "b"}}),
            "/data",
            json!({"a": "Yg=="}),
        ),
        (
            "/api/v1/namespaces".into(),
            json!({"metadata": {"name": "d"}, "spec": null, "status": null}),
            "/status/phase",
            json!("Active"),
        ),
        (
            core("serviceaccounts"),
            json!({"metadata": {"name": "e"}, "secrets": null, "imagePullSecrets": null}),
            "/secrets",
            json!(null),
        ),
        (
            leases,
            json!({"metadata": {"name": "f"}, "spec": {"holderIdentity": null, "leaseDurationSeconds": null,
                "acquireTime": null, "renewTime": null, "leaseTransitions": null}}),
            "/spec",
            json!({}),
        ),
        (
            core("events"),
            json!({"metadata": {"name": "g"}, "involvedObject": about, "firstTimestamp": null, "lastTimestamp": null,
                "eventTime": null, "series": null, "related": null, "count": null}),
            "/count",
            json!(null),
        ),
        (
            events,
            json!({"metadata": {"name": "h", "creationTimestamp": null}, "eventTime": "2026-11-29T21:37:24.984348Z",
                "reportingController": "c", "reportingInstance": "i", "action": "A", "reason": "R",
                "regarding": about, "type": "Normal", "deprecatedSource": {}, "deprecatedFirstTimestamp": null,
                "deprecatedLastTimestamp": null}),
            "/reason",
            json!("R"),
        ),
    ] {
        let made = api.post(&path, &body).await.ok();
        let found = made.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{body}");
        assert!(!made.to_string().contains("null"), "{made}");
    }
}

#[tokio::test]
async fn wrong_types_are_refused_without_a_panic() {
    let api = Api::start().await;
    let core = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for (path, body) in [
        (
            core("secrets"),
            json!({"metadata": {"name": "a"}, "data": "x", "stringData": {"b": "c"}}),
        ),
        (
            core("secrets"),
            json!({"metadata": {"name": "a"}, "stringData": "x"}),
        ),
        (
            core("secrets"),
            json!({"metadata": {"name": "a"}, "stringData": {"a": 1}}),
        ),
        (
            core("configmaps"),
            json!({"metadata": {"name": "a"}, "data": [1]}),
        ),
        (
            core("configmaps"),
            json!({"metadata": {"name": "a", "labels": "x"}}),
        ),
        (
            "/api/v1/namespaces".into(),
            json!({"metadata": {"name": "a", "labels": []}, "spec": 1}),
        ),
        (
            "/api/v1/namespaces".into(),
            json!({"metadata": {"name": "a", "labels": "x"}}),
        ),
        ("/api/v1/namespaces".into(), json!("x")),
        (
            definitions.into(),
            json!({"metadata": {"name": "a.b"}, "spec": "x"}),
        ),
        (
            definitions.into(),
            json!({"metadata": {"name": "a.b"}, "spec": {"names": []}}),
        ),
        (
            definitions.into(),
            json!({"metadata": {"name": "a.b"}, "spec": {"names": {"kind": 1}, "versions": {}}}),
        ),
        (
            definitions.into(),
            json!({"metadata": {"name": "a.b"}, "spec": [], "status": "x"}),
        ),
    ] {
        let answer = api.post(&path, &body).await;
        assert!(
            (400..500).contains(&answer.code),
            "{path} {body}: {}",
            answer.text
        );
    }
    let spec = json!({"metadata": {"name": "n"}, "spec": "x"});
    let answer = api.post("/api/v1/namespaces", &spec).await;
    assert!(answer.code < 500, "{}", answer.text);
}

#[tokio::test]
async fn secret_stores_text_as_data_and_immutable_cannot_be_undone() {
    let api = Api::start().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let made = api
        .post(
            secrets,
            &json!({"metadata": {"name": "s"}, "stringData": {"p": "secret"}, "immutable": true}),
        )
        .await
        .ok();
    assert_eq!(
        (&made["data"], &made["type"]),
        (&json!({"p": "c2VjcmV0"}), &json!("Opaque"))
    );
    assert!(made.get("stringData").is_none());
    let path = format!("{secrets}/s");
    for patch in [
        json!({"data": {"p": "eA=="}}),
        json!({"immutable": false}),
        json!({"type": "other"}),
    ] {
        api.patch("merge", &path, &patch)
            .await
            .refused(422, "Invalid");
    }
    api.patch("merge", &path, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .ok();
    api.post(
        secrets,
        &json!({"metadata": {"name": "t"}, "data": {"p": "not base64!"}}),
    )
    .await
    .refused(422, "Invalid");
}
