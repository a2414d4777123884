//! JSON patches (RFC 6902) whose result is larger or deeper than what they send.

use serde_json::{Value, json};

use super::{decided, define, refused, undefine};
use crate::plane::{CONFIG_MAPS, JSON_PATCH, Plane, Shared, custom_object, custom_path};
use crate::trial::{Outcome, Trial};

const PLURAL: &str = "patched";

pub(super) fn trials() -> Vec<Trial> {
    let copies = |count: usize, from: &str, to: &str| -> Vec<Value> {
        vec![json!({"op": "copy", "from": from, "path": to}); count]
    };
    let mut doubling = vec![json!({"op": "add", "path": "/spec/l", "value": ["x".repeat(100)]})];
    for _ in 0..40 {
        doubling.extend(copies(1, "/spec/l", "/spec/l/-"));
    }
    vec![
        patch("an object copied into itself 200 times", copies(200, "/spec", "/spec/x")),
        patch("an object copied into itself 9,000 times", copies(9_000, "/spec", "/spec/x")),
        patch("a list that doubles 40 times", doubling),
        patch("a path of 60,000 levels, made by moves", moves(60_000)),
        patch("60,000 operations", vec![json!({"op": "test", "path": "/spec", "value": {}}); 60_000]),
        patch("a value of 5,000 levels", vec![json!({"op": "add", "path": "/spec/d", "value": nested(90)})]
            .into_iter().chain((0..60).map(|_| json!({"op": "copy", "from": "/spec/d", "path": format!("/spec/d{}", "/x".repeat(90))}))).collect()),
        Trial::new("json patch: a built-in object, dry run, 40,000 levels", builtin),
        Trial::new("json patch: a move into its own child", into_itself),
    ]
}

fn patch(what: &str, operations: Vec<Value>) -> Trial {
    Trial::new(format!("json patch: {what}"), async move |plane: Shared| {
        hostile(&plane, Value::Array(operations)).await
    })
}

/// The patch is refused, and the object and its definition can be read and deleted afterwards.
async fn hostile(plane: &Plane, operations: Value) -> Outcome {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    if !define(plane, PLURAL, &schema).await? {
        return Err("an ordinary definition was refused".to_owned());
    }
    let path = custom_path(PLURAL);
    let made = plane
        .post(&path, &custom_object(PLURAL, "a", &json!({})))
        .await?;
    if made.status != 201 {
        return Err(format!("an ordinary object was refused: {}", made.brief()));
    }
    let one = format!("{path}/a");
    for query in ["?dryRun=All", ""] {
        let answer = plane
            .patch(&format!("{one}{query}"), JSON_PATCH, &operations)
            .await;
        refused("the patch", &answer?)?;
    }
    let read = plane.get(&one).await?;
    if read.json()["spec"] != json!({}) {
        return Err(format!("the object changed: {}", read.brief()));
    }
    undefine(plane, PLURAL).await
}

/// Wraps an object into itself by moves, 100 levels each time.
fn moves(depth: usize) -> Vec<Value> {
    const STEP: usize = 100;
    let mut operations = vec![json!({"op": "add", "path": "/spec/a", "value": {}})];
    for _ in 0..depth / STEP {
        operations.push(json!({"op": "add", "path": "/spec/b", "value": nested(STEP)}));
        let inside = format!("/spec/b{}", "/x".repeat(STEP));
        operations.push(json!({"op": "move", "from": "/spec/a", "path": inside}));
        operations.push(json!({"op": "move", "from": "/spec/b", "path": "/spec/a"}));
    }
    operations
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({"x": inner}))
}

async fn builtin(plane: Shared) -> Outcome {
    let path = "/api/v1/namespaces/default?dryRun=All";
    let answer = plane
        .patch(path, JSON_PATCH, &Value::Array(moves(40_000)))
        .await?;
    refused("the patch", &answer)
}

async fn into_itself(plane: Shared) -> Outcome {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "itself"}, "data": {"k": "v"}});
    plane.post(CONFIG_MAPS, &body).await?;
    let one = format!("{CONFIG_MAPS}/itself");
    for operations in [
        json!([{"op": "move", "from": "/data/k", "path": "/data"}, {"op": "test", "path": "/x", "value": 1}]),
        json!([{"op": "add", "path": "/data/n", "value": "1"}, {"op": "move", "from": "/data", "path": "/data/k"}]),
        json!([{"op": "move", "from": "/metadata", "path": "/metadata/name"}]),
        json!([{"op": "replace", "path": "/metadata", "value": "x"}]),
        json!([{"op": "remove", "path": ""}]),
        json!([{"op": "replace", "path": "", "value": null}]),
    ] {
        decided(
            &operations.to_string(),
            &plane.patch(&one, JSON_PATCH, &operations).await?,
        )?;
    }
    plane.delete(&one).await?;
    Ok(())
}
