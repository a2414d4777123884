//! No single request crashes the server, keeps it busy, or stores what cannot be read again.

use std::sync::Arc;

use http::Request;
use serde_json::{Value, json};

use crate::{
    bombs::{BOMBS, DEFINITIONS, beside, bomb, free, serving, with_spec},
    support::{Answer, Api, CONFIG_MAPS, WIDGETS, config_map, widget},
};

fn nested(levels: usize) -> Value {
    (1..levels).fold(json!(1), |inner, _| json!([inner]))
}

async fn patched(api: &Api, path: &str, operations: &[Value]) -> Answer {
    api.patch("json", path, &json!(operations)).await
}

#[tokio::test]
async fn json_patch_neither_nests_nor_multiplies_an_object_beyond_the_limits() {
    let api = serving(&free()).await;
    api.post(BOMBS, &bomb("a", json!({"y": "z".repeat(1000)})))
        .await
        .ok();
    let path = format!("{BOMBS}/a");
    let copy = |n: usize| json!({"op": "copy", "from": "/spec", "path": format!("/spec/x{n}")});

    let nest = vec![json!({"op": "copy", "from": "/spec", "path": "/spec/x"}); 9000];
    assert!([400, 413].contains(&patched(&api, &path, &nest).await.code));
    let double: Vec<_> = (0..40).map(copy).collect();
    patched(&api, &path, &double)
        .await
        .refused(413, "RequestEntityTooLarge");
    let too_many = vec![json!({"op": "test", "path": "/kind", "value": "Bomb"}); 10_001];
    let text = patched(&api, &path, &too_many)
        .await
        .refused(413, "RequestEntityTooLarge");
    assert!(text.contains("10000"), "{text}");

    // Moves that put what has grown so far at the end of a chain.
    let chain = (0..60).fold(json!({}), |inner, _| json!({"x": inner}));
    let mut moves = vec![json!({"op": "add", "path": "/spec/a", "value": {}})];
    for _ in 0..400 {
        moves.push(json!({"op": "add", "path": "/spec/b", "value": chain}));
        let end = format!("/spec/b{}", "/x".repeat(60));
        moves.push(json!({"op": "move", "from": "/spec/a", "path": end}));
        moves.push(json!({"op": "move", "from": "/spec/b", "path": "/spec/a"}));
    }
    patched(&api, &path, &moves)
        .await
        .refused(400, "BadRequest");
    let dry = "/api/v1/namespaces/default?dryRun=All";
    assert!(patched(&api, dry, &moves).await.code < 500);

    api.get(&path).await.ok();
    api.delete(&path).await.ok();
}

#[tokio::test]
async fn objects_are_limited_in_depth_and_size_whatever_way_they_come() {
    let api = serving(&free()).await;
    let path = format!("{BOMBS}/a");
    // The object, `spec` and 98 lists and numbers have 100 levels.
    api.post(BOMBS, &bomb("a", json!({"d": nested(98)})))
        .await
        .ok();
    api.post(BOMBS, &bomb("b", json!({"d": nested(99)})))
        .await
        .refused(400, "BadRequest");
    let deeper = json!({"spec": {"d": nested(99)}});
    api.patch("merge", &path, &deeper)
        .await
        .refused(400, "BadRequest");
    let add = json!({"op": "add", "path": "/spec/d", "value": nested(99)});
    patched(&api, &path, &[add])
        .await
        .refused(400, "BadRequest");
    let strategic = json!({"metadata": {"annotations": nested(99)}});
    api.patch("strategic-merge", "/api/v1/namespaces/default", &strategic)
        .await
        .refused(400, "BadRequest");
    api.get(&path).await.ok();

    let large = "x".repeat(1 << 20);
    let spec = json!({"a": large, "b": large});
    api.post(BOMBS, &bomb("b", spec.clone()))
        .await
        .refused(413, "RequestEntityTooLarge");
    api.patch("merge", &path, &json!({"spec": spec}))
        .await
        .refused(413, "RequestEntityTooLarge");
    let half = json!({"spec": {"a": large}});
    api.patch("merge", &path, &half).await.ok();
    let other = json!({"spec": {"b": large}});
    api.patch("merge", &path, &other)
        .await
        .refused(413, "RequestEntityTooLarge");
    api.patch("merge", &path, &json!({"metadata": {"labels": {"a": "b"}}}))
        .await
        .ok();
}

