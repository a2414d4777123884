//! Mutated requests for all kinds and verbs: none may cause a fault of the server, and what was stored stays readable.
//!
//! The requests come from a fixed seed, so a failure can be repeated. `RDD_FUZZ_SECONDS` makes the run longer and
//! `RDD_FUZZ_SEED` chooses another sequence.

use std::time::{Duration, Instant};

use http::Request;
use k8s_openapi::{
    List,
    api::{
        coordination::v1::Lease,
        core::v1::{ConfigMap, Event, Namespace, Secret, ServiceAccount},
        events::v1::Event as NewEvent,
    },
};
use serde_json::{Map, Value, json};

use crate::support::{Api, WIDGETS, widget, widgets};

/// How many requests the suite sends.
const REQUESTS: usize = 3000;
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A xorshift generator: the sequence only has to vary and to repeat.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Values that clients do not usually send.
fn odd_values() -> Vec<Value> {
    let numbers = [
        json!(0),
        json!(-1),
        json!(2_147_483_648_i64),
        json!(9_007_199_254_740_992_i64),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(-0.0),
        json!(3.0),
        json!(1.5),
    ];
    let texts = [
        "",
        "a",
        "\u{0}",
        "\u{202e}",
        "../..",
        "-1",
        "1e400",
        "NaN",
        "2026-13-45T99:99:99Z",
        "9999-12-31T23:59:59Z",
        "-009999-01-01T00:00:00Z",
        "99999999999999999999999h",
        "-5s",
        "1e9s",
        "$(id)",
        "{{.Param.A}}",
        "[?(@.a==",
        "['",
        "[999999999999999999999]",
        "(((",
        "\\",
        "^(a+)+$",
        "(a{1,1000}){1,1000}",
        "self.x",
        "1/0 == 1",
        "self",
        "{",
        "[1,2].map(x,y)",
        "self.all(x, self.all(y, x == y))",
        "'\\",
        "a in (",
        "metadata.name",
    ];
    let mut values: Vec<Value> = numbers.into();
    values.extend(texts.map(Value::from));
    values.extend([
        json!(null),
        json!(true),
        json!("é".repeat(300)),
        json!("a".repeat(100_000)),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"": ""}),
        json!([null]),
        json!(["a", "a"]),
        json!({"a": {"a": {"a": null}}}),
        json!(vec![json!({}); 50]),
        (0..90).fold(json!({}), |inner, _| json!({"x": inner})),
    ]);
    values
}

/// Fields that mean something to the server.
const FIELDS: [&str; 24] = [
    "",
    "a/b",
    "default",
    "nullable",
    "pattern",
    "enum",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
    "$ref",
    "$patch",
    "$retainKeys",
    "items",
    "additionalProperties",
    "format",
    "allOf",
    "deletionTimestamp",
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
];

