//! `rdd limavm` without booting a VM.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use testutils::Instance;

use crate::api::kubectl;
use crate::said::{SOON, instance, messages, said, stderr};

/// Writes a template whose image can be used for everything but booting; returns its path.
pub(crate) fn template(instance: &Instance) -> String {
    let image = instance.scratch().join("disk.qcow2");
    let create = ["create", "-q", "-f", "qcow2"];
    instance
        .run("qemu-img", SOON)
        .args(create)
        .arg(&image)
        .arg("16M")
        .run()
        .unwrap();
    let file = instance.scratch().join("template.yaml");
    let text = format!("images:\n- location: {}\ncpus: 1\n", image.display());
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// An editor that does this to the file in `$1`.
fn editor(instance: &mut Instance, script: &str) {
    let path = instance.scratch().join("my editor");
    // Written by another process: a test that forks meanwhile would keep it from being executed (ETXTBSY).
    let install = instance
        .run("install", SOON)
        .args(["-m", "755", "/dev/stdin"])
        .arg(&path);
    install
        .input(format!("#!/bin/sh\n{script}\n"))
        .run()
        .unwrap();
    instance.env("VISUAL", format!("'{}'", path.display()));
}

fn objects(instance: &Instance) -> String {
    kubectl(
        instance,
        &["get", "limavms,configmaps", "-n", "default", "-o", "name"],
        "",
    )
}

#[test]
fn vm_from_a_file_is_created_listed_stopped_and_deleted() {
    let instance = instance();
    let template = template(&instance);
    let messages = said(&instance, &["limavm", "create", "web", &template]);
    assert!(
        messages
            .iter()
            .any(|line| line == "LimaVM \"web\" created in namespace \"default\"")
    );
    let list = instance.rdd_ok(&["lima", "list"]);
    let row: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["web", "default", "Stopped", "0"], "{list}");
    let error = instance.rdd_fails(&["limavm", "shell", "web"], 1);
    assert!(
        error.contains("is not running") && error.contains("rdd limavm start web"),
        "{error}"
    );
    let error = instance.rdd_fails(&["limavm", "logs", "web"], 1);
    assert!(error.contains("never started"), "{error}");
    // To stop a stopped VM succeeds at once.
    said(&instance, &["limavm", "stop", "web"]);

    said(&instance, &["limavm", "delete", "web"]);
    testutils::poll(
        SOON,
        "the ConfigMaps to go with their owner",
        || match objects(&instance) {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        },
    );
    assert!(!instance.lima_home().join("web").exists());
}

#[test]
fn vm_whose_files_cannot_be_made_reports_the_reason_and_can_be_stopped() {
    let instance = instance();
    let file = instance.scratch().join("template.yaml");
    fs::write(&file, "images: [{location: image://none-such}]\n").unwrap();
    let template = file.to_str().unwrap();
    // A command that waits reports the cause and leaves nothing, so the same command works once the cause is gone.
    let error = instance.rdd_fails(&["limavm", "create", "web", template, "--start"], 1);
    assert!(
        error.contains("none-such") && error.contains("nothing of it was kept"),
        "{error}"
    );
    let last = error.lines().last().unwrap();
    assert!(!last.contains("trying again"), "it is gone: {last}");
    assert_eq!(objects(&instance), "");
    // Without a wait the cause is in the conditions.
    said(
        &instance,
        &[
            "limavm",
            "create",
            "web",
            template,
            "--start",
            "--wait=false",
        ],
    );
    testutils::poll(SOON, "the cause to be reported", || {
        let output = instance.rdd(&["limavm", "logs", "web"]);
        let error = stderr(&output);
        if error.contains("none-such") {
            Ok(())
        } else {
            Err(error)
        }
    });
    for command in ["shell", "logs"] {
        let error = instance.rdd_fails(&["limavm", command, "web"], 1);
        assert!(
            error.contains("has no files yet") && error.contains("none-such"),
            "{command}: {error}"
        );
    }
    said(&instance, &["limavm", "stop", "web"]);
    said(&instance, &["limavm", "delete", "web"]);
}

#[test]
fn vm_name_is_unique_across_namespaces() {
    let instance = instance();
    let template = template(&instance);
    said(&instance, &["limavm", "create", "web", &template]);
    let error = instance.rdd_fails(&["limavm", "create", "web", &template], 3);
    assert!(
        error.contains("rdd limavm delete web") && !error.contains("ConfigMap"),
        "{error}"
    );
    kubectl(&instance, &["create", "namespace", "other"], "");
    let error = instance.rdd_fails(&["limavm", "create", "web", &template, "-n", "other"], 3);
    assert!(
        error.contains("already used") && error.contains("unique across all namespaces"),
        "{error}"
    );
    let left = kubectl(
        &instance,
        &["get", "configmaps", "-n", "other", "-o", "name"],
        "",
    );
    assert!(left.is_empty(), "{left}");
}

