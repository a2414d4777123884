//! Collections: pages, revisions, selectors.

use serde_json::{Value, json};

use crate::support::{Answer, Api, CONFIG_MAPS, config_map};

fn names(list: &Value) -> String {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|i| i["metadata"]["name"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join(" ")
}

async fn with_five() -> Api {
    let api = Api::start().await;
    for n in 1..=5 {
        let mut object = config_map(&format!("c{n}"), json!({}));
        object["metadata"]["labels"] = json!({"n": n.to_string(), "odd": (n % 2 == 1).to_string()});
        api.post(CONFIG_MAPS, &object).await.ok();
    }
    api
}

#[tokio::test]
async fn selectors_select_the_matching_objects() {
    let api = with_five().await;
    for (query, expected) in [
        ("", "c1 c2 c3 c4 c5"),
        ("labelSelector=odd%3Dtrue", "c1 c3 c5"),
        ("labelSelector=n+in+(2,4),odd!%3Dtrue", "c2 c4"),
        ("labelSelector=n%3E3", "c4 c5"),
        ("labelSelector=!n", ""),
        ("fieldSelector=metadata.name%3Dc3", "c3"),
        (
            "fieldSelector=metadata.name!%3Dc3,metadata.namespace%3Ddefault",
            "c1 c2 c4 c5",
        ),
        ("fieldSelector=metadata.namespace%3Dother", ""),
        ("labelSelector=odd%3Dtrue&limit=2", "c1 c3"),
    ] {
        assert_eq!(
            names(&api.get(&format!("{CONFIG_MAPS}?{query}")).await.ok()),
            expected,
            "{query}"
        );
    }
    assert_eq!(
        names(&api.get("/api/v1/configmaps").await.ok()),
        "c1 c2 c3 c4 c5"
    );
    for wrong in [
        "labelSelector=a+b",
        "fieldSelector=data.x%3D1",
        "fieldSelector=metadata.name",
        "limit=x",
    ] {
        api.get(&format!("{CONFIG_MAPS}?{wrong}"))
            .await
            .refused(400, "BadRequest");
    }
}

#[tokio::test]
async fn pages_of_a_list_show_one_revision() {
    let api = with_five().await;
    let first = api.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), "c1 c2");
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let revision = &first["metadata"]["resourceVersion"];
    api.delete(&format!("{CONFIG_MAPS}/c4")).await.ok();
    api.post(CONFIG_MAPS, &config_map("c31", json!({})))
        .await
        .ok();
    let mut seen = Vec::new();
    let mut page = first.clone();
    while let Some(token) = page["metadata"]["continue"].as_str() {
        page = api
            .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
            .await
            .ok();
        assert_eq!(&page["metadata"]["resourceVersion"], revision);
        seen.push(names(&page));
    }
    assert_eq!(seen, ["c3 c4", "c5"]);
    let exact = format!(
        "{CONFIG_MAPS}?resourceVersionMatch=Exact&resourceVersion={}",
        revision.as_str().unwrap()
    );
    assert_eq!(names(&api.get(&exact).await.ok()), "c1 c2 c3 c4 c5");

    let token = first["metadata"]["continue"].as_str().unwrap();
    api.get(&format!(
        "/api/v1/namespaces/default/secrets?continue={token}"
    ))
    .await
    .refused(400, "BadRequest");
    api.get(&format!("{CONFIG_MAPS}?continue=%21"))
        .await
        .refused(400, "BadRequest");
    api.store.compact(api.store.revision()).await.unwrap();
    let message = api
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
        .await
        .refused(410, "Expired");
    assert!(
        message.contains("continue parameter is too old"),
        "{message}"
    );
}

#[tokio::test]
async fn pages_with_a_selector_contain_every_selected_object() {
    let api = with_five().await;
    let mut path = format!("{CONFIG_MAPS}?labelSelector=odd%3Dtrue&limit=1");
    let mut seen = Vec::new();
    loop {
        let page = api.get(&path).await.ok();
        seen.extend(
            names(&page)
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        );
        let Some(token) = page["metadata"]["continue"].as_str() else {
            break;
        };
        path = format!("{CONFIG_MAPS}?labelSelector=odd%3Dtrue&limit=1&continue={token}");
    }
    assert_eq!(seen, ["c1", "c3", "c5"]);
}

#[tokio::test(start_paused = true)]
async fn list_at_a_future_revision_times_out() {
    let api = with_five().await;
    let future = api.store.revision() + 1000;
    let answer: Answer = api
        .get(&format!("{CONFIG_MAPS}?resourceVersion={future}"))
        .await;
    let message = answer.refused(504, "Timeout");
    assert!(message.contains("Too large resource version"), "{message}");
    assert_eq!(
        answer.json()["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
}

#[tokio::test]
async fn collection_deletion_honours_the_selector() {
    let api = with_five().await;
    let deleted = api
        .delete(&format!("{CONFIG_MAPS}?labelSelector=odd%3Dtrue"))
        .await
        .ok();
    assert_eq!(names(&deleted), "c1 c3 c5");
    assert_eq!(names(&api.get(CONFIG_MAPS).await.ok()), "c2 c4");
    api.delete("/api/v1/configmaps")
        .await
        .refused(405, "MethodNotAllowed");
}
