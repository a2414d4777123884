//! Create, read, update, patch, status and deletion of one object.

use http::Request;
use serde_json::{Value, json};

use crate::support::{Api, CONFIG_MAPS, WIDGETS, config_map, widget};

#[tokio::test]
async fn create_sets_the_fields_that_the_server_owns() {
    let api = Api::start().await;
    let mut sent = widget("a", json!({}));
    sent["metadata"]["uid"] = "mine".into();
    sent["metadata"]["generation"] = 7.into();
    sent["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    sent["metadata"]["deletionTimestamp"] = "2001-01-01T00:00:00Z".into();
    sent["status"] = json!({"count": 3});
    let answer = api.post(WIDGETS, &sent).await;
    assert_eq!(answer.code, 201);
    let made = answer.ok();
    let meta = &made["metadata"];
    assert_eq!(meta["generation"], 1);
    assert_eq!(meta["namespace"], "default");
    assert_eq!(meta["uid"].as_str().unwrap().len(), 36);
    assert!(meta["creationTimestamp"].as_str().unwrap() > "2020");
    assert!(meta.get("deletionTimestamp").is_none());
    assert!(made.get("status").is_none(), "the status is a subresource");
    assert_eq!(made["spec"]["mode"], "fast", "defaults are filled in");
    assert_eq!(api.get(&format!("{WIDGETS}/a")).await.json(), made);
}

#[tokio::test]
async fn refusals_carry_code_reason_and_message() {
    let api = Api::start().await;
    api.post(CONFIG_MAPS, &config_map("a", json!({})))
        .await
        .ok();
    let named = |name: &str| config_map(name, json!({}));
    let mut versioned = named("b");
    versioned["metadata"]["resourceVersion"] = "1".into();
    let mut foreign = named("b");
    foreign["metadata"]["namespace"] = "other".into();
    let mut labelled = named("b");
    labelled["metadata"]["labels"] = json!({"-x": "y"});
    let key = config_map("b", json!({"a b": "c"}));
    let number = config_map("b", json!({"a": 1}));
    for (body, code, reason, message) in [
        (
            named("a"),
            409,
            "AlreadyExists",
            "configmaps \"a\" already exists",
        ),
        (
            named("A"),
            422,
            "Invalid",
            "ConfigMap \"A\" is invalid: metadata.name: Invalid value: \"A\"",
        ),
        (named("a/b"), 422, "Invalid", "metadata.name"),
        (
            named(""),
            422,
            "Invalid",
            "name or generateName is required",
        ),
        (
            versioned,
            400,
            "BadRequest",
            "resourceVersion should not be set on objects to be created",
        ),
        (
            foreign,
            400,
            "BadRequest",
            "does not match the namespace sent on the request",
        ),
        (labelled, 422, "Invalid", "metadata.labels"),
        (key, 422, "Invalid", "data[a b]"),
        (
            number,
            400,
            "BadRequest",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap",
        ),
        (
            json!({"kind": "Secret", "metadata": {"name": "b"}}),
            400,
            "BadRequest",
            "does not match the expected kind",
        ),
        (
            json!({"apiVersion": "v2", "metadata": {"name": "b"}}),
            400,
            "BadRequest",
            "expected apiVersion (v1)",
        ),
        (
            json!({"metadata": {"name": 1}}),
            400,
            "BadRequest",
            "metadata.name has the wrong type",
        ),
        (json!([]), 400, "BadRequest", "JSON object"),
    ] {
        let text = api.post(CONFIG_MAPS, &body).await.refused(code, reason);
        assert!(text.contains(message), "{text}\nshould hold {message}");
    }
    let missing = "/api/v1/namespaces/missing/configmaps";
    assert_eq!(
        api.post(missing, &named("a"))
            .await
            .refused(404, "NotFound"),
        "namespaces \"missing\" not found"
    );
    let answer = api.get(&format!("{CONFIG_MAPS}/missing")).await;
    assert_eq!(
        answer.json()["details"],
        json!({"name": "missing", "kind": "configmaps"})
    );
    assert_eq!(
        answer.refused(404, "NotFound"),
        "configmaps \"missing\" not found"
    );
    api.get("/apis/none.io/v1/things")
        .await
        .refused(404, "NotFound");
    api.get("/nothing").await.refused(404, "NotFound");
    api.put(CONFIG_MAPS, &named("a"))
        .await
        .refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn media_types_are_negotiated() {
    let api = Api::start().await;
    let post = |media: &str, body: &'static str| {
        api.send(
            Request::post(CONFIG_MAPS).header("content-type", media),
            body,
        )
    };
    post("text/plain", "a: b")
        .await
        .refused(415, "UnsupportedMediaType");
    post("application/json", "{")
        .await
        .refused(400, "BadRequest");
    post("application/vnd.kubernetes.protobuf", "k8s\0")
        .await
        .refused(400, "BadRequest");
    let get = |accept: &str| api.send(Request::get(CONFIG_MAPS).header("accept", accept), "");
    for (accept, code) in [
        ("application/json", 200),
        ("application/vnd.kubernetes.protobuf,application/json", 200),
        ("*/*", 200),
        ("application/vnd.kubernetes.protobuf", 406),
        ("text/html", 406),
        ("application/json;as=Table;g=meta.k8s.io;v=v9", 406),
    ] {
        assert_eq!(get(accept).await.code, code, "{accept}");
    }
    api.post(CONFIG_MAPS, &config_map("a", json!({"x": "y"})))
        .await
        .ok();
    let table = get("application/json;as=Table;g=meta.k8s.io;v=v1")
        .await
        .ok();
    assert_eq!(table["kind"], "Table");
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[..2],
        [json!("a"), json!(1)]
    );
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = get("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
        .await
        .ok();
    assert_eq!(partial["items"][0]["metadata"]["name"], "a");
    assert!(partial["items"][0].get("data").is_none());
    api.patch("apply", &format!("{CONFIG_MAPS}/a"), &json!({}))
        .await
        .refused(415, "UnsupportedMediaType");
    let widget_a = format!("{WIDGETS}/a");
    api.patch("strategic-merge", &widget_a, &json!({}))
        .await
        .refused(415, "UnsupportedMediaType");
}

#[tokio::test]
async fn yaml_is_read_and_written() {
    let api = Api::start().await;
    let post = |body: &'static str| {
        let request = Request::post(CONFIG_MAPS).header("content-type", "application/yaml");
        api.send(request, body)
    };
    let made = post("metadata:\n  name: from-yaml\ndata:\n  a: \"1\"\n")
        .await
        .ok();
    assert_eq!(made["data"], json!({"a": "1"}));
    for wrong in [
        "a: [",
        "a: 1\na: 2",
        "a: &a [x]\nb: &b [*a, *a]\nc: *nothing",
    ] {
        post(wrong).await.refused(400, "BadRequest");
    }
    let get = |path: String| {
        let request = Request::get(path).header("accept", "application/yaml");
        api.send(request, "")
    };
    let answer = get(format!("{CONFIG_MAPS}/from-yaml")).await;
    assert_eq!(answer.headers["content-type"], "application/yaml");
    assert!(answer.text.contains("name: from-yaml\n"), "{}", answer.text);
    let answer = get(CONFIG_MAPS.to_owned()).await;
    assert!(
        answer.text.contains("kind: ConfigMapList\n"),
        "{}",
        answer.text
    );
    get(format!("{CONFIG_MAPS}?watch=1"))
        .await
        .refused(406, "NotAcceptable");
}

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