#[test]
fn dry_run_checks_everything_and_changes_nothing() {
    let instance = instance();
    let template = template(&instance);
    let messages = said(
        &instance,
        &["limavm", "create", "web", &template, "--start", "--dry-run"],
    );
    assert!(messages.last().unwrap().contains("dry run"), "{messages:?}");
    fs::write(&template, "cpus: many\n").unwrap();
    let error = instance.rdd_fails(&["limavm", "create", "web", &template, "--dry-run"], 3);
    assert!(error.contains("cpus"), "{error}");
    assert_eq!(objects(&instance), "");
    assert!(!instance.lima_home().join("web").exists());
}

#[test]
fn config_map_of_the_user_is_not_overwritten_but_a_left_over_one_is() {
    let instance = instance();
    let template = template(&instance);
    let map = |labels: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"web","labels":{labels}}},"data":{{"a":"1"}}}}"#
        )
    };
    said(&instance, &["svc", "start"]);
    kubectl(&instance, &["create", "-f", "-"], &map("{}"));
    let error = instance.rdd_fails(&["limavm", "create", "web", &template], 1);
    assert!(error.contains("ConfigMap \\\"web\\\" exists"), "{error}");
    assert_eq!(
        kubectl(
            &instance,
            &["get", "configmap", "web", "-o", "jsonpath={.data.a}"],
            ""
        ),
        "1"
    );
    kubectl(&instance, &["delete", "configmap", "web"], "");
    // What a killed `create` leaves.
    kubectl(
        &instance,
        &["create", "-f", "-"],
        &map(r#"{"lima.rancherdesktop.io/made-for":"web"}"#),
    );
    said(&instance, &["limavm", "create", "web", &template]);
}

#[test]
fn template_can_be_a_config_map_or_come_over_http() {
    let instance = instance();
    let template = template(&instance);
    said(&instance, &["svc", "start"]);
    let from_file = format!("--from-file=template={template}");
    kubectl(&instance, &["create", "configmap", "mine", &from_file], "");
    said(&instance, &["limavm", "create", "one", "mine"]);

    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/t.yaml", server.local_addr().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let (mut stream, _) = server.accept().unwrap();
                let mut request = [0; 4096];
                assert!(stream.read(&mut request).unwrap() > 0);
                let body = fs::read_to_string(&template).unwrap();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream
                    .write_all(format!("{head}{body}").as_bytes())
                    .unwrap();
            }
        });
        let create = ["limavm", "create", "two", &url];
        // Its image is a file of this machine, which a template from the network may name only if the user allows it.
        let refused = instance.rdd_fails(&create, 1);
        assert!(refused.contains("--allow-local-files"), "{refused}");
        said(&instance, &[&create[..], &["--allow-local-files"]].concat());
    });
    assert_eq!(instance.rdd_ok(&["limavm", "list"]).lines().count(), 3);
}

#[test]
fn ignored_fields_of_a_template_are_reported() {
    let mut instance = instance();
    let template = template(&instance);
    let text = fs::read_to_string(&template).unwrap();
    fs::write(&template, format!("{text}mounts: [{{location: \"~\"}}]\n")).unwrap();
    let in_vain = |messages: &[String]| {
        let said = |line: &&String| line.starts_with("mounts: not supported");
        assert_eq!(messages.iter().filter(said).count(), 1, "{messages:?}");
    };
    let create = ["limavm", "create", "web", &template];
    in_vain(&said(&instance, &[&create[..], &["--dry-run"]].concat()));
    in_vain(&said(&instance, &create));
    editor(&mut instance, r#"sed -i 's/cpus: 1/cpus: 2/' "$1""#);
    in_vain(&said(&instance, &["limavm", "edit", "web"]));
}

#[test]
fn template_can_come_through_a_pipe() {
    let instance = instance();
    let text = fs::read_to_string(template(&instance)).unwrap();
    let create = |name: &str, text: &str| {
        let args = ["limavm", "create", name, "-"];
        let command = instance.command(&args, SOON).input(text.to_owned());
        command.run_any().unwrap()
    };
    let output = create("web", &text);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = create("two", "");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("standard input: failed to parse template"),
        "{}",
        stderr(&output)
    );
    assert_eq!(instance.rdd_ok(&["limavm", "list"]).lines().count(), 2);
}

