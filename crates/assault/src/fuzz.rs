//! A mutation fuzzer: valid objects of every kind with odd values, by every verb.

use std::time::{Duration, Instant};

use fastrand::Rng;
use http::Method;
use serde_json::{Value, json};

use crate::plane::{
    CONFIG_MAPS, DEFINITIONS, JSON, JSON_PATCH, MERGE_PATCH, Plane, Shared, definition,
};
use crate::trial::{Outcome, Trial};

/// Failures that are listed; one is enough to fail.
const SHOWN: usize = 10;
/// Between two lists of all kinds, in requests.
const LISTED: u32 = 50;

/// Sends mutated requests for so long. The seed decides which.
pub(crate) fn trial(seed: u64, duration: Duration) -> Trial {
    let name = format!(
        "fuzz: mutated objects of every kind, {} s, seed {seed}",
        duration.as_secs()
    );
    Trial::new(name, async move |plane: Shared| {
        let mut fuzzer = Fuzzer {
            random: Rng::with_seed(seed),
            seeds: seeds(),
        };
        let answer = plane.post(DEFINITIONS, &fuzzer.seeds[0].1).await?;
        if answer.status != 201 {
            return Err(format!("the definition was refused: {}", answer.brief()));
        }
        fuzzer.run(&plane, duration).await
    })
}

struct Fuzzer {
    random: Rng,
    /// The collection's path and a valid object of it.
    seeds: Vec<(String, Value)>,
}

struct Sent {
    method: Method,
    path: String,
    content_type: &'static str,
    body: String,
}

impl Fuzzer {
    async fn run(&mut self, plane: &Plane, duration: Duration) -> Outcome {
        let mut failures = Vec::new();
        let end = Instant::now() + duration;
        let mut count = 0_u32;
        while Instant::now() < end && failures.len() < SHOWN {
            count += 1;
            let sent = self.request();
            let answer = plane
                .send(
                    sent.method.clone(),
                    &sent.path,
                    sent.content_type,
                    sent.body.clone().into_bytes(),
                )
                .await;
            match answer {
                Ok(answer) if answer.status < 500 => {}
                other => {
                    let seen = other.map_or_else(|error| error, |answer| answer.brief());
                    let body: String = sent.body.chars().take(400).collect();
                    failures.push(format!("{} {} {body}: {seen}", sent.method, sent.path));
                }
            }
            if count.is_multiple_of(LISTED) {
                for (path, _) in &self.seeds {
                    let listed = plane.get(path).await?;
                    // The fuzzer may have deleted the definition, and reviews have no list.
                    if !matches!(listed.status, 200 | 404 | 405) {
                        failures.push(format!("{path} cannot be listed: {}", listed.brief()));
                    }
                }
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures.join("\n       "))
        }
    }

    fn request(&mut self) -> Sent {
        let (collection, seed) = self.seeds[self.random.usize(..self.seeds.len())].clone();
        let name = seed["metadata"]["name"].as_str().unwrap_or("x");
        let one = format!("{collection}/{name}{}", self.pick(&["", "", "", "/status"]));
        let query = self.pick(&[
            "",
            "?dryRun=All",
            "?fieldValidation=Strict",
            "?dryRun=All&fieldValidation=Warn",
        ]);
        let (method, path, content_type, body) = match self.random.u8(..20) {
            0..8 => (Method::POST, collection, JSON, self.mutated(&seed)),
            8..12 => (Method::PUT, one, JSON, self.mutated(&seed)),
            12..15 => {
                let content_type = self.pick(&[
                    MERGE_PATCH,
                    "application/strategic-merge-patch+json",
                    "application/apply-patch+yaml",
                ]);
                (Method::PATCH, one, content_type, self.mutated(&seed))
            }
            15..18 => (Method::PATCH, one, JSON_PATCH, self.operations(&seed)),
            18 => {
                let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": self.odd(),
                    "propagationPolicy": self.pick(&["Foreground", "Background", "Orphan", "x"])});
                (Method::DELETE, one, JSON, options)
            }
            _ => (Method::POST, collection, JSON, seed),
        };
        Sent {
            method,
            path: format!("{path}{query}"),
            content_type,
            body: body.to_string(),
        }
    }

    /// The object with one to three changes at random places.
    fn mutated(&mut self, seed: &Value) -> Value {
        let mut object = seed.clone();
        for _ in 0..self.random.u8(1..4) {
            let pointers = pointers(&object);
            let pointer = self.pick(&pointers);
            let odd = self.odd();
            let key = self.pick(&[
                "x",
                "",
                "a/b",
                "default",
                "pattern",
                "$ref",
                "items",
                "additionalProperties",
                "format",
                "allOf",
                "deletionTimestamp",
                "managedFields",
                "resourceVersion",
                "uid",
                "generation",
                "ownerReferences",
            ]);
            let Some(place) = object.pointer_mut(&pointer) else {
                continue;
            };
            match place {
                Value::Object(fields) if self.random.bool() => {
                    drop(fields.insert(key.to_owned(), odd));
                }
                Value::Array(items) if self.random.bool() => items.push(odd),
                place => *place = odd,
            }
        }
        object
    }

    fn operations(&mut self, seed: &Value) -> Value {
        let pointers = pointers(seed);
        let operations = (0..self.random.u8(1..6)).map(|_| {
            json!({
                "op": self.pick(&["add", "remove", "replace", "move", "copy", "test"]),
                "path": if self.random.u8(..10) == 0 { self.pick(&["", "/", "//", "/-", "/spec/-", "/~2", "x"]).to_owned() } else { self.pick(&pointers) },
                "from": self.pick(&pointers),
                "value": self.odd(),
            })
        });
        Value::Array(operations.collect())
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.random.usize(..all.len())].clone()
    }

    /// A value that breaks assumptions.
    fn odd(&mut self) -> Value {
        let all = [
            Value::Null,
            json!(true),
            json!(0),
            json!(-1),
            json!(1_u64 << 31),
            json!(1_u64 << 53),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e308),
            json!(-0.0),
            json!(1.5),
            json!(""),
            json!("\u{0}"),
            json!("\u{202e}"),
            json!("é".repeat(300)),
            json!("a".repeat(100_000)),
            json!("../.."),
            json!("9".repeat(400)),
            json!("NaN"),
            json!("2026-13-45T99:99:99Z"),
            json!("99999999999h"),
            json!("1e9s"),
            json!([]),
            json!([[]]),
            json!({}),
            json!({"": ""}),
            json!([null]),
            json!(["a", "a"]),
            json!({"a": {"a": {"a": null}}}),
            json!([{}, {}]),
            json!("{{.Param.A}}"),
            json!("[?(@.a=="),
            json!("((("),
            json!("\\"),
            json!("^(a+)+$"),
            json!("self.x"),
            json!("1/0 == 1"),
            json!("{"),
            json!("[1,2].map(x,y)"),
        ];
        self.pick(&all)
    }
}

