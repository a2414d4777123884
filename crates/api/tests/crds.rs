//! The generated CRDs: the files are current, and what other programs rely on is in them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;

use api::{crds, crds::crd_files};
use serde_json::{Value, json};

/// `UPDATE_EXPECT=1 cargo test -p api` writes the files, as `cargo xtask generate` does.
#[test]
fn files_match_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    for file in crd_files().unwrap() {
        let path = folder.join(&file.name);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &file.text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            found,
            file.text,
            "{} is not current: run `cargo xtask generate`",
            path.display()
        );
    }
}

fn limavm() -> Value {
    let crd = crds()
        .into_iter()
        .find(|crd| crd.spec.names.kind == "LimaVM")
        .unwrap();
    serde_json::to_value(crd).unwrap()
}

#[test]
fn limavm_has_the_documented_interface() {
    let crd = limavm();
    assert_eq!(crd["metadata"]["name"], "limavms.lima.rancherdesktop.io");
    assert_eq!(crd["spec"]["scope"], "Namespaced");
    assert_eq!(crd["spec"]["names"]["categories"], json!(["all"]));
    let version = &crd["spec"]["versions"][0];
    assert_eq!(version["name"], "v1alpha1");
    assert_eq!(version["subresources"], json!({ "status": {} }));
    assert_eq!(
        version["additionalPrinterColumns"],
        json!([{ "name": "Running", "type": "boolean", "jsonPath": ".spec.running" }])
    );
    let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
    assert_eq!(spec["required"], json!(["templateRef"]));
    assert_eq!(spec["properties"]["running"]["default"], false);
    assert_eq!(
        spec["properties"]["templateRef"]["x-kubernetes-validations"],
        json!([{ "rule": "self == oldSelf", "message": "templateRef is immutable" }])
    );
    assert_eq!(
        spec["properties"]["params"]["additionalProperties"]["type"],
        "string"
    );
    let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    assert_eq!(status["conditions"]["x-kubernetes-list-type"], "map");
    assert_eq!(
        status["conditions"]["x-kubernetes-list-map-keys"],
        json!(["type"])
    );
}

#[test]
fn every_field_has_a_description_and_the_schema_is_structural() {
    fn walk(schema: &Value, path: &str) {
        for forbidden in ["$ref", "definitions", "$schema"] {
            assert!(schema.get(forbidden).is_none(), "{path} has {forbidden}");
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(property["type"].is_string(), "{path} has no type");
            assert!(
                property["description"].is_string(),
                "{path} has no description"
            );
            walk(property, &path);
        }
        for key in ["items", "additionalProperties"] {
            if schema[key].is_object() {
                walk(&schema[key], &format!("{path}.{key}"));
            }
        }
    }
    let crd = limavm();
    walk(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "");
}

#[test]
fn grace_period_must_be_a_duration() {
    let with = |text: &str| -> Option<std::time::Duration> {
        let vm: api::LimaVM = serde_json::from_value(json!({
            "apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM", "metadata": { "name": "a" },
            "spec": { "templateRef": { "name": "t" }, "stop": { "gracePeriod": text } },
        }))
        .unwrap();
        vm.grace_period()
    };
    for (text, millis) in [
        ("30s", 30_000),
        ("5m", 300_000),
        ("1m30s", 90_000),
        ("500ms", 500),
        ("0s", 0),
    ] {
        assert_eq!(
            with(text),
            Some(std::time::Duration::from_millis(millis)),
            "{text}"
        );
    }
    for text in ["", "soon", "5", "-3s"] {
        assert_eq!(with(text), None, "{text}");
    }
}
