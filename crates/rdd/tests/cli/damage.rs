//! A damaged, lost or reset database, through the real program.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use store::{IndexedStore, Options};
use testutils::Instance;

use crate::api::kubectl;
use crate::said::{SOON, instance, said, stderr};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str) -> String {
    let text = format!("the content of {name}");
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"a":"{text}"}}}}"#
    )
}

fn create(instance: &Instance, names: &[&str]) {
    for name in names {
        kubectl(instance, &["create", "-f", "-"], &config_map(name));
    }
}

/// The names of the config maps, from a list that must be valid JSON.
fn names(instance: &Instance) -> Vec<String> {
    let text = kubectl(instance, &["get", "--raw", MAPS], "");
    let list: Value = serde_json::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .filter(|name| name != "kube-root-ca.crt")
        .collect()
}

fn database(instance: &Instance) -> PathBuf {
    instance.dir().join("rdd.db")
}

/// Changes one byte of the last occurrence of a text in the database.
fn change_byte_of(instance: &Instance, text: &str) {
    let mut bytes = fs::read(database(instance)).unwrap();
    let at = bytes
        .windows(text.len())
        .rposition(|window| window == text.as_bytes())
        .unwrap();
    bytes[at + text.len() - 1] = b'"';
    fs::write(database(instance), bytes).unwrap();
}

#[test]
fn h49_changed_byte_leaves_lists_valid_and_is_named_restored_or_deleted() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    create(&instance, &["one", "two", "three"]);
    said(&instance, &["svc", "stop"]);
    // The periodic backup is a minute away.
    let store = IndexedStore::sqlite(&database(&instance), Options::default()).unwrap();
    store.back_up().unwrap().unwrap();
    drop(store);
    change_byte_of(&instance, "the content of one");
    change_byte_of(&instance, "the content of two");

    said(&instance, &["svc", "start"]);
    assert_eq!(names(&instance), ["three"]);
    let status = said(&instance, &["svc", "status"]).join("\n");
    for name in ["one", "two"] {
        let key = format!("/default/{name}");
        assert!(
            status.contains("damaged") && status.contains(&key),
            "{status}"
        );
    }
    let events = kubectl(
        &instance,
        &[
            "get",
            "events",
            "--namespace",
            "rdd-system",
            "--output=name",
        ],
        "",
    );
    assert_eq!(events.matches("damaged-row").count(), 2, "{events}");

    let listed = instance.rdd(&["svc", "check"]);
    assert!(!listed.status.success(), "a check that finds damage fails");
    let text = format!("{}{}", listed.text(), stderr(&listed));
    assert!(
        text.contains("damaged row 1") && text.contains("--restore"),
        "{text}"
    );
    let refused = instance.rdd_fails(&["svc", "check", "--restore", "99"], 1);
    assert!(refused.contains("no quarantined row 99"), "{refused}");
    instance.rdd_fails(&["svc", "check", "--restore", "1"], 1);
    assert_eq!(names(&instance), ["one", "three"]);
    // Without a daemon, too.
    said(&instance, &["svc", "stop"]);
    said(&instance, &["svc", "check", "--delete", "2"]);
    said(&instance, &["svc", "start"]);
    assert_eq!(names(&instance), ["one", "three"]);
    let status = said(&instance, &["svc", "status"]).join("\n");
    assert!(!status.contains("damaged"), "{status}");
    create(&instance, &["two"]);
}

#[test]
fn reset_ends_watches_from_before_with_410() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    create(&instance, &["one"]);
    let list = kubectl(&instance, &["get", "--raw", MAPS], "");
    let list: Value = serde_json::from_str(&list).unwrap();
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    said(&instance, &["svc", "reset"]);
    let path = format!("{MAPS}?watch=1&resourceVersion={revision}&timeoutSeconds=1");
    let seen = kubectl(&instance, &["get", "--raw", &path], "");
    assert!(seen.contains(r#""code":410"#), "{seen}");
}

#[test]
fn h48_lost_database_is_restored_from_its_backup() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    create(&instance, &["one"]);
    said(&instance, &["svc", "stop"]);
    let store = IndexedStore::sqlite(&database(&instance), Options::default()).unwrap();
    store.back_up().unwrap().unwrap();
    drop(store);
    fs::remove_file(database(&instance)).unwrap();
    said(&instance, &["svc", "start"]);
    assert_eq!(names(&instance), ["one"]);
    let log = fs::read_to_string(instance.log_dir().join("rdd.stderr.log")).unwrap();
    assert!(log.contains("restored from the backup"), "{log}");
}

/// Waits until the config maps have these names.
fn await_names(instance: &Instance, expected: &[&str]) {
    testutils::poll(SOON, "the config maps", || {
        let found = names(instance);
        if found == expected {
            Ok(())
        } else {
            Err(found.join(" "))
        }
    });
}

fn create_dependent(instance: &Instance, name: &str, owner: &str) {
    let uid = kubectl(
        instance,
        &[
            "get",
            "configmap",
            owner,
            "--output=jsonpath={.metadata.uid}",
        ],
        "",
    );
    let mut map: Value = serde_json::from_str(&config_map(name)).unwrap();
    map["metadata"]["ownerReferences"] = serde_json::json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid}
    ]);
    kubectl(instance, &["create", "-f", "-"], &map.to_string());
}

#[test]
fn dependents_of_a_damaged_owner_are_kept() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    create(&instance, &["damaged-owner", "other"]);
    create_dependent(&instance, "dependent", "damaged-owner");
    create_dependent(&instance, "second", "other");
    said(&instance, &["svc", "stop"]);
    change_byte_of(&instance, "the content of damaged-owner");
    said(&instance, &["svc", "start"]);
    assert_eq!(names(&instance), ["dependent", "other", "second"]);
    // The garbage collector works, and has looked at the older dependent before.
    kubectl(&instance, &["delete", "configmap", "other"], "");
    await_names(&instance, &["dependent"]);
}