/// A collection, and a valid object of it.
fn seeds() -> Vec<(String, Value)> {
    let namespaced = |path: &str| format!("/{path}");
    let of = |api_version: &str, kind: &str, rest: Value| {
        let mut object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "f"}});
        for (field, value) in rest.as_object().unwrap() {
            object[field] = value.clone();
        }
        object
    };
    let core = |plural: &str| namespaced(&format!("api/v1/namespaces/default/{plural}"));
    let about = json!({"kind": "ConfigMap", "name": "a", "namespace": "default"});
    let mut definition = widgets();
    definition["metadata"]["name"] = "fuzzed.example.com".into();
    definition["spec"]["names"] =
        json!({"plural": "fuzzed", "kind": "Fuzzed", "shortNames": ["fz"]});
    vec![
        (
            core("configmaps"),
            of(
                "v1",
                "ConfigMap",
                json!({
                    "metadata": {
                        "name": "f", "labels": {"a": "b"}, "annotations": {"x": "y"}, "finalizers": ["x.io/f"],
                        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "controller": true}],
                    },
                    "data": {"k": "v"}, "binaryData": {"b": "AAAA"}, "immutable": false,
                }),
            ),
        ),
        (
            core("secrets"),
            of(
                "v1",
                "Secret",
                json!({"type": "Opaque", "data": {"k": "AAAA"}, "stringData": {"s": "t"}}),
            ),
        ),
        (
            namespaced("api/v1/namespaces"),
            of(
                "v1",
                "Namespace",
                json!({"spec": {"finalizers": ["kubernetes"]}}),
            ),
        ),
        (
            core("serviceaccounts"),
            of("v1", "ServiceAccount", json!({"secrets": [{"name": "x"}]})),
        ),
        (
            core("events"),
            of(
                "v1",
                "Event",
                json!({
                    "involvedObject": about, "reason": "R", "message": "m", "type": "Normal", "count": 3,
                    "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
                }),
            ),
        ),
        (
            namespaced("apis/events.k8s.io/v1/namespaces/default/events"),
            of(
                "events.k8s.io/v1",
                "Event",
                json!({
                    "regarding": about, "reason": "R", "note": "m", "type": "Normal", "action": "a",
                    "reportingController": "c/d", "reportingInstance": "i", "eventTime": "2026-01-01T00:00:00.000000Z",
                }),
            ),
        ),
        (
            namespaced("apis/coordination.k8s.io/v1/namespaces/default/leases"),
            of(
                "coordination.k8s.io/v1",
                "Lease",
                json!({"spec": {
                    "holderIdentity": "h", "leaseDurationSeconds": 15, "leaseTransitions": 1,
                    "renewTime": "2026-01-01T00:00:00.000000Z", "acquireTime": "2026-01-01T00:00:00.000000Z",
                }}),
            ),
        ),
        (
            WIDGETS.into(),
            widget(
                "f",
                json!({
                    "mode": "fast", "size": 3, "port": "http", "params": {"a": "b"}, "range": {"low": 1, "high": 2},
                    "items": [{"name": "a", "value": "1"}], "when": "2026-01-01T00:00:00Z", "free": {"any": [1]},
                }),
            ),
        ),
        (DEFINITIONS.into(), definition),
        (
            namespaced("apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
            json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {"verb": "get"}},
            }),
        ),
    ]
}

/// JSON pointers to all parts of a value.
fn pointers(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| (escaped(k), v)).collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        _ => Vec::new(),
    };
    for (key, part) in parts {
        all.extend(
            pointers(part)
                .into_iter()
                .map(|rest| format!("/{key}{rest}")),
        );
    }
    all
}

fn mutated(random: &mut Random, object: &Value, odd: &[Value]) -> Value {
    let mut object = object.clone();
    for _ in 0..1 + random.below(3) {
        let pointers = pointers(&object);
        let pointer = random.pick(&pointers).clone();
        let Some(part) = object.pointer_mut(&pointer) else {
            continue;
        };
        match (random.below(10), part) {
            (0..6, part) if !pointer.is_empty() => *part = random.pick(odd).clone(),
            (6..8, Value::Object(map)) if !map.is_empty() => {
                let keys: Vec<String> = map.keys().cloned().collect();
                map.remove(random.pick(&keys));
            }
            (_, Value::Object(map)) => {
                map.insert((*random.pick(&FIELDS)).into(), random.pick(odd).clone());
            }
            (_, Value::Array(list)) => list.push(random.pick(odd).clone()),
            _ => {}
        }
    }
    object
}