#[test]
fn invalid_names_are_refused_before_the_daemon_is_started() {
    let instance = instance();
    let long = "x".repeat(64);
    for name in ["a/b", "..", "Web", "a_b", &long] {
        let error = instance.rdd_fails(&["limavm", "create", name, "template://debian-12"], 1);
        assert!(error.contains("VM name"), "{name}: {error}");
    }
    assert!(!instance.dir().exists());
}

#[test]
fn file_name_that_was_taken_for_a_config_map_is_explained() {
    let instance = instance();
    let template = template(&instance);
    let folder = instance.scratch();
    let run = instance.command(&["limavm", "create", "web", "template.yaml"], SOON);
    let output = run.cwd(folder).run_any().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("write ./template.yaml"),
        "{}",
        stderr(&output)
    );
    let error = instance.rdd_fails(&["limavm", "create", "web", "debian-12"], 3);
    assert!(error.contains("write template://debian-12"), "{error}");
    drop(template);
}

#[test]
fn edited_template_is_checked_and_never_lost() {
    let mut instance = instance();
    let template = template(&instance);
    said(&instance, &["limavm", "create", "web", &template]);
    let stored = |instance: &Instance| {
        kubectl(
            instance,
            &[
                "get",
                "configmap",
                "web-template",
                "-o",
                "jsonpath={.data.template}",
            ],
            "",
        )
    };

    editor(&mut instance, "exit 0");
    let messages_of = |instance: &Instance| said(instance, &["limavm", "edit", "web"]);
    assert!(messages_of(&instance)[0].contains("was not changed"));
    editor(&mut instance, r#"sed -i 's/cpus: 1/cpus: 3/' "$1""#);
    let messages_ = messages_of(&instance);
    assert!(
        messages_.last().unwrap().contains("was changed"),
        "{messages_:?}"
    );
    assert!(stored(&instance).contains("cpus: 3"));

    editor(&mut instance, r#"sed -i 's/cpus: 3/cpus: many/' "$1""#);
    let error = instance.rdd_fails(&["limavm", "edit", "web"], 3);
    let message = messages(&error).remove(0);
    assert!(
        message.contains("failed to parse template: cpus"),
        "{message}"
    );
    let kept = message
        .split_once("kept in ")
        .unwrap()
        .1
        .split_once(".yaml")
        .unwrap()
        .0;
    assert!(
        fs::read_to_string(format!("{kept}.yaml"))
            .unwrap()
            .contains("cpus: many")
    );
    assert!(stored(&instance).contains("cpus: 3"));

    for (script, part) in [("exit 3", "ended with"), (r#"echo > "$1""#, "emptied")] {
        editor(&mut instance, script);
        let error = instance.rdd_fails(&["limavm", "edit", "web"], 1);
        assert!(error.contains(part), "{error}");
    }
    instance.env("VISUAL", "no-such-editor-of-rdd");
    let error = instance.rdd_fails(&["limavm", "edit", "web"], 1);
    assert!(
        error.contains("no-such-editor-of-rdd") && error.contains("EDITOR"),
        "{error}"
    );
    assert!(stored(&instance).contains("cpus: 3"));
}

#[test]
fn images_are_listed_and_an_unknown_one_is_named() {
    let instance = instance();
    assert!(instance.rdd_ok(&["image", "list"]).starts_with("IMAGE"));
    let error = instance.rdd_fails(&["image", "remove", "nova"], 1);
    assert!(
        error.contains("nova") && error.contains("rdd image list"),
        "{error}"
    );
    let error = instance.rdd_fails(&["image", "build", "debian-99"], 1);
    assert!(
        error.contains("debian-99") && error.contains("debian-12"),
        "{error}"
    );
}

#[test]
fn interrupted_build_of_an_image_is_reported_and_leaves_nothing() {
    let instance = instance();
    // A mirror that accepts the connection and never answers.
    let mirror = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/debian", mirror.local_addr().unwrap());
    std::thread::scope(|scope| {
        let build = scope
            .spawn(|| instance.rdd(&["image", "build", "debian-12", "--force", "--mirror", &url]));
        let command = testutils::poll(SOON, "the build to be under way", || {
            let all = instance.leftovers();
            let begun = all.iter().any(|one| one.command.contains("mmdebstrap"));
            let found = all
                .into_iter()
                .find(|one| one.command.contains("image build"));
            found.filter(|_| begun).ok_or("not yet")
        });
        command.process.signal(process::Signal::Interrupt).unwrap();
        let output = build.join().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(
            stderr(&output).contains("was interrupted"),
            "{}",
            stderr(&output)
        );
    });
    instance.assert_no_leftovers();
}
