//! Validation rules (CEL) that nest deeply or loop for long.

use futures::future::join_all;
use serde_json::{Value, json};

use super::{decided, define, undefine};
use crate::plane::{DEFINITIONS, Plane, Shared, custom_object, custom_path, definition};
use crate::trial::{Outcome, Trial};

/// How a rule of `n` levels looks.
type Shape = (&'static str, fn(usize) -> String);

const SHAPES: [Shape; 15] = [
    ("parentheses", |n| {
        format!("{}true{}", "(".repeat(n), ")".repeat(n))
    }),
    ("negations", |n| format!("{}true", "!".repeat(n * 2))),
    ("minus signs", |n| format!("{}1 == 1", "-".repeat(n * 2))),
    ("sums", |n| format!("{} > 0", vec!["1"; n + 1].join("+"))),
    ("conjunctions", |n| vec!["true"; n + 1].join(" && ")),
    ("disjunctions", |n| {
        format!("{} || true", vec!["false"; n + 1].join(" || "))
    }),
    ("selections", |n| {
        format!("has(self{}) || true", ".a".repeat(n + 1))
    }),
    ("indices", |n| {
        format!("self{} == 1 || true", "[0]".repeat(n + 1))
    }),
    ("lists", |n| {
        format!("{}{} != []", "[".repeat(n + 1), "]".repeat(n + 1))
    }),
    ("maps", |n| {
        format!("{}1{} != {{}}", "{1:".repeat(n), "}".repeat(n))
    }),
    ("conditionals", |n| {
        format!("{}true{}", "true?".repeat(n), ":true".repeat(n))
    }),
    ("chained conditionals", |n| {
        format!("{}true", "true?true:".repeat(n))
    }),
    ("calls", |n| {
        format!("{}\"a\"{} > 0", "size(".repeat(n), ")".repeat(n))
    }),
    ("methods", |n| {
        format!("\"a\"{} > 0", ".size()".repeat(n + 1))
    }),
    ("comprehensions", |n| {
        let open: String = (0..n).map(|i| format!("[1].all(a{i},")).collect();
        format!("{open}true{}", ")".repeat(n))
    }),
];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = SHAPES
        .iter()
        .map(|(name, shape)| {
            Trial::new(format!("cel: nested {name}"), async move |plane: Shared| {
                for levels in [40, 300, 3_000, 40_000] {
                    nested(&plane, &shape(levels)).await?;
                }
                Ok(())
            })
        })
        .collect();
    let list = json!({"type": "array", "items": {"type": "integer"}});
    let names = json!({"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}});
    let named: Vec<Value> = (0..3_000)
        .map(|i| json!({"name": format!("n{i}")}))
        .collect();
    trials.push(looping(
        "three nested loops over 2,000 items",
        "self.all(a, self.all(b, self.all(c, a >= 0)))",
        list.clone(),
        json!(vec![1; 2_000]),
    ));
    trials.push(looping(
        "unique names among 3,000 items",
        "self.all(x, self.exists_one(y, y.name == x.name))",
        names,
        json!(named),
    ));
    trials.push(looping(
        "a list that grows in a loop",
        "self.map(a, self.map(b, self)).size() >= 0",
        list.clone(),
        json!(vec![1; 2_000]),
    ));
    trials.push(looping(
        "a string that doubles in a loop",
        "self.all(a, self.map(b, string(b) + string(a)).size() > 0)",
        list,
        json!(vec![1; 4_000]),
    ));
    trials
}

/// A rule of any depth is accepted or refused.
async fn nested(plane: &Plane, rule: &str) -> Outcome {
    let spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let schema = json!({"type": "object", "properties": {"spec": spec},
        "x-kubernetes-validations": [{"rule": rule, "message": "m"}]});
    let path = format!("{DEFINITIONS}?dryRun=All");
    let answer = plane.post(&path, &definition("nested", &schema)).await?;
    decided(&format!("a rule of {} bytes", rule.len()), &answer)?;
    if answer.status != 201 {
        return Ok(());
    }
    if define(plane, "nested", &schema).await? {
        let path = custom_path("nested");
        let object = custom_object("nested", "a", &json!({}));
        decided("the object", &plane.post(&path, &object).await?)?;
        undefine(plane, "nested").await?;
    }
    Ok(())
}

/// Several requests at once evaluate the rule; each is accepted or refused.
fn looping(what: &str, rule: &'static str, spec: Value, value: Value) -> Trial {
    Trial::new(format!("cel: {what}"), async move |plane: Shared| {
        let mut spec = spec;
        spec["x-kubernetes-validations"] = json!([{"rule": rule, "message": "m"}]);
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        if !define(&plane, "looping", &schema).await? {
            return Ok(());
        }
        let path = format!("{}?dryRun=All", custom_path("looping"));
        let object = custom_object("looping", "a", &value);
        let asked = (0..4).map(|_| plane.post(&path, &object));
        for answer in join_all(asked).await {
            decided("the object", &answer?)?;
        }
        undefine(&plane, "looping").await
    })
}
