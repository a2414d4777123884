//! The life of a VM, controlled with kubectl only.

use testutils::{VmSlot, poll};

use crate::guest::{self, BOOT, kubectl};

#[test]
fn vm_is_created_watched_and_deleted_with_kubectl() {
    let instance = guest::instance();
    let _slot = VmSlot::acquire();
    instance.rdd_ok(&["svc", "start"]);
    let config = instance.rdd_ok(&["svc", "config"]);
    assert_eq!(
        config.trim(),
        std::fs::read_to_string(instance.kubeconfig())
            .unwrap()
            .trim()
    );

    let manifest = instance.scratch().join("vm.json");
    let template = std::fs::read_to_string(guest::template()).unwrap();
    let objects = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "team" } },
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "debian", "namespace": "team" },
          "data": { "template": template } },
        { "apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM",
          "metadata": { "name": "box", "namespace": "team" },
          "spec": { "templateRef": { "name": "debian" }, "running": true } },
    ]});
    std::fs::write(&manifest, objects.to_string()).unwrap();
    kubectl(&instance, &["apply", "-f", &manifest.to_string_lossy()]);
    // A second apply changes nothing.
    let again = kubectl(&instance, &["apply", "-f", &manifest.to_string_lossy()]);
    assert!(
        again.lines().all(|line| line.ends_with("unchanged")),
        "{again}"
    );

    kubectl(
        &instance,
        &[
            "wait",
            "-n",
            "team",
            "--for=condition=Running",
            "limavm/box",
            "--timeout=240s",
        ],
    );
    let table = kubectl(&instance, &["get", "limavms", "-A"]);
    assert!(
        table.contains("RUNNING") && table.contains("true"),
        "{table}"
    );
    let refused = instance
        .run("kubectl", BOOT)
        .arg("--kubeconfig")
        .arg(instance.kubeconfig())
        .args([
            "patch",
            "-n",
            "team",
            "limavm",
            "box",
            "--type=merge",
            "-p",
            r#"{"spec":{"templateRef":{"name":"x"}}}"#,
        ])
        .run_any()
        .unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("templateRef is immutable"));

    kubectl(
        &instance,
        &[
            "patch",
            "-n",
            "team",
            "limavm",
            "box",
            "--type=merge",
            "-p",
            r#"{"spec":{"running":false}}"#,
        ],
    );
    kubectl(
        &instance,
        &[
            "wait",
            "-n",
            "team",
            "--for=condition=Running=false",
            "limavm/box",
            "--timeout=120s",
        ],
    );
    poll(BOOT, "the VM to be stopped", || {
        let reason = kubectl(
            &instance,
            &[
                "get",
                "-n",
                "team",
                "limavm",
                "box",
                "-o",
                "jsonpath={.status.conditions[?(@.type==\"Running\")].reason}",
            ],
        );
        if reason == "Stopped" {
            Ok(())
        } else {
            Err(reason)
        }
    });
    kubectl(
        &instance,
        &["delete", "namespace", "team", "--timeout=120s"],
    );
    assert!(!instance.lima_home().join("box").exists());
}
