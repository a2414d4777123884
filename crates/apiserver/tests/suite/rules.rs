//! CEL rules: what they may cost, and when they are evaluated.

use http::Request;
use serde_json::{Value, json};

use crate::{
    bombs::{BOMBS, DEFINITIONS, beside, bomb, serving, with_spec},
    support::Api,
};

/// A rule on `spec`, which is a list of objects with a name.
fn ruled(rule: &str, limits: Value) -> Value {
    let mut spec = json!({
        "type": "array",
        "items": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 10}}},
        "x-kubernetes-validations": [{"rule": rule, "message": "broken"}],
    });
    for (field, value) in limits.as_object().unwrap() {
        spec[field] = value.clone();
    }
    with_spec(spec)
}

const UNIQUE: &str = "self.all(x, self.exists_one(y, y.name == x.name))";

#[tokio::test]
async fn rule_that_can_exceed_its_budget_is_refused_with_the_definition() {
    let api = Api::with(|config| config.crds.clear()).await;
    let text = api
        .post(DEFINITIONS, &ruled(UNIQUE, json!({})))
        .await
        .refused(422, "Invalid");
    assert!(
        text.contains("spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: \
                       estimated rule cost exceeds budget by factor of more than 100x"),
        "{text}"
    );
    for rule in [
        "self.all(a, self.all(b, self.all(c, a.name != b.name || b.name == c.name)))",
        "self.map(x, self).size() > 0 && self.all(x, self.all(y, true))",
    ] {
        api.post(DEFINITIONS, &ruled(rule, json!({})))
            .await
            .refused(422, "Invalid");
    }
    for (rule, limits) in [
        ("self.all(x, x.name != 'a')", json!({})),
        ("self.size() > 0", json!({})),
        (UNIQUE, json!({"maxItems": 100})),
    ] {
        api.post(&format!("{DEFINITIONS}?dryRun=All"), &ruled(rule, limits))
            .await
            .ok();
    }
}

// On one thread, so that other requests are answered only if the rule runs elsewhere.
#[tokio::test]
async fn rule_over_a_large_list_ends_within_its_budget_and_delays_no_other_client() {
    // At most 700 items: the estimate is below the limit, the evaluation above the budget of one call.
    let api = serving(&ruled(UNIQUE, json!({"maxItems": 700}))).await;
    let items: Vec<_> = (0..20).map(|n| json!({"name": n.to_string()})).collect();
    api.post(BOMBS, &bomb("small", items.into())).await.ok();
    let same = vec![json!({"name": "a"}); 2];
    let text = api
        .post(BOMBS, &bomb("same", same.into()))
        .await
        .refused(422, "Invalid");
    assert!(text.contains("broken"), "{text}");

    let items: Vec<_> = (0..700).map(|n| json!({"name": n.to_string()})).collect();
    let large = bomb("large", items.into());
    let service = api.server.service(apiserver::User::master("other"));
    let slow = async move {
        let request = Request::post(BOMBS).header("content-type", "application/json");
        crate::support::send(service, request, large.to_string()).await
    };
    let (answer, others) = beside(&api, slow).await;
    let text = answer.refused(422, "Invalid");
    assert!(
        text.contains("no further validation rules will be run"),
        "{text}"
    );
    assert!(others > 10, "{others}");
}

#[tokio::test]
async fn rule_texts_beyond_the_limits_of_the_parser_are_refused() {
    let api = Api::with(|config| config.crds.clear()).await;
    let repeated = |open: &str, middle: &str, close: &str| {
        [10, 38, 198, 390, 1000, 100_000]
            .map(|n| format!("{}{middle}{}", open.repeat(n), close.repeat(n)))
    };
    let rules = [
        repeated("(", "true", ")"),
        repeated("!", "true", ""),
        repeated("-", "1 == 1", ""),
        repeated("1+", "1 > 0", ""),
        repeated("true&&", "true", ""),
        repeated("false||", "true", ""),
        repeated("[", "", "]"),
        repeated("{1:", "1", "}"),
        repeated("true?", "true", ":true"),
        repeated("true?true:", "true", ""),
        repeated("size(", "'a'", ")"),
        repeated("[1].all(a,", "true", ")"),
        repeated("self[0", "", "]"),
        repeated("self", ".a", ""),
        repeated("'a'.size()", "", ".size()"),
        repeated("\"\"\"", "", ""),
        repeated("'\\", "", ""),
    ];
    for rule in rules.iter().flatten() {
        let answer = api
            .post(
                &format!("{DEFINITIONS}?dryRun=All"),
                &ruled(rule, json!({"maxItems": 3})),
            )
            .await;
        let start = &rule[..rule.len().min(30)];
        assert!(
            [201, 413, 422].contains(&answer.code),
            "{start}: {} {}",
            answer.code,
            answer.text
        );
    }
}

#[tokio::test]
async fn optional_old_self_rule_is_evaluated_without_an_old_value() {
    let rules = json!([
        {"rule": "oldSelf.hasValue() || self > 5", "optionalOldSelf": true, "message": "starts above five"},
        {"rule": "!oldSelf.hasValue() || self >= oldSelf.value()", "optionalOldSelf": true, "message": "only grows"},
        {"rule": "self != oldSelf + 1", "message": "never grows by one"},
    ]);
    let api = serving(&with_spec(
        json!({"type": "integer", "x-kubernetes-validations": rules}),
    ))
    .await;
    let path = format!("{BOMBS}/a");
    let text = api
        .post(BOMBS, &bomb("a", json!(3)))
        .await
        .refused(422, "Invalid");
    assert!(text.contains("starts above five"), "{text}");
    api.post(BOMBS, &bomb("a", json!(6))).await.ok();
    for (value, message) in [(2, "only grows"), (7, "never grows by one")] {
        let text = api
            .patch("merge", &path, &json!({"spec": value}))
            .await
            .refused(422, "Invalid");
        assert!(text.contains(message), "{text}");
    }
    api.patch("merge", &path, &json!({"spec": 9})).await.ok();
}

#[tokio::test]
async fn many_rules_share_the_budget_of_one_object() {
    let text = json!({"type": "string", "maxLength": 600_000});
    let schema = json!({
        "type": "object", "properties": {"a": text, "b": text},
        "x-kubernetes-validations": vec![json!({"rule": "self.a == self.b"}); 200],
    });
    let api = serving(&with_spec(schema)).await;
    let spec = |bytes: usize| json!({"a": "x".repeat(bytes), "b": "x".repeat(bytes)});
    let answer = api.post(BOMBS, &bomb("a", spec(600_000))).await;
    let text = answer.refused(422, "Invalid");
    assert!(text.contains("running out of cost budget"), "{text}");
    api.post(BOMBS, &bomb("b", spec(20_000))).await.ok();
}
