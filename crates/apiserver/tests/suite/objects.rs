//! Create, read, update, patch, status and deletion of one object.

use http::Request;
use serde_json::json;

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
