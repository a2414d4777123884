//! Objects whose parts have another type than the server expects.

use http::Method;
use serde_json::{Value, json};

use super::decided;
use crate::plane::{CONFIG_MAPS, DEFINITIONS, JSON, MERGE_PATCH, Plane, Shared};
use crate::trial::{Outcome, Trial};

const NAMESPACES: &str = "/api/v1/namespaces";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "malformed: text, lists and null in place of objects",
            wrong_types,
        ),
        Trial::new("malformed: bodies that are no object", bodies),
        Trial::new("malformed: paths and queries", paths),
    ]
}

async fn wrong_types(plane: Shared) -> Outcome {
    let wrong = [
        json!("x"),
        json!([]),
        json!(1),
        json!([null]),
        json!({"": null}),
        Value::Null,
    ];
    let objects: [(&str, Value, &[&str]); 4] = [
        (
            SECRETS,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"}, "stringData": {"s": "t"}}),
            &["/data", "/stringData", "/metadata", "/type"],
        ),
        (
            NAMESPACES,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "wrong"}}),
            &["/spec", "/status", "/metadata/labels", "/spec/finalizers"],
        ),
        (
            DEFINITIONS,
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "a.b"}, "spec": {"group": "b", "names": {}, "versions": [{}]}}),
            &[
                "/spec",
                "/spec/names",
                "/spec/versions",
                "/spec/names/plural",
                "/spec/versions/0",
            ],
        ),
        (
            CONFIG_MAPS,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "wrong"}}),
            &[
                "/metadata",
                "/metadata/ownerReferences",
                "/metadata/finalizers",
                "/data",
                "/binaryData",
            ],
        ),
    ];
    for (path, object, places) in objects {
        for place in places {
            for value in &wrong {
                let body = with(&object, place, value);
                let posted = plane.post(&format!("{path}?dryRun=All"), &body).await?;
                decided(&format!("{place} = {value}"), &posted)?;
                let one = format!("{path}/wrong?dryRun=All");
                for (method, content_type) in [(Method::PUT, JSON), (Method::PATCH, MERGE_PATCH)] {
                    let bytes = body.to_string().into_bytes();
                    let answer = plane.send(method, &one, content_type, bytes).await?;
                    decided(&format!("{place} = {value}"), &answer)?;
                }
            }
        }
    }
    Ok(())
}

/// The object with the value at this place (a JSON pointer); missing parents are made.
fn with(object: &Value, place: &str, value: &Value) -> Value {
    let mut whole = object.clone();
    let mut at = &mut whole;
    for key in place.split('/').skip(1) {
        at = match at {
            Value::Array(items) => {
                if items.is_empty() {
                    items.push(Value::Null);
                }
                &mut items[0]
            }
            other => &mut other[key],
        };
    }
    *at = value.clone();
    whole
}

async fn bodies(plane: Shared) -> Outcome {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let bodies = [
        "",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{",
        "{\"a\":",
        "\u{feff}{}",
        "{\"kind\":1e999}",
        deep.as_str(),
    ];
    for body in bodies {
        for (method, path) in [
            (Method::POST, CONFIG_MAPS),
            (Method::PUT, "/api/v1/namespaces/default"),
            (Method::DELETE, "/api/v1/namespaces/default/configmaps/none"),
            (
                Method::POST,
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            ),
        ] {
            for content_type in [
                JSON,
                "application/yaml",
                "application/vnd.kubernetes.protobuf",
                "text/plain",
            ] {
                let answer = plane
                    .send(method.clone(), path, content_type, body.as_bytes().to_vec())
                    .await?;
                decided(
                    &format!("{method} {} as {content_type}", &body[..body.len().min(20)]),
                    &answer,
                )?;
            }
        }
    }
    owned_bomb(&plane).await
}

/// YAML whose aliases multiply, nine levels of nine.
async fn owned_bomb(plane: &Plane) -> Outcome {
    let mut yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\ndata:\n  a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        let again = vec![format!("*a{}", level - 1); 9].join(",");
        yaml.push_str(&format!("  a{level}: &a{level} [{again}]\n"));
    }
    let answer = plane
        .send(
            Method::POST,
            CONFIG_MAPS,
            "application/yaml",
            yaml.into_bytes(),
        )
        .await?;
    super::refused("a YAML alias bomb", &answer)
}

async fn paths(plane: Shared) -> Outcome {
    let long = "a".repeat(7_000);
    let queries = [
        "limit=-1",
        "limit=99999999999999999999",
        "continue=AAAA",
        "continue=%ff%fe",
        "resourceVersion=-1",
        "resourceVersion=18446744073709551616",
        "resourceVersionMatch=x",
        "timeoutSeconds=-1",
        "labelSelector=%28%28%28",
        "labelSelector=a+in+%28",
        "fieldSelector=%3D%3D%3D",
        "pretty=2",
        "fieldValidation=x",
        "dryRun=Some",
        &format!("labelSelector={long}"),
        &format!("labelSelector={}", vec!["a%3Db"; 900].join(",")),
    ];
    for query in queries {
        decided(query, &plane.get(&format!("{CONFIG_MAPS}?{query}")).await?)?;
    }
    for path in [
        "/",
        "//",
        "/api//v1",
        "/apis/%00",
        "/api/v1/namespaces/%2e%2e/configmaps",
        "/api/v1/namespaces/default/configmaps/%ff",
        "/apis/a/b/c/d/e/f/g/h",
        &format!("/{long}"),
    ] {
        decided(path, &plane.get(path).await?)?;
    }
    Ok(())
}
