//! Watches.

use std::{collections::HashSet, sync::Arc};

use serde_json::json;

use crate::support::{Api, CONFIG_MAPS, WIDGETS, config_map, widget};

fn labelled(name: &str, value: &str) -> serde_json::Value {
    let mut object = config_map(name, json!({}));
    object["metadata"]["labels"] = json!({"l": value});
    object
}

#[tokio::test]
async fn watch_delivers_changes_in_order() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    api.post(CONFIG_MAPS, &config_map("a", json!({})))
        .await
        .ok();
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(watch.next_change().await, "ADDED a");
    let patched = api
        .patch("merge", &path, &json!({"data": {"x": "y"}}))
        .await
        .ok();
    let event = watch.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]),
        (&json!("MODIFIED"), &patched)
    );
    api.post(WIDGETS, &widget("elsewhere", json!({})))
        .await
        .ok();
    api.delete(&path).await.ok();
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    let number = |value: &serde_json::Value| {
        value["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(
        number(&event["object"]) > number(&patched),
        "a deletion has a revision of its own"
    );
}

#[tokio::test]
async fn watch_continues_at_the_revision_of_a_list() {
    let api = Api::start().await;
    api.post(CONFIG_MAPS, &config_map("before", json!({})))
        .await
        .ok();
    let list = api.get(CONFIG_MAPS).await.ok();
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    api.post(CONFIG_MAPS, &config_map("after", json!({})))
        .await
        .ok();
    let mut watch = api
        .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}"))
        .await;
    assert_eq!(watch.next_change().await, "ADDED after");
    api.store.compact(api.store.revision()).await.unwrap();
    let mut late = api
        .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}"))
        .await;
    let event = late.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(late.next().await.is_none());
}

#[tokio::test]
async fn object_that_enters_a_selection_is_added_and_one_that_leaves_is_deleted() {
    let api = Api::start().await;
    let mut watch = api
        .watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=l%3Dyes"))
        .await;
    api.post(CONFIG_MAPS, &labelled("a", "no")).await.ok();
    let set = async |value: &str, data: &str| {
        let patch = json!({"metadata": {"labels": {"l": value}}, "data": {"d": data}});
        api.patch("merge", &format!("{CONFIG_MAPS}/a"), &patch)
            .await
            .ok()
    };
    set("yes", "1").await;
    assert_eq!(watch.next_change().await, "ADDED a");
    set("yes", "2").await;
    assert_eq!(watch.next_change().await, "MODIFIED a");
    let left = set("no", "3").await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["data"]["d"], "2", "the last selected state");
    assert_eq!(
        event["object"]["metadata"]["resourceVersion"],
        left["metadata"]["resourceVersion"]
    );
    api.delete(&format!("{CONFIG_MAPS}/a")).await.ok();
    create_marker(&api).await;
    assert_eq!(watch.next_change().await, "ADDED marker");
}

async fn create_marker(api: &Api) {
    api.post(CONFIG_MAPS, &labelled("marker", "yes")).await.ok();
}

#[tokio::test]
async fn streaming_lists_end_with_a_bookmark() {
    let api = Api::start().await;
    api.post(CONFIG_MAPS, &config_map("a", json!({})))
        .await
        .ok();
    let path = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut watch = api.watch(&path).await;
    assert_eq!(watch.next_change().await, "ADDED a");
    let event = watch.next().await.unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    assert_eq!(
        event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        event["object"]["metadata"]["resourceVersion"],
        api.store.revision().to_string()
    );
    api.get(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true"))
        .await
        .refused(422, "Invalid");
}

#[tokio::test]
async fn watch_of_one_name_shows_no_other_object() {
    let api = Api::start().await;
    let mut watch = api
        .watch(&format!(
            "{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Db"
        ))
        .await;
    for name in ["a", "b", "bb"] {
        api.post(CONFIG_MAPS, &config_map(name, json!({})))
            .await
            .ok();
    }
    assert_eq!(watch.next_change().await, "ADDED b");
    api.delete(&format!("{CONFIG_MAPS}/b")).await.ok();
    assert_eq!(watch.next_change().await, "DELETED b");
}

#[tokio::test(start_paused = true)]
async fn watch_ends_at_its_timeout_and_with_the_server() {
    let api = Api::start().await;
    let mut watch = api
        .watch(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=5"))
        .await;
    assert!(watch.next().await.is_none());
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    api.server.shutdown().await;
    assert!(watch.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_each_change_once_and_in_order() {
    const WRITERS: usize = 4;
    const WRITES: usize = 100;
    let api = Arc::new(Api::start().await);
    let revision = api.store.revision();
    let writers = (0..WRITERS).map(|writer| {
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            for n in 0..WRITES {
                api.post(
                    CONFIG_MAPS,
                    &config_map(&format!("w{writer}-{n}"), json!({})),
                )
                .await
                .ok();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let watchers = (0..8).map(|_| {
        let api = Arc::clone(&api);
        tokio::spawn(async move {
            let mut watch = api
                .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}"))
                .await;
            let (mut seen, mut last) = (HashSet::new(), 0);
            while seen.len() < WRITERS * WRITES {
                let event = watch.next().await.unwrap();
                assert_eq!(event["type"], "ADDED");
                let meta = &event["object"]["metadata"];
                assert!(
                    seen.insert(meta["name"].as_str().unwrap().to_owned()),
                    "a change was delivered twice"
                );
                let at: u64 = meta["resourceVersion"].as_str().unwrap().parse().unwrap();
                assert!(at > last, "out of order");
                last = at;
            }
        })
    });
    let watchers: Vec<_> = watchers.collect();
    for task in writers.into_iter().chain(watchers) {
        task.await.unwrap();
    }
}
