//! `--instance` and `RDD_INSTANCE`.

use crate::said::{instance, said};

fn named(args: &[&str]) -> String {
    let messages = said(&instance_named("ghost"), args);
    let name = messages[0].split('"').nth(1).unwrap();
    name.to_owned()
}

fn instance_named(name: &str) -> testutils::Instance {
    let mut instance = instance();
    instance.env("RDD_INSTANCE", name);
    instance
}

#[test]
fn flag_overrides_the_variable_and_the_variable_the_default() {
    assert_eq!(named(&["svc", "status"]), "rancher-desktop-ghost");
    assert_eq!(
        named(&["--instance", "vampire", "svc", "status"]),
        "rancher-desktop-vampire"
    );
    assert_eq!(
        named(&["--instance=vampire", "svc", "status"]),
        "rancher-desktop-vampire"
    );
    assert_eq!(
        named(&["--instance=", "svc", "status"]),
        "rancher-desktop-ghost"
    );
    let messages = said(&instance_named(""), &["svc", "status"]);
    assert!(
        messages[0].starts_with("\"rancher-desktop-2\""),
        "{messages:?}"
    );
}

#[test]
fn flag_is_accepted_directly_after_the_program_only() {
    let instance = instance();
    for args in [
        ["svc", "--instance", "vampire", "status"].as_slice(),
        &["svc", "status", "--instance", "vampire"],
        &["svc", "status", "--instance=vampire"],
        &["--log-level=info", "--instance", "vampire", "svc", "status"],
    ] {
        let error = instance.rdd_fails(args, 1);
        assert!(
            error.contains("unknown flag: --instance"),
            "{args:?}: {error}"
        );
    }
}

#[test]
fn name_that_leads_out_of_the_home_folder_is_refused() {
    for name in ["../x", "a/b", "..", "a b"] {
        let error = instance().rdd_fails(&[&format!("--instance={name}"), "svc", "delete"], 1);
        assert!(error.contains("invalid instance name"), "{name}: {error}");
    }
}
