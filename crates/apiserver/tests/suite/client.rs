//! kube-rs in process, as the controllers use it.

use apiserver::User;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
    runtime::{
        WatchStreamExt as _,
        events::{Event, EventType, Recorder},
        watcher,
    },
};
use serde_json::json;

use crate::support;

#[tokio::test]
async fn kube_client_in_process_reads_watches_and_writes() {
    let api = support::Api::start().await;
    let client = Client::new(api.server.service(User::master("controllers")), "default");
    assert_eq!(client.apiserver_version().await.unwrap().minor, "33");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let names: Vec<_> = namespaces
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(|n| n.name_any())
        .collect();
    assert_eq!(names, ["default", "kube-system", "rdd-system"]);

    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Widget"));
    let widgets: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &kind);
    let config = watcher::Config::default().streaming_lists();
    let mut seen = watcher(widgets.clone(), config).applied_objects().boxed();
    let made: DynamicObject = serde_json::from_value(support::widget("a", json!({}))).unwrap();
    widgets.create(&PostParams::default(), &made).await.unwrap();
    assert_eq!(seen.try_next().await.unwrap().unwrap().name_any(), "a");
    let status = Patch::Merge(json!({"status": {"count": 1}}));
    widgets
        .patch_status("a", &PatchParams::default(), &status)
        .await
        .unwrap();
    assert_eq!(
        seen.try_next().await.unwrap().unwrap().data["status"]["count"],
        1
    );
    assert!(widgets.get_opt("b").await.unwrap().is_none());

    let config_maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut map = ConfigMap::default();
    map.metadata.name = Some("c".into());
    map.data = Some([("k".to_owned(), "v".to_owned())].into());
    let mut made = config_maps
        .create(&PostParams::default(), &map)
        .await
        .unwrap();
    let stale = made.clone();
    made.data = None;
    config_maps
        .replace("c", &PostParams::default(), &made)
        .await
        .unwrap();
    let conflict = config_maps
        .replace("c", &PostParams::default(), &stale)
        .await
        .unwrap_err();
    assert!(
        matches!(conflict, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict")
    );
    assert!(
        config_maps
            .delete("c", &DeleteParams::default())
            .await
            .unwrap()
            .is_right()
    );
}

#[tokio::test]
async fn recorded_event_is_shown_by_both_event_groups() {
    let api = support::Api::start().await;
    let client = Client::new(api.server.service(User::master("controllers")), "default");
    let about = api
        .post(support::CONFIG_MAPS, &support::config_map("c", json!({})))
        .await
        .ok();
    let about: ConfigMap = serde_json::from_value(about).unwrap();
    let recorder = Recorder::new(client, "controller".into());
    let event = Event {
        type_: EventType::Warning,
        reason: "Odd".into(),
        note: Some("it is odd".into()),
        action: "Look".into(),
        secondary: None,
    };
    recorder
        .publish(&event, &about.object_ref(&()))
        .await
        .unwrap();
    let core = api
        .get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dc,type%3DWarning")
        .await
        .ok();
    let core = &core["items"][0];
    assert_eq!(
        (&core["message"], &core["apiVersion"]),
        (&json!("it is odd"), &json!("v1"))
    );
    assert_eq!(core["involvedObject"]["kind"], "ConfigMap");
    let new = api
        .get("/apis/events.k8s.io/v1/namespaces/default/events")
        .await
        .ok();
    let new = &new["items"][0];
    assert_eq!(
        (&new["note"], &new["apiVersion"]),
        (&json!("it is odd"), &json!("events.k8s.io/v1"))
    );
    assert_eq!(new["metadata"], core["metadata"]);
    // The same event again makes a series of it.
    recorder
        .publish(&event, &about.object_ref(&()))
        .await
        .unwrap();
    let events = api.get("/api/v1/namespaces/default/events").await.ok();
    assert_eq!(events["items"][0]["series"]["count"], 2);
}
