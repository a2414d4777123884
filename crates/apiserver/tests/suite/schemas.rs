//! Custom resources: what their schema admits, fills in and drops; what becomes of definitions.

use serde_json::{Value, json};

use crate::support::{Api, WIDGETS, widget, widgets};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[tokio::test]
async fn specs_are_admitted_filled_in_and_pruned() {
    let api = Api::start().await;
    for (spec, expected) in [
        (json!({}), json!({"mode": "fast", "running": false})),
        (
            json!({"mode": "slow", "running": true}),
            json!({"mode": "slow", "running": true}),
        ),
        (
            json!({"unknown": 1, "free": {"any": [1]}}),
            json!({"mode": "fast", "running": false, "free": {"any": [1]}}),
        ),
        (
            json!({"nested": {}}),
            json!({"mode": "fast", "running": false, "nested": {"depth": 3}}),
        ),
        (
            json!({"running": null, "maybe": null}),
            json!({"mode": "fast", "running": false, "maybe": null}),
        ),
        (
            json!({"port": 80}),
            json!({"mode": "fast", "running": false, "port": 80}),
        ),
        (
            json!({"port": "http"}),
            json!({"mode": "fast", "running": false, "port": "http"}),
        ),
        (
            json!({"params": {"a": "b"}}),
            json!({"mode": "fast", "running": false, "params": {"a": "b"}}),
        ),
        (
            json!({"items": [{"name": "a", "odd": 1}]}),
            json!({"mode": "fast", "running": false, "items": [{"name": "a"}]}),
        ),
    ] {
        let made = api
            .post(&format!("{WIDGETS}?dryRun=All"), &widget("a", spec.clone()))
            .await
            .ok();
        let mut made = made["spec"].clone();
        made.as_object_mut().unwrap().remove("ref");
        assert_eq!(made, expected, "{spec}");
    }
}

#[tokio::test]
async fn what_the_schema_forbids_is_named() {
    let api = Api::start().await;
    for (spec, field, reason, message) in [
        (
            json!({"ref": null}),
            "spec.ref",
            "FieldValueRequired",
            "Required value",
        ),
        (
            json!({"ref": {"name": ""}}),
            "spec.ref.name",
            "FieldValueInvalid",
            "at least 1 chars long",
        ),
        (
            json!({"running": "yes"}),
            "spec.running",
            "FieldValueTypeInvalid",
            "must be of type boolean: \"string\"",
        ),
        (
            json!({"size": 0}),
            "spec.size",
            "FieldValueInvalid",
            "greater than or equal to 1",
        ),
        (
            json!({"size": 11}),
            "spec.size",
            "FieldValueInvalid",
            "less than or equal to 10",
        ),
        (
            json!({"size": 1.5}),
            "spec.size",
            "FieldValueTypeInvalid",
            "must be of type integer",
        ),
        (
            json!({"mode": "odd"}),
            "spec.mode",
            "FieldValueNotSupported",
            "supported values: \"fast\", \"slow\"",
        ),
        (
            json!({"pattern": "b"}),
            "spec.pattern",
            "FieldValueInvalid",
            "should match '^a+$'",
        ),
        (
            json!({"params": {"a": 1}}),
            "spec.params.a",
            "FieldValueTypeInvalid",
            "must be of type string",
        ),
        (
            json!({"port": true}),
            "spec.port",
            "FieldValueTypeInvalid",
            "integer or string",
        ),
        (
            json!({"when": "today"}),
            "spec.when",
            "FieldValueInvalid",
            "must be of type date-time",
        ),
        (
            json!({"items": [{"value": "a"}]}),
            "spec.items[0].name",
            "FieldValueRequired",
            "Required value",
        ),
        (
            json!({"items": [{"name": "a"}, {"name": "a"}]}),
            "spec.items[1]",
            "FieldValueDuplicate",
            "Duplicate value",
        ),
        (
            json!({"items": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]}),
            "spec.items",
            "FieldValueInvalid",
            "at most 3 items",
        ),
        (
            json!({"range": {"low": 2, "high": 1}}),
            "spec.range",
            "FieldValueInvalid",
            "low must not exceed high",
        ),
    ] {
        let answer = api.post(WIDGETS, &widget("a", spec.clone())).await;
        let text = answer.refused(422, "Invalid");
        assert!(
            text.starts_with("Widget.example.com \"a\" is invalid: "),
            "{text}"
        );
        let causes = answer.json()["details"]["causes"].clone();
        let found = causes.as_array().unwrap().iter().any(|c| {
            c["field"] == field
                && c["reason"] == reason
                && c["message"].as_str().unwrap().contains(message)
        });
        assert!(found, "{spec}: {causes}");
    }
    let many = api
        .post(WIDGETS, &widget("a", json!({"size": 0, "mode": "odd"})))
        .await;
    assert_eq!(
        many.json()["details"]["causes"].as_array().unwrap().len(),
        2
    );
}

