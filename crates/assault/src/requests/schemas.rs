//! Schemas that cost more than linear time, or multiply what an object holds.

use serde_json::{Value, json};

use super::{decided, define, undefine};
use crate::plane::{DEFINITIONS, Shared, custom_object, custom_path, definition};
use crate::trial::Trial;

pub(super) fn trials() -> Vec<Trial> {
    let text = |i: usize| json!(format!("{}{i}", "e".repeat(20)));
    let strings: Vec<Value> = (0..50_000).map(text).collect();
    let keyed: Vec<Value> = (0..80_000).map(|i| json!({"k": i})).collect();
    let keyed_list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "integer"}}}});
    let many: Vec<Value> = (0..100)
        .map(|i| json!({"required": [format!("r{i}")]}))
        .collect();
    let mut deep = json!({"minimum": 5});
    for _ in 0..16 {
        deep = json!({"anyOf": [deep, deep]});
    }
    deep["type"] = json!("integer");
    let default = json!({"type": "array", "items": {"type": "object", "properties": {"d":
        {"type": "string", "default": "D".repeat(100_000)}}}});
    let pattern = |pattern: &str, count: usize| -> Value {
        let properties = (0..count).map(|i| {
            (
                format!("p{i}"),
                json!({"type": "string", "pattern": pattern}),
            )
        });
        json!({"type": "object", "properties": Value::Object(properties.collect())})
    };
    vec![
        check(
            "100,000 unique items",
            json!({"type": "array", "uniqueItems": true, "items": {"type": "integer"}}),
            json!((0..100_000).collect::<Vec<_>>()),
        ),
        check(
            "100,000 unique objects",
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}),
            json!((0..100_000).collect::<Vec<_>>()),
        ),
        check(
            "items against an enum of 50,000",
            json!({"type": "array", "items": {"type": "string", "enum": strings}}),
            json!(vec![text(49_999); 40_000]),
        ),
        check(
            "items that are in no enum of 50,000",
            json!({"type": "array", "items": {"type": "string", "enum": strings}}),
            json!(vec!["x"; 1_000]),
        ),
        check("a list map of 80,000", keyed_list, json!(keyed)),
        check(
            "100 alternatives that each quote a large object",
            json!({"type": "object",
            "x-kubernetes-preserve-unknown-fields": true, "allOf": many}),
            json!({"big": "x".repeat(1_400_000)}),
        ),
        check(
            "2^16 alternatives",
            json!({"type": "array", "items": deep}),
            json!(vec![1; 20_000]),
        ),
        check(
            "a default of 100 KB in 20,000 items",
            default,
            json!(vec![json!({}); 20_000]),
        ),
        check(
            "300 patterns that compile to megabytes",
            pattern(r"^\pL{300}$", 300),
            json!({"p1": "x"}),
        ),
        check(
            "a pattern with nested repeats",
            pattern(r"^((a{1,100}){1,100}){1,100}$", 1),
            json!({"p0": "a".repeat(10_000)}),
        ),
        Trial::new(
            "schemas: a schema of 5,000 levels",
            async |plane: Shared| {
                let mut schema = json!({"type": "string"});
                for _ in 0..100 {
                    schema = json!({"type": "object", "properties": {"x": schema}});
                }
                // Deeper than what a JSON value can be built of here without a deep stack, so it is text.
                let (open, close) = (
                    r#"{"type":"object","properties":{"x":"#.repeat(5_000),
                    "}}".repeat(5_000),
                );
                let text = definition("deep", &json!("SCHEMA")).to_string();
                let text = text.replace("\"SCHEMA\"", &format!("{open}{schema}{close}"));
                let path = format!("{DEFINITIONS}?dryRun=All");
                let answer = plane
                    .send(
                        http::Method::POST,
                        &path,
                        crate::plane::JSON,
                        text.into_bytes(),
                    )
                    .await?;
                decided("the definition", &answer)
            },
        ),
    ]
}

/// The definition, and then the object, are accepted or refused; the answer has a bounded size.
fn check(what: &str, spec: Value, value: Value) -> Trial {
    Trial::new(format!("schemas: {what}"), async move |plane: Shared| {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        if !define(&plane, "checked", &schema).await? {
            return Ok(());
        }
        let path = format!("{}?dryRun=All", custom_path("checked"));
        let answer = plane
            .post(&path, &custom_object("checked", "a", &value))
            .await?;
        decided("the object", &answer)?;
        undefine(&plane, "checked").await
    })
}