/// The JSON pointers of all places below the root but those that select the kind.
fn pointers(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    collect(object, "", &mut all);
    all.retain(|pointer| pointer != "/apiVersion" && pointer != "/kind");
    if all.is_empty() {
        all.push("/metadata".to_owned());
    }
    all
}

fn collect(value: &Value, pointer: &str, all: &mut Vec<String>) {
    let mut child = |key: &str, value: &Value| {
        let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        collect(value, &pointer, all);
        all.push(pointer);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| child(key, value)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, value)| child(&i.to_string(), value)),
        _ => {}
    }
}

/// Valid objects of every kind, the definition of the custom one first.
fn seeds() -> Vec<(String, Value)> {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "a": {"type": "array", "maxItems": 10, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string", "maxLength": 10}, "v": {"type": "integer", "minimum": 0}}}},
            "s": {"type": "string", "maxLength": 100, "pattern": "^a.*"},
            "io": {"x-kubernetes-int-or-string": true}, "n": {"type": "number", "multipleOf": 0.1}},
            "x-kubernetes-validations": [{"rule": "!has(self.s) || self.s.size() < 100", "message": "m"}]},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let mut defined = definition("fuzzed", &schema);
    defined["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    let core = |kind: &str, rest: Value| object("v1", kind, rest);
    let namespaced = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    vec![
        (DEFINITIONS.to_owned(), defined),
        (
            "/apis/assault.example/v1/fuzzed".to_owned(),
            object(
                "assault.example/v1",
                "Kfuzzed",
                json!({"spec": {"a": [{"k": "a", "v": 1}, {"k": "b"}], "s": "a", "io": "5", "n": 0.3}, "status": {"conditions": [{"type": "Ready"}]}}),
            ),
        ),
        (
            CONFIG_MAPS.to_owned(),
            core(
                "ConfigMap",
                json!({"data": {"k": "v"}, "binaryData": {"b": "AAAA"}, "immutable": false}),
            ),
        ),
        (
            namespaced("secrets"),
            core(
                "Secret",
                json!({"type": "Opaque", "data": {"k": "AAAA"}, "stringData": {"s": "t"}}),
            ),
        ),
        (
            "/api/v1/namespaces".to_owned(),
            core("Namespace", json!({"spec": {"finalizers": ["kubernetes"]}})),
        ),
        (
            namespaced("events"),
            core(
                "Event",
                json!({"involvedObject": {"kind": "ConfigMap", "name": "a", "namespace": "default"},
            "reason": "R", "message": "m", "type": "Normal", "count": 3, "firstTimestamp": "2026-01-01T00:00:00Z"}),
            ),
        ),
        (
            "/apis/events.k8s.io/v1/namespaces/default/events".to_owned(),
            object(
                "events.k8s.io/v1",
                "Event",
                json!({"regarding": {"kind": "ConfigMap", "name": "a", "namespace": "default"}, "reason": "R", "note": "m", "type": "Normal",
                "action": "a", "reportingController": "c/d", "reportingInstance": "i", "eventTime": "2026-01-01T00:00:00.000000Z"}),
            ),
        ),
        (
            "/apis/coordination.k8s.io/v1/namespaces/default/leases".to_owned(),
            object(
                "coordination.k8s.io/v1",
                "Lease",
                json!({"spec": {"holderIdentity": "h", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}}),
            ),
        ),
        (
            "/apis/lima.rancherdesktop.io/v1alpha1/namespaces/default/limavms".to_owned(),
            object(
                "lima.rancherdesktop.io/v1alpha1",
                "LimaVM",
                json!({"spec": {"templateRef": {"name": "tt", "namespace": "default"}, "running": false, "params": {"A": "b"}, "stop": {"gracePeriod": "30s"}}}),
            ),
        ),
        (
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
            object(
                "authorization.k8s.io/v1",
                "SelfSubjectAccessReview",
                json!({"spec": {"resourceAttributes": {"verb": "get"}}}),
            ),
        ),
    ]
}

fn object(api_version: &str, kind: &str, mut rest: Value) -> Value {
    rest["apiVersion"] = api_version.into();
    rest["kind"] = kind.into();
    rest["metadata"] = json!({"name": "fuzzed", "labels": {"a": "b"}, "annotations": {"x": "y"}, "finalizers": ["x.io/f"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "controller": true}]});
    rest
}