#[tokio::test]
async fn body_that_would_take_too_much_memory_is_refused() {
    let api = serving(&free()).await;
    let maps = vec![json!({"k": 1}); 150_000];
    let answer = api.post(BOMBS, &bomb("a", json!({"l": maps}))).await;
    let text = answer.refused(413, "RequestEntityTooLarge");
    assert!(text.contains("memory"), "{text}");
    api.post(BOMBS, &bomb("a", json!({"l": maps[..10_000]})))
        .await
        .ok();
    // Copies of a small part take memory as well.
    let copies: Vec<_> = (0..20)
        .map(|n| json!({"op": "copy", "from": "/spec/l", "path": format!("/spec/l{n}")}))
        .collect();
    patched(&api, &format!("{BOMBS}/a"), &copies)
        .await
        .refused(413, "RequestEntityTooLarge");
}

#[tokio::test]
async fn table_of_large_objects_is_bounded_and_delays_no_other_client() {
    let mut definition = free();
    let columns: Vec<_> = (0..120)
        .map(|n| json!({"name": format!("C{n}"), "type": "string", "jsonPath": ".spec"}))
        .collect();
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = columns.into();
    let api = serving(&definition).await;
    for n in 0..4 {
        let spec = json!({"l": vec!["x".repeat(100); 5000]});
        api.post(BOMBS, &bomb(&format!("b{n}"), spec)).await.ok();
    }
    let service = api.server.service(apiserver::User::master("other"));
    let list = async move {
        let request =
            Request::get(BOMBS).header("accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
        crate::support::send(service, request, "").await
    };
    let (answer, others) = beside(&api, list).await;
    let rows = answer.ok()["rows"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 4);
    assert_eq!(rows[0]["cells"].as_array().unwrap().len(), 100);
    assert!(answer.text.len() < 1_000_000, "{} bytes", answer.text.len());
    assert!(others > 2, "{others}");
}

#[tokio::test]
async fn defaults_cannot_make_an_object_larger_than_the_limit() {
    let items = json!({"type": "object", "properties": {"d": {"type": "string", "default": "D".repeat(100_000)}}});
    let api = serving(&with_spec(json!({"type": "array", "items": items}))).await;
    api.post(BOMBS, &bomb("a", json!([{}, {}]))).await.ok();
    let many = vec![json!({}); 20_000];
    let text = api
        .post(BOMBS, &bomb("b", many.into()))
        .await
        .refused(413, "RequestEntityTooLarge");
    assert!(text.contains("defaults"), "{text}");
}

/// Stores an object past the API, as an older version could have.
async fn store_deep(api: &Api, prefix: &str, name: &str, head: &Value) {
    let open = "{\"x\":".repeat(200);
    let close = "}".repeat(200);
    let head = head.to_string();
    let before = format!(
        "{},\"metadata\":{{\"name\":\"{name}\",\"uid\":\"u-{name}\",\"finalizers\":[\"example.com/held\"],\"resourceVersion\":\"",
        head.trim_end_matches('}')
    );
    let key = format!("{prefix}{name}");
    let expect = match api.store.get(&key) {
        Some(entry) => store::Expect::At(entry.revision),
        None => store::Expect::Absent,
    };
    let write = store::Write::Put {
        key,
        expect,
        value: store::Value {
            before: before.into(),
            after: Some(format!("\"}},\"spec\":{open}1{close}}}").into()),
        },
        ttl: None,
        urgent: false,
    };
    api.store.write(write).await.unwrap();
}

#[tokio::test]
async fn stored_object_that_cannot_be_decoded_is_listed_and_deleted_and_holds_up_no_other() {
    let api = serving(&free()).await;
    let head = json!({"apiVersion": "x.io/v1", "kind": "Bomb"});
    store_deep(&api, "/registry/x.io/bombs/", "deep", &head).await;
    api.post(BOMBS, &bomb("plain", json!({}))).await.ok();

    let table =
        Request::get(BOMBS).header("accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
    let rows = api.send(table, "").await.ok()["rows"].clone();
    assert_eq!(rows[0]["cells"][0], "deep");
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let partial = Request::get(BOMBS).header(
        "accept",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    );
    assert_eq!(
        api.send(partial, "").await.ok()["items"][0]["metadata"]["name"],
        "deep"
    );
    assert_eq!(api.get(BOMBS).await.code, 200);

    let text = api
        .patch("merge", &format!("{BOMBS}/deep"), &json!({"spec": null}))
        .await
        .refused(500, "InternalError");
    assert!(
        text.contains("/registry/x.io/bombs/deep cannot be decoded"),
        "{text}"
    );
    let wrong = json!({"preconditions": {"uid": "other"}});
    api.delete_with(&format!("{BOMBS}/deep"), &wrong)
        .await
        .refused(409, "Conflict");
    api.delete(&format!("{BOMBS}/deep")).await.ok();
    api.get(&format!("{BOMBS}/deep"))
        .await
        .refused(404, "NotFound");

    // The definition goes although one of its objects cannot be decoded, and others go beside a bad definition.
    store_deep(&api, "/registry/x.io/bombs/", "deep", &head).await;
    let head = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"});
    let prefix = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
    store_deep(&api, prefix, "a.bad.io", &head).await;
    api.delete(&format!("{DEFINITIONS}/bombs.x.io")).await.ok();
    api.wait_gone(&format!("{DEFINITIONS}/bombs.x.io")).await;

    api.server.shutdown().await;
    let again = Api::over(Arc::clone(&api.store), |config| config.crds.clear()).await;
    again.get("/readyz").await;
    assert_eq!(again.get("/readyz").await.code, 200);
    again.delete(&format!("{DEFINITIONS}/a.bad.io")).await.ok();
}

#[tokio::test]
async fn definition_of_the_server_that_cannot_be_decoded_is_replaced_at_start() {
    let api = Api::start().await;
    api.post(WIDGETS, &widget("a", json!({}))).await.ok();
    api.server.shutdown().await;
    let head = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"});
    let prefix = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
    store_deep(&api, prefix, "widgets.example.com", &head).await;
    let again = Api::over(Arc::clone(&api.store), |_| {}).await;
    again.get(&format!("{WIDGETS}/a")).await.ok();
    again.post(WIDGETS, &widget("b", json!({}))).await.ok();
}

#[tokio::test]
async fn checks_of_large_lists_take_linear_time() {
    let all = [
        (
            json!({"type": "array", "uniqueItems": true, "items": {"type": "integer"}}),
            (0..100_000).map(Value::from).collect::<Value>(),
            201,
        ),
        (
            json!({"type": "array", "items": {"type": "string",
                "enum": (0..50_000).map(|n| n.to_string()).collect::<Vec<_>>()}}),
            vec!["49999"; 50_000].into(),
            201,
        ),
        (
            json!({"type": "array", "items": {"type": "string",
                "enum": (0..20_000).map(|n| format!("eeeeeeeeeeeeeeeeeeee{n}")).collect::<Vec<_>>()}}),
            vec!["x"; 1000].into(),
            422,
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "integer"}}}}),
            (0..60_000).map(|k| json!({"k": k})).collect::<Value>(),
            201,
        ),
        (
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "allOf": (0..200).map(|n| json!({"minProperties": 100 + n})).collect::<Vec<_>>()}),
            json!({"big": "x".repeat(1_400_000)}),
            422,
        ),
    ];
    for (schema, spec, code) in all {
        let api = serving(&with_spec(schema)).await;
        // A quadratic check exceeds the time limit of the compute pool, which is a 504.
        let answer = api.post(BOMBS, &bomb("a", spec)).await;
        assert_eq!(
            answer.code,
            code,
            "{}",
            &answer.text[..answer.text.len().min(300)]
        );
        assert!(
            code == 201 || answer.text.len() < 300_000,
            "{} bytes",
            answer.text.len()
        );
    }
}

