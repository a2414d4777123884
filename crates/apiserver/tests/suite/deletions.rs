//! Deletion: finalizers, owners, namespaces.

use serde_json::{Value, json};

use crate::support::{Api, CONFIG_MAPS, WIDGETS, config_map, widget};

fn owned(name: &str, owners: &[&Value], block: bool) -> Value {
    let mut object = config_map(name, json!({}));
    let owners = owners.iter().map(|owner| {
        json!({
            "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block,
        })
    });
    object["metadata"]["ownerReferences"] = owners.collect();
    object
}

#[tokio::test]
async fn object_with_finalizers_stays_until_they_are_removed() {
    let api = Api::start().await;
    let path = format!("{WIDGETS}/a");
    let mut object = widget("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/one", "example.com/two"]);
    api.post(WIDGETS, &object).await.ok();
    let pending = api.delete(&path).await.ok();
    assert_eq!(pending["kind"], "Widget");
    assert!(pending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(pending["metadata"]["generation"], 2);
    assert_eq!(
        api.delete(&path).await.ok(),
        pending,
        "the second deletion changes nothing"
    );
    let add = json!({"metadata": {"finalizers": ["example.com/one", "example.com/three"]}});
    api.patch("merge", &path, &add)
        .await
        .refused(422, "Invalid");
    let mut watch = api
        .watch(&format!(
            "{WIDGETS}?watch=1&resourceVersion={}",
            api.store.revision()
        ))
        .await;
    api.patch(
        "merge",
        &path,
        &json!({"metadata": {"finalizers": ["example.com/two"]}}),
    )
    .await
    .ok();
    assert_eq!(watch.next_change().await, "MODIFIED a");
    api.patch("merge", &path, &json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
    assert_eq!(watch.next_change().await, "DELETED a");
    api.get(&path).await.refused(404, "NotFound");
    object["metadata"]["finalizers"] = json!(["unqualified"]);
    api.post(WIDGETS, &object).await.refused(422, "Invalid");
}

#[tokio::test]
async fn dependent_is_deleted_with_its_last_owner() {
    let api = Api::start().await;
    let first = api.post(WIDGETS, &widget("first", json!({}))).await.ok();
    let second = api.post(WIDGETS, &widget("second", json!({}))).await.ok();
    let child = api
        .post(CONFIG_MAPS, &owned("child", &[&first, &second], false))
        .await
        .ok();
    api.post(CONFIG_MAPS, &owned("grandchild", &[&child], false))
        .await
        .ok();
    api.delete(&format!("{WIDGETS}/first")).await.ok();
    let path = format!("{CONFIG_MAPS}/child");
    let one_left = |owners: &Value| owners.as_array().map_or(0, Vec::len) == 1;
    let answer = api
        .wait(&path, |a| {
            one_left(&a.json()["metadata"]["ownerReferences"])
        })
        .await;
    assert_eq!(
        answer.json()["metadata"]["ownerReferences"][0]["name"],
        "second"
    );
    api.delete(&format!("{WIDGETS}/second")).await.ok();
    api.wait_gone(&path).await;
    api.wait_gone(&format!("{CONFIG_MAPS}/grandchild")).await;
}

#[tokio::test]
async fn dependent_without_owner_is_deleted_even_after_a_restart() {
    let api = Api::start().await;
    let owner = api.post(WIDGETS, &widget("owner", json!({}))).await.ok();
    let mut ghost = owner.clone();
    ghost["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    api.post(CONFIG_MAPS, &owned("orphan", &[&ghost], false))
        .await
        .ok();
    api.wait_gone(&format!("{CONFIG_MAPS}/orphan")).await;
    api.post(CONFIG_MAPS, &owned("kept", &[&owner], false))
        .await
        .ok();
    api.server.shutdown().await;
    api.delete(&format!("{WIDGETS}/owner")).await.ok();
    let restarted = Api::over(std::sync::Arc::clone(&api.store), |_| {}).await;
    restarted.wait_gone(&format!("{CONFIG_MAPS}/kept")).await;
}

#[tokio::test]
async fn foreground_deletion_waits_for_dependents() {
    let api = Api::start().await;
    let owner = api.post(WIDGETS, &widget("owner", json!({}))).await.ok();
    let mut child = owned("child", &[&owner], true);
    child["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(CONFIG_MAPS, &child).await.ok();
    let path = format!("{WIDGETS}/owner");
    let pending = api
        .delete_with(&path, &json!({"propagationPolicy": "Foreground"}))
        .await
        .ok();
    assert_eq!(
        pending["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    let child = format!("{CONFIG_MAPS}/child");
    api.wait(&child, |a| {
        a.json()["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    assert_eq!(api.get(&path).await.code, 200, "the owner waits");
    api.patch("merge", &child, &json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
    api.wait_gone(&path).await;
    api.get(&child).await.refused(404, "NotFound");
}

#[tokio::test]
async fn foreground_deletion_releases_a_dependent_that_another_owner_keeps() {
    let api = Api::start().await;
    let first = api.post(WIDGETS, &widget("first", json!({}))).await.ok();
    let second = api.post(WIDGETS, &widget("second", json!({}))).await.ok();
    api.post(CONFIG_MAPS, &owned("child", &[&first, &second], true))
        .await
        .ok();
    let path = format!("{WIDGETS}/first");
    api.delete_with(&path, &json!({"propagationPolicy": "Foreground"}))
        .await
        .ok();
    api.wait_gone(&path).await;
    let child = api.get(&format!("{CONFIG_MAPS}/child")).await.ok();
    let owners = child["metadata"]["ownerReferences"].as_array().unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!(owners[0]["name"], "second");
}

#[tokio::test]
async fn foreground_deletion_of_an_ownership_cycle_ends() {
    let api = Api::start().await;
    let a = api
        .post(CONFIG_MAPS, &config_map("a", json!({})))
        .await
        .ok();
    let b = api.post(CONFIG_MAPS, &owned("b", &[&a], true)).await.ok();
    let c = api.post(CONFIG_MAPS, &owned("c", &[&b], true)).await.ok();
    let closing = owned("a", &[&c], true)["metadata"]["ownerReferences"].clone();
    let patch = json!({"metadata": {"ownerReferences": closing}});
    api.patch("merge", &format!("{CONFIG_MAPS}/a"), &patch)
        .await
        .ok();
    let own = owned("own", &[&a], true)["metadata"]["ownerReferences"].clone();
    let path = format!("{CONFIG_MAPS}/a");
    api.delete_with(&path, &json!({"propagationPolicy": "Foreground"}))
        .await
        .ok();
    for name in ["a", "b", "c"] {
        api.wait_gone(&format!("{CONFIG_MAPS}/{name}")).await;
    }
    // An object that owns itself is the shortest cycle.
    let mut selfish = api
        .post(CONFIG_MAPS, &config_map("s", json!({})))
        .await
        .ok();
    selfish["metadata"]["ownerReferences"] = own;
    selfish["metadata"]["ownerReferences"][0]["name"] = "s".into();
    selfish["metadata"]["ownerReferences"][0]["uid"] = selfish["metadata"]["uid"].clone();
    let path = format!("{CONFIG_MAPS}/s");
    api.put(&path, &selfish).await.ok();
    api.delete_with(&path, &json!({"propagationPolicy": "Foreground"}))
        .await
        .ok();
    api.wait_gone(&path).await;
}

#[tokio::test]
async fn cluster_scoped_object_with_a_namespaced_owner_is_never_collected() {
    let api = Api::start().await;
    let owner = api
        .post(CONFIG_MAPS, &config_map("owner", json!({})))
        .await
        .ok();
    let mut namespace = json!({"metadata": {"name": "precious"}});
    namespace["metadata"]["ownerReferences"] =
        owned("precious", &[&owner], true)["metadata"]["ownerReferences"].clone();
    api.post("/api/v1/namespaces", &namespace).await.ok();
    let events = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dprecious";
    let answer = api
        .wait(events, |a| {
            !a.json()["items"].as_array().unwrap().is_empty()
        })
        .await;
    let event = &answer.json()["items"][0];
    assert_eq!(
        (&event["reason"], &event["type"]),
        (&json!("OwnerRefInvalidNamespace"), &json!("Warning"))
    );
    // The owner does not wait for an object that is never deleted.
    let path = format!("{CONFIG_MAPS}/owner");
    api.delete_with(&path, &json!({"propagationPolicy": "Foreground"}))
        .await
        .ok();
    api.wait_gone(&path).await;
    // The collector works through one queue in order, so it has examined the namespace once this is gone.
    let owner = api
        .post(CONFIG_MAPS, &config_map("late", json!({})))
        .await
        .ok();
    api.post(CONFIG_MAPS, &owned("marker", &[&owner], false))
        .await
        .ok();
    api.delete(&format!("{CONFIG_MAPS}/late")).await.ok();
    api.wait_gone(&format!("{CONFIG_MAPS}/marker")).await;
    let namespace = api.get("/api/v1/namespaces/precious").await.ok();
    assert_eq!(namespace["status"]["phase"], "Active");
    assert_eq!(
        api.get(events).await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn orphan_deletion_keeps_dependents() {
    let api = Api::start().await;
    let owner = api.post(WIDGETS, &widget("owner", json!({}))).await.ok();
    api.post(CONFIG_MAPS, &owned("child", &[&owner], false))
        .await
        .ok();
    api.delete_with(
        &format!("{WIDGETS}/owner"),
        &json!({"propagationPolicy": "Orphan"}),
    )
    .await
    .ok();
    api.wait_gone(&format!("{WIDGETS}/owner")).await;
    let child = api.get(&format!("{CONFIG_MAPS}/child")).await.ok();
    assert!(
        child["metadata"].get("ownerReferences").is_none(),
        "{child}"
    );
}

#[tokio::test]
async fn namespace_deletion_deletes_its_content() {
    let api = Api::start().await;
    let made = api
        .post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}}))
        .await
        .ok();
    assert_eq!(made["status"]["phase"], "Active");
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(
        made["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "n"
    );
    let widgets = WIDGETS.replace("default", "n");
    let config_maps = CONFIG_MAPS.replace("default", "n");
    let mut held = widget("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(&widgets, &held).await.ok();
    api.post(&config_maps, &config_map("a", json!({})))
        .await
        .ok();
    let pending = api.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(pending["status"]["phase"], "Terminating");
    api.wait_gone(&format!("{config_maps}/a")).await;
    let answer = api.post(&config_maps, &config_map("late", json!({}))).await;
    let text = answer.refused(403, "Forbidden");
    assert!(text.contains("because it is being terminated"), "{text}");
    assert_eq!(
        answer.json()["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    api.get("/api/v1/namespaces/n").await.ok();
    api.patch(
        "merge",
        &format!("{widgets}/held"),
        &json!({"metadata": {"finalizers": null}}),
    )
    .await
    .ok();
    api.wait_gone("/api/v1/namespaces/n").await;
    for name in ["default", "kube-system", "rdd-system"] {
        let text = api
            .delete(&format!("/api/v1/namespaces/{name}"))
            .await
            .refused(403, "Forbidden");
        assert!(text.contains("this namespace may not be deleted"), "{text}");
    }
}
