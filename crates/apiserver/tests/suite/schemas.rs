//! Custom resources: validation, defaults and pruning by their schema; the life of definitions.

use serde_json::{Value, json};

use crate::support::{Api, WIDGETS, widget, widgets};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

#[tokio::test]
async fn valid_specs_are_defaulted_and_pruned() {
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
async fn schema_violations_name_field_and_cause() {
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
async fn transition_rule_compares_with_the_old_object() {
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
async fn invalid_definitions_are_refused() {
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
async fn definition_is_served_changed_and_deleted_with_its_objects() {
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
        "the objects are deleted with their definition"
    );
}

/// A definition of one version with a schema that accepts every object.
fn definition(group: &str, plural: &str, kind: &str) -> Value {
    json!({
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
}

fn condition(definition: &Value, kind: &str) -> (String, String) {
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|c| c["type"] == kind).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

#[tokio::test]
async fn definition_named_like_a_built_in_kind_touches_none_of_its_objects() {
    let api = Api::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "precious"}});
    api.post(leases, &lease).await.ok();
    for (group, plural, kind) in [
        ("coordination.k8s.io", "leases", "Lease"),
        ("events.k8s.io", "events", "Event"),
        (
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "CustomResourceDefinition",
        ),
    ] {
        let mut shadow = definition(group, plural, kind);
        let text = api.post(DEFINITIONS, &shadow).await.refused(422, "Invalid");
        assert!(
            text.contains("protected groups must have approval annotation"),
            "{text}"
        );
        shadow["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "because"});
        api.post(DEFINITIONS, &shadow).await.refused(422, "Invalid");
        shadow["metadata"]["annotations"] =
            json!({"api-approved.kubernetes.io": "unapproved, a test"});
        shadow["spec"]["versions"][0]["name"] = "v9".into();
        let made = api.post(DEFINITIONS, &shadow).await.ok();
        assert_eq!(
            condition(&made, "NamesAccepted"),
            ("False".into(), "PluralConflict".into())
        );
        assert_eq!(
            condition(&made, "Established"),
            ("False".into(), "NotAccepted".into())
        );
        api.get(&format!("/apis/{group}/v9/{plural}"))
            .await
            .refused(404, "NotFound");
        let path = format!("{DEFINITIONS}/{plural}.{group}");
        api.delete(&path).await.ok();
        api.wait_gone(&path).await;
    }
    api.get(&format!("{leases}/precious")).await.ok();
    api.get(&format!("{DEFINITIONS}/widgets.example.com"))
        .await
        .ok();
    api.get(WIDGETS).await.ok();
}

#[tokio::test]
async fn definition_with_taken_names_is_served_once_they_are_free() {
    let api = Api::start().await;
    let mut second = definition("example.com", "gadgets", "Widget");
    second["spec"]["names"]["shortNames"] = json!(["wd", "gd"]);
    let made = api.post(DEFINITIONS, &second).await.ok();
    assert_eq!(condition(&made, "NamesAccepted").0, "False");
    assert_eq!(made["status"]["acceptedNames"]["shortNames"], json!(["gd"]));
    let gadgets = "/apis/example.com/v1/namespaces/default/gadgets";
    api.get(gadgets).await.refused(404, "NotFound");
    api.delete(&format!("{DEFINITIONS}/widgets.example.com"))
        .await
        .ok();
    api.wait(gadgets, |answer| answer.code == 200).await;
    let accepted = api
        .get(&format!("{DEFINITIONS}/gadgets.example.com"))
        .await
        .ok();
    assert_eq!(condition(&accepted, "Established").0, "True");
}

#[tokio::test]
async fn version_with_stored_objects_cannot_be_removed() {
    let api = Api::with(|config| config.crds.clear()).await;
    let mut both = definition("example.com", "gadgets", "Gadget");
    let mut next = both["spec"]["versions"][0].clone();
    next["name"] = "v2".into();
    next["storage"] = false.into();
    both["spec"]["versions"].as_array_mut().unwrap().push(next);
    api.post(DEFINITIONS, &both).await.ok();
    let path = format!("{DEFINITIONS}/gadgets.example.com");
    let switch = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true},
    ]);
    let switched = api.patch("json", &path, &switch).await.ok();
    assert_eq!(switched["status"]["storedVersions"], json!(["v1", "v2"]));
    let remove = json!([{"op": "remove", "path": "/spec/versions/0"}]);
    let text = api
        .patch("json", &path, &remove)
        .await
        .refused(422, "Invalid");
    assert!(
        text.contains(
            "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions"
        ),
        "{text}"
    );
    let migrated = json!({"status": {"storedVersions": ["v2"]}});
    api.patch("merge", &format!("{path}/status"), &migrated)
        .await
        .ok();
    api.patch("json", &path, &remove).await.ok();
}

/// The widgets' definition in the form in which the store keeps it.
fn stored(definition: &Value) -> store::Value {
    let text = definition.to_string();
    let text = text.replacen("\"metadata\":{", "\"metadata\":{\"resourceVersion\":\"", 1);
    let at = text.find("\"resourceVersion\":\"").unwrap() + "\"resourceVersion\":\"".len();
    store::Value {
        before: text[..at].to_owned().into(),
        after: Some(format!("\",{}", &text[at..]).into()),
    }
}

#[tokio::test]
async fn definition_of_another_writer_of_the_store_is_served_at_once() {
    let api = Api::with(|config| config.crds.clear()).await;
    api.get(WIDGETS).await.refused(404, "NotFound");
    let mut definition = widgets();
    definition["metadata"]["uid"] = "u".into();
    let key = "/registry/apiextensions.k8s.io/customresourcedefinitions/widgets.example.com";
    let written = api
        .store
        .write(store::Write::Put {
            key: key.into(),
            expect: store::Expect::Absent,
            value: stored(&definition),
            ttl: None,
            urgent: false,
        })
        .await
        .unwrap();
    api.post(WIDGETS, &widget("a", json!({}))).await.ok();
    let removed = store::Write::Delete {
        key: key.into(),
        expect: store::Expect::At(written.revision),
        last: stored(&definition),
    };
    api.store.write(removed).await.unwrap();
    api.get(WIDGETS).await.refused(404, "NotFound");
}

#[tokio::test]
async fn definitions_given_at_start_are_updated_and_survive_a_restart() {
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
async fn versions_of_a_kind_share_the_stored_object() {
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