#[tokio::test]
async fn validation_with_too_many_steps_is_refused() {
    let alternatives = (0..12).fold(
        json!({"minimum": 5}),
        |inner, _| json!({"anyOf": [inner, inner]}),
    );
    // Each item tries all alternatives, of which the last one holds.
    let items = json!({"type": "integer", "anyOf": [alternatives, {}]});
    let api = serving(&with_spec(json!({"type": "array", "items": items}))).await;
    let answer = api.post(BOMBS, &bomb("a", vec![1; 100_000].into())).await;
    // A slow machine reaches the time limit before the limit of the steps.
    assert!([413, 504].contains(&answer.code), "{}", answer.code);
    let text = answer.json()["message"].to_string();
    assert!(text.contains("steps") || text.contains("seconds"), "{text}");
}

#[tokio::test]
async fn paths_of_long_keys_cost_no_more_than_the_object() {
    let api = serving(&free()).await;
    let long = "k".repeat(10_000);
    let spine = (0..60).fold(
        json!(vec![0; 200_000]),
        |inner, _| json!({long.clone(): inner}),
    );
    assert!(api.post(BOMBS, &bomb("a", spine)).await.code < 500);
}

#[tokio::test]
async fn regular_expressions_of_a_definition_are_bounded_together() {
    let property = |pattern: String| json!({"type": "string", "pattern": pattern});
    let pattern = |n: usize| property(format!("^{n}.{{300}}$"));
    let many = |count: usize| {
        let properties = (0..count).map(|n| (format!("p{n}"), pattern(n)));
        with_spec(
            json!({"type": "object", "properties": properties.collect::<serde_json::Map<_, _>>()}),
        )
    };
    let api = serving(&many(20)).await;
    api.post(BOMBS, &bomb("a", json!({"p3": "x"})))
        .await
        .refused(422, "Invalid");
    api.delete(&format!("{DEFINITIONS}/bombs.x.io")).await.ok();
    api.wait_gone(&format!("{DEFINITIONS}/bombs.x.io")).await;
    let text = api
        .post(DEFINITIONS, &many(200))
        .await
        .refused(422, "Invalid");
    assert!(text.contains("regular expressions of the schema"), "{text}");
    let one = with_spec(property("((a{1,100}){1,100}){1,100}".into()));
    let text = api.post(DEFINITIONS, &one).await.refused(422, "Invalid");
    assert!(text.contains("size limit"), "{text}");
}