#[tokio::test]
async fn transition_rules_compare_with_the_old_object() {
    let api = Api::start().await;
    let path = format!("{WIDGETS}/a");
    api.post(WIDGETS, &widget("a", json!({}))).await.ok();
    let text = api
        .patch("merge", &path, &json!({"spec": {"ref": {"name": "y"}}}))
        .await
        .refused(422, "Invalid");
    assert!(
        text.contains("spec.ref: Invalid value: {\"name\":\"y\"}: ref is immutable"),
        "{text}"
    );
    api.patch("merge", &path, &json!({"spec": {"size": 2}}))
        .await
        .ok();
    let wrong = json!({"status": {"count": "many"}});
    api.patch("merge", &format!("{path}/status"), &wrong)
        .await
        .refused(422, "Invalid");
}

/// The widgets' definition, changed at a JSON pointer.
fn changed(pointer: &str, value: Value) -> Value {
    let mut definition = widgets();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    definition.pointer_mut(parent).unwrap()[key] = value;
    definition
}

#[tokio::test]
async fn definitions_are_checked() {
    let api = Api::with(|config| config.crds.clear()).await;
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    for (definition, message) in [
        (
            changed("/metadata/name", json!("gadgets.example.com")),
            "must be spec.names.plural",
        ),
        (
            changed("/spec/scope", json!("Galaxy")),
            "spec.scope: Unsupported value",
        ),
        (
            changed("/spec/versions/0/storage", json!(false)),
            "exactly one version marked as storage version",
        ),
        (
            changed("/spec/versions/0/schema", json!({})),
            "schemas are required",
        ),
        (
            changed(&format!("{schema}/properties/spec/type"), json!("thing")),
            "unknown type \"thing\"",
        ),
        (
            changed(&format!("{schema}/properties/odd"), json!({})),
            "must not be empty for specified object fields",
        ),
        (
            changed(
                &format!("{schema}/properties/odd"),
                json!({"type": "string", "pattern": "("}),
            ),
            "must be a valid regular expression",
        ),
        (
            changed(
                &format!("{schema}/x-kubernetes-validations"),
                json!([{"rule": "self ==", "message": "broken"}]),
            ),
            "compilation failed",
        ),
    ] {
        let text = api
            .post(DEFINITIONS, &definition)
            .await
            .refused(422, "Invalid");
        assert!(text.contains(message), "{text}\nshould hold {message}");
    }
}

