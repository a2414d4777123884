//! The API from the outside: certificates and kubectl.

use std::path::PathBuf;

use testutils::Instance;

use crate::said::{SOON, instance, said};

fn config(instance: &Instance) -> PathBuf {
    PathBuf::from(instance.rdd_ok(&["svc", "paths", "config"]))
}

fn server(instance: &Instance) -> String {
    let kubeconfig = instance.rdd_ok(&["svc", "config"]);
    let line = kubeconfig
        .lines()
        .find(|line| line.trim().starts_with("server:"))
        .unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

/// The HTTP status of a request without a client certificate.
fn anonymous(instance: &Instance, path: &str) -> String {
    let url = format!("{}{path}", server(instance));
    let curl = [
        "--silent",
        "--insecure",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        &url,
    ];
    instance.run("curl", SOON).args(curl).run().unwrap().text()
}

pub(crate) fn kubectl(instance: &Instance, args: &[&str], input: &str) -> String {
    let output = instance
        .run("kubectl", SOON)
        .arg("--kubeconfig")
        .arg(config(instance))
        .args(args)
        .input(input)
        .run_any()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "kubectl {}: {error}",
        args.join(" ")
    );
    output.text()
}

#[test]
fn without_a_certificate_only_health_and_version_are_served() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    for path in ["/healthz", "/readyz", "/livez", "/version"] {
        assert_eq!(anonymous(&instance, path), "200", "{path}");
    }
    for path in [
        "/",
        "/api",
        "/apis",
        "/api/v1/namespaces",
        "/api/v1/namespaces/default/configmaps",
        "/metrics",
    ] {
        assert_eq!(anonymous(&instance, path), "401", "{path}");
    }
}

#[test]
pub(crate) fn kubectl_creates_reads_changes_and_deletes() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let map =
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"tour"},"data":{"a":"1"}}"#;
    kubectl(&instance, &["create", "-f", "-"], map);
    kubectl(
        &instance,
        &[
            "patch",
            "configmap",
            "tour",
            "--type=merge",
            "-p",
            r#"{"data":{"b":"2"}}"#,
        ],
        "",
    );
    assert_eq!(
        kubectl(
            &instance,
            &[
                "get",
                "configmap",
                "tour",
                "-o",
                "jsonpath={.data.a}{.data.b}"
            ],
            ""
        ),
        "12"
    );
    let namespaces = kubectl(&instance, &["get", "namespaces"], "");
    assert!(
        namespaces.contains("default") && namespaces.contains("rdd-system"),
        "{namespaces}"
    );
    assert!(kubectl(&instance, &["get", "crd"], "").contains("limavms.lima.rancherdesktop.io"));
    kubectl(&instance, &["delete", "configmap", "tour"], "");
    assert!(kubectl(&instance, &["get", "configmaps"], "").is_empty());
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let map =
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"},"data":{"a":"1"}}"#;
    kubectl(&instance, &["create", "-f", "-"], map);
    crate::said::kill_daemon(&instance);
    said(&instance, &["svc", "start"]);
    assert_eq!(
        kubectl(
            &instance,
            &["get", "configmap", "kept", "-o", "jsonpath={.data.a}"],
            ""
        ),
        "1"
    );
}

#[test]
fn limavm_commands_explain_errors() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    for command in [
        "start", "stop", "restart", "delete", "edit", "shell", "logs",
    ] {
        let error = instance.rdd_fails(&["limavm", command, "absent"], 1);
        assert!(
            error.contains("LimaVM") && error.contains("not found in any namespace"),
            "{command}: {error}"
        );
        let error = instance.rdd_fails(&["lima", command, "a/b"], 1);
        assert!(error.contains("VM name"), "{command}: {error}");
    }
    let error = instance.rdd_fails(&["limavm", "create", "demo", "./none.yaml"], 1);
    assert!(
        error.contains("cannot read the template ./none.yaml"),
        "{error}"
    );
    let error = instance.rdd_fails(&["limavm", "create", "a/b", "template://debian-12"], 1);
    assert!(error.contains("VM name"), "{error}");
    assert_eq!(
        instance.rdd_ok(&["limavm", "list"]),
        "NAME   NAMESPACE   STATE   RESTARTS   AGE"
    );
}

#[test]
fn h44_stalled_control_plane_does_not_extend_the_deadline() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let daemon = crate::said::daemons(&instance).remove(0);
    daemon.process.signal(process::Signal::Stop).unwrap();
    let error = instance.rdd_fails(&["limavm", "stop", "demo", "--timeout=200ms"], 4);
    assert!(error.contains("context deadline exceeded"), "{error}");
    daemon.process.signal(process::Signal::Continue).unwrap();
    instance.rdd_ok(&["limavm", "list"]);
}