#[tokio::test]
async fn schemas_are_bounded_in_depth_and_number() {
    let api = Api::with(|config| config.crds.clear()).await;
    let deep = (0..80).fold(
        json!({"type": "string"}),
        |inner, _| json!({"type": "array", "items": inner}),
    );
    api.post(DEFINITIONS, &with_spec(deep)).await;
    let deep = (0..70).fold(json!({"type": "string"}), |inner, _| json!({"not": inner}));
    let text = api
        .post(
            DEFINITIONS,
            &with_spec(json!({"type": "string", "not": deep})),
        )
        .await;
    text.refused(422, "Invalid");
    let wide: Vec<_> = (0..60_000).map(|_| json!({})).collect();
    let text = api
        .post(
            DEFINITIONS,
            &with_spec(json!({"type": "string", "anyOf": wide})),
        )
        .await
        .refused(422, "Invalid");
    assert!(text.contains("parts"), "{text}");
}

#[tokio::test]
async fn integers_are_stored_in_one_form_and_within_the_range_of_their_format() {
    let properties = json!({
        "small": {"type": "integer", "format": "int32"},
        "big": {"type": "integer", "format": "int64"},
        "plain": {"type": "integer", "default": 2.0},
        "either": {"x-kubernetes-int-or-string": true},
        "real": {"type": "number"},
    });
    let api = serving(&with_spec(
        json!({"type": "object", "properties": properties}),
    ))
    .await;
    let spec = json!({"small": 3.0, "big": 9.0e15, "either": 80.0, "real": 1.0});
    let answer = api.post(BOMBS, &bomb("a", spec)).await;
    let made = answer.ok()["spec"].clone();
    for field in ["small", "big", "plain", "either"] {
        assert!(made[field].is_i64(), "{field}: {}", made[field]);
    }
    let path = format!("{BOMBS}/a");
    for (field, value) in [
        ("small", json!(2_147_483_648_i64)),
        ("small", json!(-2_147_483_649_i64)),
        ("small", json!(2_147_483_648.0)),
        ("small", json!(1.5)),
        ("big", json!(9_223_372_036_854_775_808_u64)),
        ("big", json!(1e300)),
        ("either", json!(1.5)),
    ] {
        let text = api
            .patch("merge", &path, &json!({"spec": {field: value}}))
            .await
            .refused(422, "Invalid");
        assert!(text.contains(&format!("spec.{field}")), "{text}");
    }
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "ConfigMap", "name": "a", "namespace": "default"}, "count": 2_147_483_648_i64,
    });
    api.post("/api/v1/namespaces/default/events", &event)
        .await
        .refused(400, "BadRequest");
}