#[tokio::test]
async fn definitions_come_change_and_go() {
    let api = Api::with(|config| config.crds.clear()).await;
    api.get(WIDGETS).await.refused(404, "NotFound");
    let made = api.post(DEFINITIONS, &widgets()).await.ok();
    let conditions = made["status"]["conditions"].as_array().unwrap();
    let types: Vec<_> = conditions
        .iter()
        .map(|c| (c["type"].as_str().unwrap(), c["status"].as_str().unwrap()))
        .collect();
    assert_eq!(types, [("NamesAccepted", "True"), ("Established", "True")]);
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
    api.post(WIDGETS, &widget("a", json!({"size": 10})))
        .await
        .ok();

    let path = format!("{DEFINITIONS}/widgets.example.com");
    let grown = json!([{"op": "replace", "value": 20,
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/maximum"}]);
    api.patch("json", &path, &grown).await.ok();
    api.patch(
        "merge",
        &format!("{WIDGETS}/a"),
        &json!({"spec": {"size": 15}}),
    )
    .await
    .ok();
    let text = api
        .patch("merge", &path, &json!({"spec": {"scope": "Cluster"}}))
        .await
        .refused(422, "Invalid");
    assert!(text.contains("spec.scope"), "{text}");

    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    api.patch("merge", &format!("{WIDGETS}/a"), &hold)
        .await
        .ok();
    let pending = api.delete(&path).await.ok();
    assert!(pending["metadata"]["deletionTimestamp"].is_string());
    api.post(WIDGETS, &widget("late", json!({})))
        .await
        .refused(405, "MethodNotAllowed");
    let release = json!({"metadata": {"finalizers": null}});
    api.patch("merge", &format!("{WIDGETS}/a"), &release)
        .await
        .ok();
    api.wait_gone(&path).await;
    api.get(WIDGETS).await.refused(404, "NotFound");
    let left = api
        .store
        .list("/registry/example.com/", None, 0, None)
        .unwrap();
    assert!(
        left.entries.is_empty(),
        "the objects go with their definition"
    );
}

#[tokio::test]
async fn definitions_given_at_start_are_brought_up_to_date_and_survive_a_restart() {
    let api = Api::start().await;
    api.post(WIDGETS, &widget("a", json!({}))).await.ok();
    api.server.shutdown().await;
    let revision = api.store.revision();
    let same = Api::over(std::sync::Arc::clone(&api.store), |_| {}).await;
    assert_eq!(
        same.store.revision(),
        revision,
        "nothing has changed, so nothing is written"
    );
    same.server.shutdown().await;
    let maximum = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size/maximum";
    let grown = Api::over(std::sync::Arc::clone(&api.store), |config| {
        config.crds = vec![changed(maximum, json!(20))];
    })
    .await;
    grown
        .patch(
            "merge",
            &format!("{WIDGETS}/a"),
            &json!({"spec": {"size": 15}}),
        )
        .await
        .ok();
    grown.server.shutdown().await;
    let without = Api::over(std::sync::Arc::clone(&api.store), |config| {
        config.crds.clear();
    })
    .await;
    assert_eq!(
        without.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["size"],
        15
    );
}

#[tokio::test]
async fn other_versions_share_the_stored_object() {
    let mut definition = widgets();
    let mut next = definition["spec"]["versions"][0].clone();
    next["name"] = "v2".into();
    next["storage"] = false.into();
    definition["spec"]["versions"]
        .as_array_mut()
        .unwrap()
        .push(next);
    let api = Api::with(|config| config.crds = vec![definition]).await;
    let mut object = widget("a", json!({}));
    object["apiVersion"] = "example.com/v2".into();
    let v2 = WIDGETS.replace("/v1/", "/v2/");
    assert_eq!(
        api.post(&v2, &object).await.ok()["apiVersion"],
        "example.com/v2"
    );
    assert_eq!(
        api.get(&format!("{WIDGETS}/a")).await.ok()["apiVersion"],
        "example.com/v1"
    );
    assert_eq!(
        api.get(&v2).await.ok()["items"][0]["apiVersion"],
        "example.com/v2"
    );
    let patched = api
        .patch("merge", &format!("{v2}/a"), &json!({"spec": {"size": 2}}))
        .await
        .ok();
    assert_eq!(patched["apiVersion"], "example.com/v2");
    let mut watch = api.watch(&format!("{v2}?watch=1")).await;
    assert_eq!(
        watch.next().await.unwrap()["object"]["apiVersion"],
        "example.com/v2"
    );
    let preferred = api.get("/apis/example.com").await.ok();
    assert_eq!(preferred["preferredVersion"]["version"], "v2");
}