/// The resources of all groups and versions in discovery: path of the version, and the resource.
async fn discovered(api: &Api) -> Vec<(String, Value)> {
    let mut versions = vec!["/api/v1".to_owned()];
    for group in api.get("/apis").await.ok()["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            versions.push(format!(
                "/apis/{}",
                version["groupVersion"].as_str().unwrap()
            ));
        }
    }
    let mut found = Vec::new();
    for version in versions {
        for resource in api.get(&version).await.ok()["resources"]
            .as_array()
            .unwrap()
        {
            found.push((version.clone(), resource.clone()));
        }
    }
    found
}

#[tokio::test]
async fn discovery_lists_the_verbs_that_are_served() {
    let api = Api::start().await;
    for (version, resource) in discovered(&api).await {
        let (plural, subresource) = {
            let name = resource["name"].as_str().unwrap();
            name.split_once('/').unwrap_or((name, ""))
        };
        let base = match resource["namespaced"] == true {
            true => format!("{version}/namespaces/default/{plural}"),
            false => format!("{version}/{plural}"),
        };
        let item = match subresource {
            "" => format!("{base}/absent"),
            subresource => format!("{base}/absent/{subresource}"),
        };
        for (verb, method, path) in [
            ("create", "POST", format!("{base}?dryRun=All")),
            ("deletecollection", "DELETE", format!("{base}?dryRun=All")),
            ("list", "GET", base.clone()),
            (
                "watch",
                "GET",
                format!("{base}?watch=1&timeoutSeconds=1&resourceVersion=1"),
            ),
            ("get", "GET", item.clone()),
            ("update", "PUT", format!("{item}?dryRun=All")),
            ("patch", "PATCH", format!("{item}?dryRun=All")),
            ("delete", "DELETE", format!("{item}?dryRun=All")),
        ] {
            if !subresource.is_empty() && !["get", "update", "patch", "delete"].contains(&verb) {
                continue;
            }
            let listed = resource["verbs"]
                .as_array()
                .unwrap()
                .iter()
                .any(|v| v == verb);
            if verb == "watch" && listed {
                // Its answer is a stream, which `watches` tests.
                continue;
            }
            let media = match method {
                "PATCH" => "application/merge-patch+json",
                _ => "application/json",
            };
            let body = match method {
                "GET" | "DELETE" => "",
                _ => "{}",
            };
            let request = Request::builder()
                .method(method)
                .uri(&path)
                .header("content-type", media);
            let answer = api.send(request, body).await;
            let is_review = resource["verbs"] == json!(["create"]);
            let refused = answer.code == 405 || is_review && answer.code == 404;
            assert_eq!(
                refused, !listed,
                "{verb} {path}: {} {}",
                answer.code, answer.text
            );
        }
    }
    api.delete("/api/v1/namespaces")
        .await
        .refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn too_large_body_is_refused() {
    let api = Api::start().await;
    let big = config_map("big", json!({"x": "y".repeat(4 << 20)}));
    api.post(CONFIG_MAPS, &big)
        .await
        .refused(413, "RequestEntityTooLarge");
}

#[tokio::test]
async fn generated_names_are_unique_and_start_with_their_base() {
    let api = Api::start().await;
    let mut names = std::collections::HashSet::new();
    for _ in 0..50 {
        let made = api
            .post(CONFIG_MAPS, &json!({"metadata": {"generateName": "gen-"}}))
            .await
            .ok();
        let name = made["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
        assert!(names.insert(name));
    }
}

#[tokio::test]
async fn update_of_a_stale_version_conflicts() {
    let api = Api::start().await;
    let path = format!("{WIDGETS}/a");
    let first = api
        .post(WIDGETS, &widget("a", json!({"size": 1})))
        .await
        .ok();
    let mut second = first.clone();
    second["spec"]["size"] = 2.into();
    let written = api.put(&path, &second).await.ok();
    assert_eq!(written["metadata"]["generation"], 2);
    assert_ne!(
        written["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let message = api.put(&path, &second).await.refused(409, "Conflict");
    assert!(
        message.contains("the object has been modified"),
        "{message}"
    );
    let mut blind = second.clone();
    blind["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    api.put(&path, &blind).await.refused(422, "Invalid");
    let mut other = written.clone();
    other["metadata"]["uid"] = "other".into();
    api.put(&path, &other).await.refused(409, "Conflict");
    let mut renamed = written.clone();
    renamed["metadata"]["name"] = "b".into();
    api.put(&path, &renamed).await.refused(400, "BadRequest");
    api.put(&format!("{WIDGETS}/b"), &widget("b", json!({})))
        .await
        .refused(404, "NotFound");
}

#[tokio::test]
async fn change_without_effect_is_not_written() {
    let api = Api::start().await;
    let path = format!("{WIDGETS}/a");
    let made = api.post(WIDGETS, &widget("a", json!({}))).await.ok();
    let before = api.store.revision();
    assert_eq!(api.put(&path, &made).await.ok(), made);
    assert_eq!(
        api.patch("merge", &path, &json!({"spec": {"mode": "fast"}}))
            .await
            .ok(),
        made
    );
    assert_eq!(api.store.revision(), before);
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec_only() {
    let api = Api::start().await;
    let path = format!("{WIDGETS}/a");
    api.post(WIDGETS, &widget("a", json!({}))).await.ok();
    let status = format!("{path}/status");
    for (path, patch, generation) in [
        (&path, json!({"metadata": {"labels": {"a": "b"}}}), 1),
        (&path, json!({"spec": {"size": 2}}), 2),
        (&status, json!({"status": {"count": 1}}), 2),
        (&status, json!({"spec": {"size": 3}}), 2),
        (&path, json!({"status": {"count": 9}}), 2),
        (&path, json!({"spec": {"size": null}}), 3),
    ] {
        let object = api.patch("merge", path, &patch).await.ok();
        assert_eq!(
            object["metadata"]["generation"], generation,
            "{path} {patch}"
        );
    }
    let object = api.get(&path).await.ok();
    assert_eq!(
        object["status"],
        json!({"count": 1}),
        "only the subresource writes the status"
    );
    assert_eq!(object["metadata"]["labels"], json!({"a": "b"}));
    assert!(
        object["spec"].get("size").is_none(),
        "only the main resource writes the spec"
    );
    let configmap = api
        .post(CONFIG_MAPS, &config_map("a", json!({})))
        .await
        .ok();
    assert!(configmap["metadata"].get("generation").is_none());
}

#[tokio::test]
async fn patches_of_each_type_are_applied() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    api.post(CONFIG_MAPS, &config_map("a", json!({"a": "1", "b": "2"})))
        .await
        .ok();
    for (kind, patch, expected) in [
        (
            "merge",
            json!({"data": {"a": null, "c": "3"}}),
            json!({"b": "2", "c": "3"}),
        ),
        (
            "json",
            json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "remove", "path": "/data/b"}]),
            json!({"c": "3"}),
        ),
        (
            "strategic-merge",
            json!({"data": {"$patch": "replace", "d": "4"}}),
            json!({"d": "4"}),
        ),
    ] {
        assert_eq!(
            api.patch(kind, &path, &patch).await.ok()["data"],
            expected,
            "{kind}"
        );
    }
    let failing_test = json!([{"op": "test", "path": "/data/d", "value": "no"}]);
    api.patch("json", &path, &failing_test)
        .await
        .refused(422, "Invalid");
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"e": "5"}});
    api.patch("merge", &path, &stale)
        .await
        .refused(409, "Conflict");
    api.patch("merge", &path, &json!([]))
        .await
        .refused(400, "BadRequest");
    api.patch("merge", &path, &json!({"metadata": {"name": "b"}}))
        .await
        .refused(400, "BadRequest");
    let uid = api
        .patch("merge", &path, &json!({"metadata": {"uid": null}}))
        .await
        .ok();
    assert!(
        uid["metadata"]["uid"].is_string(),
        "the patch cannot change a field that the server owns"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_patches_are_all_applied() {
    let api = std::sync::Arc::new(Api::start().await);
    api.post(CONFIG_MAPS, &config_map("a", json!({})))
        .await
        .ok();
    let tasks = (0..10).map(|n| {
        let api = std::sync::Arc::clone(&api);
        tokio::spawn(async move {
            let patch = json!({"data": {format!("k{n}"): "v"}});
            api.patch("merge", &format!("{CONFIG_MAPS}/a"), &patch)
                .await
                .ok();
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let object = api.get(&format!("{CONFIG_MAPS}/a")).await.ok();
    assert_eq!(object["data"].as_object().unwrap().len(), 10);
}

#[tokio::test]
async fn dry_run_answers_and_writes_nothing() {
    let api = Api::start().await;
    api.post(CONFIG_MAPS, &config_map("a", json!({"x": "1"})))
        .await
        .ok();
    let before = api.store.revision();
    let made = api
        .post(
            &format!("{CONFIG_MAPS}?dryRun=All"),
            &config_map("b", json!({})),
        )
        .await
        .ok();
    assert_eq!(made["metadata"]["name"], "b");
    let path = format!("{CONFIG_MAPS}/a?dryRun=All");
    let patched = api
        .patch("merge", &path, &json!({"data": {"x": "2"}}))
        .await
        .ok();
    assert_eq!(patched["data"]["x"], "2");
    assert_eq!(api.delete(&path).await.ok()["status"], "Success");
    assert_eq!(api.store.revision(), before);
    let wrong = format!("{CONFIG_MAPS}?dryRun=Some");
    api.post(&wrong, &config_map("b", json!({})))
        .await
        .refused(400, "BadRequest");
    api.post(
        &format!("{CONFIG_MAPS}?dryRun=All"),
        &config_map("a", json!({})),
    )
    .await
    .refused(409, "AlreadyExists");
}

#[tokio::test]
async fn unknown_and_duplicate_fields_are_reported_as_asked() {
    let api = Api::start().await;
    let text = r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a","odd":1},
        "spec":{"ref":{"name":"x"},"size":1,"size":2,"colour":"red"}}"#;
    let post = |validation: &str| {
        let path = format!("{WIDGETS}?dryRun=All&fieldValidation={validation}");
        api.send(
            Request::post(path).header("content-type", "application/json"),
            text,
        )
    };
    let answer = post("Warn").await;
    assert_eq!(
        answer.ok()["spec"],
        json!({"ref": {"name": "x"}, "size": 2, "running": false, "mode": "fast"})
    );
    let all = answer.warnings().join("\n");
    for warning in [
        r#"299 - "duplicate field \"spec.size\"""#,
        r#"299 - "unknown field \"spec.colour\"""#,
        r#"299 - "unknown field \"metadata.odd\"""#,
    ] {
        assert!(all.contains(warning), "{all}");
    }
    assert!(post("Ignore").await.warnings().is_empty());
    let message = post("Strict").await.refused(400, "BadRequest");
    assert!(
        message.contains("strict decoding error: duplicate field \"spec.size\""),
        "{message}"
    );
    post("Odd").await.refused(400, "BadRequest");
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

#[tokio::test]
async fn deletion_checks_its_preconditions() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let made = api
        .post(CONFIG_MAPS, &config_map("a", json!({})))
        .await
        .ok();
    for condition in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        api.delete_with(&path, &json!({"preconditions": condition}))
            .await
            .refused(409, "Conflict");
    }
    let good = json!({"preconditions": {
        "uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"],
    }});
    let done = api.delete_with(&path, &good).await.ok();
    assert_eq!(
        (&done["status"], &done["details"]["name"]),
        (&json!("Success"), &json!("a"))
    );
    api.delete(&path).await.refused(404, "NotFound");
    api.delete_with(&path, &json!({"propagationPolicy": "Odd"}))
        .await
        .refused(400, "BadRequest");
}

#[tokio::test]
async fn reviews_and_discovery_are_answered() {
    let api = Api::start().await;
    let who = api
        .post(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            &json!({}),
        )
        .await
        .ok();
    assert_eq!(who["status"]["userInfo"]["username"], "test");
    let found = |value: &Value, list: &str, key: &str, name: &str| {
        value[list]
            .as_array()
            .unwrap()
            .iter()
            .any(|v| v[key] == name)
    };
    assert!(found(
        &api.get("/apis").await.ok(),
        "groups",
        "name",
        "example.com"
    ));
    assert!(found(
        &api.get("/apis/example.com/v1").await.ok(),
        "resources",
        "name",
        "widgets/status"
    ));
    assert!(found(
        &api.get("/api/v1").await.ok(),
        "resources",
        "name",
        "configmaps"
    ));
    assert_eq!(
        api.get("/apis/example.com").await.ok()["preferredVersion"]["version"],
        "v1"
    );
    api.get("/apis/example.com/v9")
        .await
        .refused(404, "NotFound");
    for version in ["v2", "v2beta1"] {
        let accept =
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let answer = api
            .send(Request::get("/apis").header("accept", &accept), "")
            .await;
        assert_eq!(answer.headers["content-type"], accept.as_str());
        assert_eq!(
            answer.ok()["apiVersion"],
            format!("apidiscovery.k8s.io/{version}")
        );
    }
    let document = api.get("/openapi/v3/apis/example.com/v1").await.ok();
    assert!(
        document["components"]["schemas"]["com.example.v1.Widget"]["properties"]["spec"]
            .is_object()
    );
    assert!(api.get("/openapi/v2").await.ok()["definitions"]["com.example.v1.Widget"].is_object());
}