fn operations(random: &mut Random, object: &Value, odd: &[Value]) -> Value {
    let mut pointers = pointers(object);
    pointers.extend(
        [
            "/",
            "//",
            "/-",
            "/spec/-",
            "/metadata/annotations/~2",
            "x",
            "/data/k/k",
        ]
        .map(Into::into),
    );
    let count = 1 + random.below(5);
    let operations = (0..count).map(|_| {
        json!({
            "op": *random.pick(&["add", "remove", "replace", "move", "copy", "test", "odd"]),
            "path": random.pick(&pointers), "from": random.pick(&pointers), "value": random.pick(odd),
        })
    });
    operations.collect()
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The method, path, media type and body of the next request.
fn request(
    random: &mut Random,
    seeds: &[(String, Value)],
    odd: &[Value],
) -> (&'static str, String, &'static str, String) {
    const JSON: &str = "application/json";
    let (collection, object) = random.pick(seeds);
    let options = *random.pick(&[
        "",
        "?dryRun=All",
        "?fieldValidation=Strict",
        "?dryRun=All&fieldValidation=Warn",
    ]);
    let name = object["metadata"]["name"].as_str().unwrap_or("x");
    let named = format!("{collection}/{name}");
    match random.below(20) {
        0 => (
            "POST",
            format!("{collection}{options}"),
            JSON,
            object.to_string(),
        ),
        1..8 => {
            let body = mutated(random, object, odd);
            (
                "POST",
                format!("{collection}{options}"),
                JSON,
                body.to_string(),
            )
        }
        8..11 => {
            let part = *random.pick(&["", "/status", "/finalize"]);
            let body = mutated(random, object, odd);
            (
                "PUT",
                format!("{named}{part}{options}"),
                JSON,
                body.to_string(),
            )
        }
        11..14 => {
            let media_type = *random.pick(&[
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
            ]);
            let body = mutated(random, object, odd);
            (
                "PATCH",
                format!("{named}{options}"),
                media_type,
                body.to_string(),
            )
        }
        14..17 => {
            let body = operations(random, object, odd);
            (
                "PATCH",
                format!("{named}{options}"),
                "application/json-patch+json",
                body.to_string(),
            )
        }
        17 => {
            let mut body = Map::new();
            for field in [
                "gracePeriodSeconds",
                "propagationPolicy",
                "preconditions",
                "dryRun",
                "orphanDependents",
            ] {
                if random.below(2) == 0 {
                    body.insert(field.into(), random.pick(odd).clone());
                }
            }
            (
                "DELETE",
                format!("{named}{options}"),
                JSON,
                Value::Object(body).to_string(),
            )
        }
        18 => {
            // Cut and changed bytes.
            let mut body = object.to_string().into_bytes();
            let at = random.below(body.len());
            body[at] = random.next() as u8;
            body.truncate(body.len() - random.below(3));
            let media_type = *random.pick(&[
                JSON,
                "application/vnd.kubernetes.protobuf",
                "application/yaml",
                "x",
            ]);
            let body = String::from_utf8_lossy(&body).into_owned();
            ("POST", format!("{collection}{options}"), media_type, body)
        }
        _ => {
            let parameter = *random.pick(&[
                "labelSelector",
                "fieldSelector",
                "limit",
                "continue",
                "resourceVersionMatch",
                "includeObject",
                "pretty",
            ]);
            let value = random.pick(odd).to_string();
            let value: String = value.chars().take(500).collect();
            let path = format!(
                "{collection}?{parameter}={}",
                encoded(value.trim_matches('"'))
            );
            ("GET", path, JSON, String::new())
        }
    }
}

/// Whether a typed client can read a collection.
async fn assert_readable<T>(api: &Api, path: &str)
where
    T: serde::de::DeserializeOwned + k8s_openapi::ListableResource,
{
    let answer = api.get(path).await;
    assert_eq!(answer.code, 200, "{path}");
    if let Err(error) = serde_json::from_str::<List<T>>(&answer.text) {
        panic!("{path} cannot be read by a typed client: {error}");
    }
}

#[tokio::test]
async fn mutated_requests_cause_no_fault_and_leave_every_kind_readable() {
    let setting = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u64>().ok())
    };
    let seed = setting("RDD_FUZZ_SEED").unwrap_or(1).max(1);
    let long =
        setting("RDD_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (seeds, odd) = (seeds(), odd_values());
    let api = Api::start().await;
    let mut sent = 0;
    while long.map_or(sent < REQUESTS, |end| Instant::now() < end) {
        let (method, path, media_type, body) = request(&mut random, &seeds, &odd);
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .header("content-type", media_type);
        let accept = *random.pick(&[
            "application/json",
            "application/json;as=Table;g=meta.k8s.io;v=v1,application/json",
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
        ]);
        let answer = api
            .send(request.header("accept", accept), body.clone())
            .await;
        let start: String = body.chars().take(2000).collect();
        // 504: a resource version that does not exist yet, or a request that reached its time limit.
        assert!(
            answer.code < 500 || answer.code == 504,
            "request {sent} of seed {seed}: {method} {path} {media_type} {start}\n{} {}",
            answer.code,
            answer.text
        );
        serde_json::from_str::<Value>(&answer.text).expect(&path);
        sent += 1;
    }
    assert_eq!(api.get("/readyz").await.code, 200);
    let in_default = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    assert_readable::<ConfigMap>(&api, &in_default("configmaps")).await;
    assert_readable::<Secret>(&api, &in_default("secrets")).await;
    assert_readable::<ServiceAccount>(&api, &in_default("serviceaccounts")).await;
    assert_readable::<Namespace>(&api, "/api/v1/namespaces").await;
    assert_readable::<Event>(&api, &in_default("events")).await;
    assert_readable::<NewEvent>(&api, "/apis/events.k8s.io/v1/namespaces/default/events").await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    assert_readable::<Lease>(&api, leases).await;
    api.get(WIDGETS).await.ok();
    api.get(DEFINITIONS).await.ok();
}
