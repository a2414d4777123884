//! Media types and sizes of bodies.

use http::Request;
use serde_json::json;

use crate::support::{Api, CONFIG_MAPS, WIDGETS, config_map};

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
async fn too_large_body_is_refused() {
    let api = Api::start().await;
    let big = config_map("big", json!({"x": "y".repeat(4 << 20)}));
    api.post(CONFIG_MAPS, &big)
        .await
        .refused(413, "RequestEntityTooLarge");
}
