//! VM folders that belong to no LimaVM.

use crate::api::kubectl;
use crate::limavm::template;
use crate::said::{instance, said};

#[test]
fn stray_folder_is_listed_and_deleted() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let folder = instance.lima_home().join("stray");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("lima.yaml"), "images: []\n").unwrap();
    let list = instance.rdd_ok(&["limavm", "list"]);
    let row = list.lines().find(|line| line.starts_with("stray")).unwrap();
    assert!(row.contains("Orphaned"), "{list}");
    said(&instance, &["limavm", "delete", "stray"]);
    assert!(!folder.exists());
    let error = instance.rdd_fails(&["limavm", "delete", "stray"], 1);
    assert!(error.contains("not found in any namespace"), "{error}");
    let error = instance.rdd_fails(&["limavm", "adopt", "stray"], 1);
    assert!(error.contains("there is no VM folder"), "{error}");
    said(&instance, &["svc", "delete"]);
}

#[test]
fn vm_whose_object_was_removed_by_hand_is_adopted_on_request() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let template = template(&instance);
    said(&instance, &["limavm", "create", "web", &template]);
    let record = instance.lima_home().join("web").join("owner.json");
    testutils::poll(crate::said::SOON, "the record of the VM", || {
        std::fs::metadata(&record).map(|_| ())
    });
    let error = instance.rdd_fails(&["limavm", "adopt", "web"], 1);
    assert!(error.contains("exists in namespace"), "{error}");
    said(&instance, &["svc", "stop"]);
    said(&instance, &["svc", "start", "--controllers="]);
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    for object in ["limavm/web", "configmap/web-template"] {
        kubectl(
            &instance,
            &["patch", object, "--type=merge", "-p", patch],
            "",
        );
    }
    kubectl(&instance, &["delete", "limavm", "web"], "");
    said(&instance, &["svc", "stop"]);
    said(&instance, &["svc", "start"]);
    let row = |list: &str| {
        let mut lines = list.lines();
        lines
            .find(|line| line.starts_with("web"))
            .unwrap()
            .to_owned()
    };
    let list = instance.rdd_ok(&["limavm", "list"]);
    assert!(row(&list).contains("Orphaned"), "{list}");
    said(&instance, &["limavm", "adopt", "web"]);
    testutils::poll(crate::said::SOON, "the VM to be stopped", || {
        let list = instance.rdd_ok(&["limavm", "list"]);
        match row(&list).contains("Stopped") {
            true => Ok(()),
            false => Err(list),
        }
    });
    said(&instance, &["limavm", "delete", "web"]);
    assert!(!instance.lima_home().join("web").exists());
    said(&instance, &["svc", "delete"]);
}