#[tokio::test]
async fn values_of_the_wrong_type_are_refused_and_never_panic() {
    let api = Api::start().await;
    api.post(CONFIG_MAPS, &config_map("pp", json!({"k": "v"})))
        .await
        .ok();
    let of = |kind: &str, name: &str, field: &str, value: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: value});
    let mut secret = of("Secret", "f", "data", json!("x"));
    secret["stringData"] = json!({"s": "t"});
    let crd = |spec: Value| {
        let mut crd = of("CustomResourceDefinition", "a.b", "spec", spec);
        crd["apiVersion"] = "apiextensions.k8s.io/v1".into();
        crd
    };
    for (path, body) in [
        ("/api/v1/namespaces/default/secrets", secret),
        (
            "/api/v1/namespaces",
            of("Namespace", "n", "spec", json!("x")),
        ),
        (
            "/api/v1/namespaces",
            of("Namespace", "n", "spec", json!([])),
        ),
        (DEFINITIONS, crd(json!("x"))),
        (DEFINITIONS, crd(json!({"names": "x"}))),
        (DEFINITIONS, crd(json!({"names": []}))),
        (DEFINITIONS, crd(json!({"versions": [1]}))),
        (
            CONFIG_MAPS,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": "x"}),
        ),
        (CONFIG_MAPS, json!("x")),
        (CONFIG_MAPS, json!([])),
    ] {
        let answer = api.post(path, &body).await;
        assert!(
            (400..500).contains(&answer.code),
            "{body}: {} {}",
            answer.code,
            answer.text
        );
    }
    let path = format!("{CONFIG_MAPS}/pp");
    for patch in [
        json!([{"op": "move", "from": "/data/k", "path": "/data"}, {"op": "test", "path": "/x", "value": 1}]),
        json!([{"op": "add", "path": "/data/n", "value": "1"}, {"op": "move", "from": "/data", "path": "/data/k"}]),
        json!([{"op": "replace", "path": "/metadata", "value": "x"}]),
        json!([{"op": "replace", "path": "", "value": []}]),
        json!([{"op": "remove", "path": ""}]),
    ] {
        let answer = api.patch("json", &path, &patch).await;
        assert!(
            (400..500).contains(&answer.code),
            "{patch}: {} {}",
            answer.code,
            answer.text
        );
    }
    let finalize = of("Namespace", "default", "spec", json!("x"));
    assert!(
        api.put("/api/v1/namespaces/default/finalize", &finalize)
            .await
            .code
            < 500
    );
    assert!(
        api.delete_with(&format!("{CONFIG_MAPS}/zz"), &json!([1]))
            .await
            .code
            < 500
    );
}
