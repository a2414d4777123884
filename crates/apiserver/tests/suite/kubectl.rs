//! The real kubectl over HTTPS. Skipped where it is not installed.

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::support::{Secure, WIDGETS, config_map, widget};

/// The limit for one command.
const LIMIT: Duration = Duration::from_secs(30);

fn kubectl(dir: &Path) -> Command {
    let mut command = Command::new("kubectl");
    command
        .env("KUBECONFIG", dir.join("config"))
        .env("HOME", dir)
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts a server; `None` if kubectl is not installed.
async fn start() -> Option<Secure> {
    testutils::program_or_skip(testutils::Need::Kubectl, "kubectl")?;
    Some(Secure::start().await)
}

struct Done {
    ok: bool,
    out: String,
    err: String,
}

async fn run(secure: &Secure, arguments: &[&str], input: &str) -> Done {
    let mut command = kubectl(secure.dir.path());
    command.args(arguments).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("kubectl {arguments:?} hung"))
        .unwrap();
    Done {
        ok: output.status.success(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_commands_succeed_or_fail_as_expected() {
    let Some(secure) = start().await else { return };
    let a = widget("a", json!({"size": 2})).to_string();
    let bigger = widget("a", json!({"size": 3})).to_string();
    let wrong = widget("w", json!({"size": 99, "mode": "odd"})).to_string();
    let unknown = widget("u", json!({"colour": "red"})).to_string();
    let cm = config_map("c", json!({"k": "v"})).to_string();
    let cm2 = config_map("c", json!({"l": "w"})).to_string();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        config_map("in-a-list", json!({"k": "v"})), widget("in-a-list", json!({"size": 1})),
    ]})
    .to_string();
    // The command, its input, whether it succeeds, and texts that its output (stdout and stderr) contains.
    let steps: &[(&str, &str, bool, &[&str])] = &[
        ("version", "", true, &["Server Version: v1.33.0+rdd"]),
        ("auth whoami", "", true, &["system:admin", "system:masters"]),
        ("auth can-i create widgets", "", true, &["yes"]),
        (
            "api-resources",
            "",
            true,
            &["widgets", "wd", "example.com/v1", "configmaps", "cm"],
        ),
        ("get crd", "", true, &["widgets.example.com"]),
        (
            "wait --for=condition=Established crd/widgets.example.com --timeout=5s",
            "",
            true,
            &["condition met"],
        ),
        (
            "get widgets",
            "",
            true,
            &["No resources found in default namespace."],
        ),
        ("apply -f -", &a, true, &["widget.example.com/a created"]),
        ("apply -f -", &a, true, &["widget.example.com/a unchanged"]),
        (
            "apply -f -",
            &bigger,
            true,
            &["widget.example.com/a configured"],
        ),
        ("diff -f -", &bigger, true, &[]),
        (
            "apply -f -",
            &list,
            true,
            &[
                "configmap/in-a-list created",
                "widget.example.com/in-a-list created",
            ],
        ),
        ("delete -f -", &list, true, &["deleted"]),
        (
            "get widget a -o jsonpath={.spec.size}{.spec.mode}{.metadata.generation}",
            "",
            true,
            &["3fast2"],
        ),
        (
            "get wd",
            "",
            true,
            &["NAME   RUNNING   AGE", "a                "],
        ),
        ("get wd -o wide", "", true, &["SIZE", "3"]),
        ("get wd -o name", "", true, &["widget.example.com/a"]),
        (
            "get wd a -o yaml",
            "",
            true,
            &["apiVersion: example.com/v1", "kind: Widget", "size: 3"],
        ),
        ("get all -A", "", true, &["default     a "]),
        ("get wd -l x=y", "", true, &["No resources found"]),
        (
            "label widget a x=y",
            "",
            true,
            &["widget.example.com/a labeled"],
        ),
        ("get wd -l x=y -o name", "", true, &["widget.example.com/a"]),
        ("annotate widget a note=hello", "", true, &["annotated"]),
        (
            "describe widget a",
            "",
            true,
            &["Name:         a", "Labels:       x=y", "Size:     3"],
        ),
        (
            "patch widget a --type=merge -p {\"spec\":{\"running\":true}}",
            "",
            true,
            &["patched"],
        ),
        (
            "patch widget a --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/size\",\"value\":4}]",
            "",
            true,
            &["patched"],
        ),
        (
            "patch widget a --type=merge -p {\"spec\":{\"ref\":{\"name\":\"z\"}}}",
            "",
            false,
            &["ref is immutable"],
        ),
        (
            "patch widget a --subresource=status --type=merge -p {\"status\":{\"conditions\":[{\"type\":\"Running\",\"status\":\"True\"}]}}",
            "",
            true,
            &["patched"],
        ),
        (
            "wait --for=condition=Running widget/a --timeout=5s",
            "",
            true,
            &["condition met"],
        ),
        ("get wd", "", true, &["True"]),
        (
            "create -f -",
            &a,
            false,
            &["AlreadyExists", "already exists"],
        ),
        (
            "create -f -",
            &wrong,
            false,
            &["spec.size", "spec.mode: Unsupported value: \"odd\""],
        ),
        (
            "create -f -",
            &unknown,
            false,
            &["strict decoding error: unknown field \"spec.colour\""],
        ),
        (
            "create --validate=warn -f -",
            &unknown,
            true,
            &["Warning: unknown field \"spec.colour\"", "created"],
        ),
        (
            "create --dry-run=server -f -",
            &widget("dry", json!({})).to_string(),
            true,
            &["created (server dry run)"],
        ),
        (
            "get widget dry",
            "",
            false,
            &["(NotFound)", "widgets.example.com \"dry\" not found"],
        ),
        (
            "apply --dry-run=server -f -",
            &widget("a", json!({"size": 9})).to_string(),
            true,
            &["(server dry run)"],
        ),
        (
            "explain widget",
            "",
            true,
            &["Widget is a thing to test with.", "spec", "-required-"],
        ),
        (
            "explain widget.spec.mode",
            "",
            true,
            &["FIELD: mode <string>", "ENUM:"],
        ),
        (
            "explain configmap.data",
            "",
            true,
            &["Data contains the configuration data", "map[string]string"],
        ),
        (
            "create namespace other",
            "",
            true,
            &["namespace/other created"],
        ),
        ("apply -n other -f -", &cm, true, &["configmap/c created"]),
        (
            "apply -n other -f -",
            &cm2,
            true,
            &["configmap/c configured"],
        ),
        (
            "get cm c -n other -o jsonpath={.data}",
            "",
            true,
            &["{\"l\":\"w\"}"],
        ),
        (
            "create configmap d -n other --from-literal=a=b",
            "",
            true,
            &["configmap/d created"],
        ),
        (
            "create secret generic s -n other --from-literal=p=secret",
            "",
            true,
            &["secret/s created"],
        ),
        (
            "get secret s -n other -o jsonpath={.data.p}",
            "",
            true,
            &["c2VjcmV0"],
        ),
        (
            "get cm,secret -n other",
            "",
            true,
            &["configmap/d", "secret/s", "Opaque"],
        ),
        (
            "patch cm d -n other -p {\"data\":{\"c\":\"d\"}}",
            "",
            true,
            &["patched"],
        ),
        (
            "get cm d -n other -o jsonpath={.data}",
            "",
            true,
            &["{\"a\":\"b\",\"c\":\"d\"}"],
        ),
        (
            "get cm --field-selector metadata.name=d -A -o name",
            "",
            true,
            &["configmap/d"],
        ),
        ("get events -A", "", true, &["No resources found"]),
        (
            "delete cm d -n other",
            "",
            true,
            &["configmap \"d\" deleted"],
        ),
        (
            "delete namespace other",
            "",
            true,
            &["namespace \"other\" deleted"],
        ),
        ("get ns other", "", false, &["NotFound"]),
        (
            "delete namespace default",
            "",
            false,
            &["this namespace may not be deleted"],
        ),
        (
            "delete widget --all",
            "",
            true,
            &["\"a\" deleted", "\"u\" deleted"],
        ),
        (
            "get nonsense",
            "",
            false,
            &["the server doesn't have a resource type \"nonsense\""],
        ),
        (
            "apply --server-side -f -",
            &cm,
            false,
            &["Server-side apply not available on the server"],
        ),
        ("delete crd widgets.example.com", "", true, &["deleted"]),
    ];
    for (command, input, ok, expected) in steps {
        let arguments: Vec<&str> = command.split(' ').collect();
        let done = run(&secure, &arguments, input).await;
        let both = format!("{}{}", done.out, done.err);
        assert_eq!(done.ok, *ok, "kubectl {command}\n{both}");
        for text in *expected {
            assert!(
                both.contains(text),
                "kubectl {command}\nexpected {text:?} in\n{both}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_get_watch_shows_each_change() {
    let Some(secure) = start().await else { return };
    secure
        .api
        .post(WIDGETS, &widget("first", json!({})))
        .await
        .ok();
    let mut child = kubectl(secure.dir.path())
        .args(["get", "wd", "-w", "-o", "name"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        tokio::time::timeout(LIMIT, lines.next_line())
            .await
            .expect("a line")
            .unwrap()
    };
    assert_eq!(next().await.as_deref(), Some("widget.example.com/first"));
    secure
        .api
        .post(WIDGETS, &widget("second", json!({})))
        .await
        .ok();
    assert_eq!(next().await.as_deref(), Some("widget.example.com/second"));
    secure.api.delete(&format!("{WIDGETS}/first")).await.ok();
    assert_eq!(next().await.as_deref(), Some("widget.example.com/first"));
    child.kill().await.unwrap();
}
