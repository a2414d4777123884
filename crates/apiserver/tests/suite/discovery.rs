//! Discovery, OpenAPI and reviews.

use http::Request;
use serde_json::{Value, json};

use crate::support::Api;

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
async fn reviews_and_discovery_are_answered() {
    let api = Api::start().await;
    let review = api
        .post(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            &json!({}),
        )
        .await
        .ok();
    assert_eq!(review["status"]["userInfo"]["username"], "test");
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
