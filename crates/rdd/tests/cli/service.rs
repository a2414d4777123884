//! `rdd svc` from create to delete.

use std::fs;

use testutils::Instance;

use crate::said::{SOON, daemons, instance, kill_daemon, pid, said, stderr};

fn plane(instance: &Instance, what: &str) -> String {
    format!(
        "\"rancher-desktop-{}\" control plane {what}",
        instance.name()
    )
}

fn assert_status(instance: &Instance, created: bool, started: bool) {
    let messages = said(instance, &["svc", "status"]);
    assert_eq!(
        messages[..2],
        [
            plane(instance, &format!("has been created: {created}")),
            plane(instance, &format!("has been started: {started}")),
        ]
    );
    assert_eq!(messages.len(), 3);
    let stopped = messages[2] == plane(instance, "PID is: 0");
    assert_eq!(stopped, !started, "{}", messages[2]);
}

#[test]
fn service_from_create_to_delete() {
    let instance = instance();
    let plane = |what: &str| plane(&instance, what);
    assert_status(&instance, false, false);
    assert_eq!(
        said(&instance, &["svc", "delete"]),
        [plane("does not exist")]
    );
    assert_eq!(said(&instance, &["svc", "stop"]), [plane("does not exist")]);

    let created = format!("successfully created {}", plane("").trim_end());
    assert_eq!(said(&instance, &["svc", "create"]), [created]);
    assert_eq!(
        said(&instance, &["svc", "create"]),
        [plane("already exists")]
    );
    // Flags without an effect are reported.
    let messages = said(&instance, &["svc", "create", "--secure-port=7000"]);
    assert_eq!(messages[0], plane("already exists"));
    assert!(messages[1].contains("args.json"), "{messages:?}");
    assert_status(&instance, true, false);
    assert_eq!(
        said(&instance, &["svc", "stop"]),
        [plane("is already stopped")]
    );

    let starting = format!("starting {}", plane("").trim_end());
    assert_eq!(
        said(&instance, &["svc", "start"]),
        [starting, plane("is ready")]
    );
    assert_status(&instance, true, true);
    let first = pid(&instance);
    assert_eq!(
        fs::read_to_string(instance.dir().join("rdd.pid")).unwrap(),
        format!("{first}\n")
    );
    assert_eq!(
        said(&instance, &["svc", "start"]),
        [plane("is already running"), plane("is ready")]
    );
    assert_eq!(pid(&instance), first);

    assert_eq!(said(&instance, &["svc", "stop"]), [plane("has stopped")]);
    instance.assert_no_leftovers();
    assert_status(&instance, true, false);
    assert!(!instance.dir().join("rdd.pid").exists());

    // The old name of the command.
    said(&instance, &["service", "start"]);
    let removed = [instance.short_dir(), instance.log_dir(), instance.dir()]
        .map(|folder| format!("removed {}", folder.display()));
    assert_eq!(
        said(&instance, &["service", "delete"]),
        [&removed[..], &[plane("has been deleted")]].concat()
    );
    instance.assert_no_leftovers();
    assert_status(&instance, false, false);
    for folder in [instance.dir(), instance.log_dir(), instance.short_dir()] {
        assert!(!folder.exists(), "{} was left", folder.display());
    }
}

#[test]
fn start_creates_the_instance_and_need_not_wait() {
    let instance = instance();
    let messages = said(&instance, &["svc", "start", "--wait=false"]);
    assert_eq!(messages.last().unwrap(), &plane(&instance, "is starting"));
    // The daemon holds its lock already, so a second start finds it.
    assert_status(&instance, true, true);
    said(&instance, &["svc", "start"]);
    assert_eq!(daemons(&instance).len(), 1);
    let messages = said(&instance, &["svc", "stop", "--wait=false"]);
    assert_eq!(messages, [plane(&instance, "is stopping")]);
    instance.assert_no_leftovers();
}

#[test]
fn config_starts_the_service() {
    let instance = instance();
    let kubeconfig = instance.rdd_ok(&["svc", "config"]);
    assert!(kubeconfig.contains("https://127.0.0.1:"), "{kubeconfig}");
    assert!(kubeconfig.contains(&format!(
        "current-context: \"rancher-desktop-{}\"",
        instance.name()
    )));
    assert_eq!(daemons(&instance).len(), 1);
}

#[test]
fn start_that_reaches_its_deadline_gives_exit_code_4() {
    let instance = instance();
    let error = instance.rdd_fails(&["svc", "start", "--timeout=1ns"], 4);
    assert!(error.contains("context deadline exceeded"), "{error}");
    // The daemon keeps starting and becomes ready.
    said(&instance, &["svc", "start"]);
}

#[cfg(unix)] // Windows cannot freeze a process.
#[test]
fn delete_that_reaches_its_deadline_removes_nothing() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let daemon = daemons(&instance).remove(0);
    // A stopped (SIGSTOP) daemon.
    daemon.process.signal(process::Signal::Stop).unwrap();
    for command in ["stop", "delete", "reset"] {
        let error = instance.rdd_fails(&["svc", command, "--timeout=100ms"], 4);
        assert!(
            error.contains("context deadline exceeded"),
            "{command}: {error}"
        );
        assert!(instance.dir().join("rdd.db").exists(), "{command}");
        assert!(instance.log_dir().exists(), "{command}");
    }
    daemon.process.signal(process::Signal::Continue).unwrap();
    instance.assert_no_leftovers();
}

#[test]
fn settings_apply_to_later_starts_and_overrides_to_one() {
    let instance = instance();
    said(&instance, &["svc", "create", "--controllers=-lima"]);
    let saved = fs::read_to_string(instance.dir().join("args.json")).unwrap();
    assert_eq!(saved.trim(), r#"["--controllers","-lima"]"#);
    said(&instance, &["svc", "start", "--controllers", "lima"]);
    assert_eq!(
        fs::read_to_string(instance.dir().join("args.json")).unwrap(),
        saved
    );
    said(&instance, &["svc", "stop"]);
    let error = instance.rdd_fails(&["svc", "start", "--controllers=nova"], 1);
    assert!(
        error.contains("unknown controller") && error.contains("limavm"),
        "{error}"
    );
    said(&instance, &["svc", "start", "--controllers="]);
}

#[test]
fn damaged_settings_are_named_with_the_remedy() {
    let instance = instance();
    said(&instance, &["svc", "create"]);
    fs::write(instance.dir().join("args.json"), "{").unwrap();
    for command in ["start", "config", "serve", "create"] {
        let error = instance.rdd_fails(&["svc", command], 1);
        assert!(
            error.contains("args.json are damaged") && error.contains("remove that file"),
            "{command}: {error}"
        );
    }
    // Commands that inspect or remove the instance still work.
    assert_status(&instance, true, false);
    fs::remove_file(instance.dir().join("args.json")).unwrap();
    said(&instance, &["svc", "start"]);
}

#[test]
fn reset_keeps_the_settings_and_starts_again() {
    let instance = instance();
    said(&instance, &["svc", "create", "--controllers="]);
    said(&instance, &["svc", "start"]);
    let first = pid(&instance);
    let certificate = fs::read(instance.dir().join("tls/ca.crt")).ok();
    fs::create_dir_all(instance.lima_home().join("_config")).unwrap();
    fs::write(instance.lima_home().join("_config/user"), "key").unwrap();
    let messages = said(&instance, &["svc", "reset"]);
    assert!(
        messages.contains(&plane(&instance, "has been reset")),
        "{messages:?}"
    );
    assert!(pid(&instance) != first && pid(&instance) != 0);
    assert_eq!(
        fs::read_to_string(instance.dir().join("args.json"))
            .unwrap()
            .trim(),
        r#"["--controllers",""]"#
    );
    assert_eq!(
        fs::read(instance.dir().join("tls/ca.crt")).ok(),
        certificate
    );
    assert!(instance.lima_home().join("_config/user").exists());
    said(&instance, &["svc", "stop"]);
    said(&instance, &["svc", "reset"]);
    assert_eq!(pid(&instance), 0);
}

#[test]
fn paths_are_shown_in_each_form() {
    let instance = instance();
    let keys = [
        "args_file",
        "config",
        "dir",
        "lima_home",
        "log_dir",
        "pid_file",
        "short_dir",
        "stderr_log",
        "stdout_log",
        "tls_dir",
    ];
    let table = instance.rdd_ok(&["svc", "paths"]);
    let json: serde_json::Value =
        serde_json::from_str(&instance.rdd_ok(&["svc", "paths", "--output=json"])).unwrap();
    let shell = instance.rdd_ok(&["svc", "paths", "-o", "shell"]);
    for key in keys {
        assert!(
            table
                .lines()
                .any(|line| line.starts_with(&format!("{key} "))),
            "{table}"
        );
        let path = instance.rdd_ok(&["svc", "paths", key]);
        assert_eq!(json[key], path.as_str());
        let export = format!(
            "export RDD_{}=\"{}\"",
            key.to_uppercase(),
            path.replace('\\', r"\\")
        );
        assert!(shell.lines().any(|line| line == export), "{shell}");
    }
    assert_eq!(
        instance.rdd_ok(&["svc", "paths", "dir"]),
        instance.dir().to_str().unwrap()
    );
    assert_eq!(
        instance.rdd_ok(&["svc", "paths", "config"]),
        instance.dir().join("config.yaml").to_str().unwrap()
    );
    let error = instance.rdd_fails(&["svc", "paths", "no_such_key"], 1);
    for part in ["unknown key", "no_such_key", "valid keys", "tls_dir"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn h14_everything_works_in_a_home_folder_with_an_awkward_name() {
    let instance = Instance::with_awkward_home(env!("CARGO_BIN_EXE_rdd"));
    said(&instance, &["svc", "start"]);
    kill_daemon(&instance);
    said(&instance, &["svc", "start"]);
    // A shell reads what `-o shell` prints, with every character of the path.
    #[cfg(unix)]
    {
        let script = format!(
            "{}\nprintf %s \"$RDD_DIR\"",
            instance.rdd_ok(&["svc", "paths", "-o", "shell"])
        );
        let output = instance
            .run("sh", SOON)
            .args(["-c", &script])
            .run()
            .unwrap();
        assert_eq!(output.text(), instance.dir().to_str().unwrap());
    }
    instance.rdd_ok(&["svc", "logs"]);
    said(&instance, &["svc", "delete"]);
    assert!(!instance.dir().exists() && !instance.log_dir().exists());
}

#[test]
fn chosen_port_must_be_free() {
    let instance = instance();
    let reserved = testutils::Port::reserve();
    let busy = std::net::TcpListener::bind(("127.0.0.1", reserved.number())).unwrap();
    let port = reserved.number().to_string();
    let error = instance.rdd_fails(&["svc", "start", "--secure-port", &port], 1);
    assert!(
        error.contains(&format!("port {port}")) && error.contains("--secure-port"),
        "{error}"
    );
    instance.assert_no_leftovers();
    drop(busy);
    // A test that forks at this moment holds a copy of the listener until its child has started.
    testutils::poll(SOON, "the port to be free", || {
        let output = instance.rdd(&["svc", "start", "--secure-port", &port]);
        if output.status.success() {
            Ok(())
        } else {
            Err(stderr(&output))
        }
    });
    assert!(
        instance
            .rdd_ok(&["svc", "config"])
            .contains(&format!("https://127.0.0.1:{port}"))
    );
}

#[test]
fn busy_default_port_is_replaced() {
    let instance = instance();
    let index = 100 + instance.name().bytes().map(u16::from).sum::<u16>() % 100;
    // Both ports are busy now, taken here or by another program.
    let _busy: Vec<_> = [6443 + index, 6443]
        .map(|port| std::net::TcpListener::bind(("127.0.0.1", port)))
        .into();
    let kubeconfig = instance.rdd_ok(&["svc", "config"]);
    assert!(
        !kubeconfig.contains(&format!("127.0.0.1:{}\"", 6443 + index)),
        "{kubeconfig}"
    );
    assert!(!kubeconfig.contains("127.0.0.1:6443\""), "{kubeconfig}");
}

#[cfg(unix)]
#[test]
fn files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let mode = |path: std::path::PathBuf| fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    for folder in [
        instance.dir(),
        instance.dir().join("tls"),
        instance.log_dir(),
    ] {
        assert_eq!(mode(folder.clone()), 0o700, "{}", folder.display());
    }
    let mut files = vec![
        instance.dir().join("config.yaml"),
        instance.log_dir().join("rdd.stderr.log"),
    ];
    for folder in [instance.dir(), instance.dir().join("tls")] {
        files.extend(
            fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file()),
        );
    }
    for file in files {
        assert_eq!(mode(file.clone()) & 0o077, 0, "{}", file.display());
    }
}

#[test]
fn delete_leaves_other_files_in_a_chosen_log_folder() {
    let mut instance = instance();
    let folder = instance.scratch().join("my logs");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("letter.txt"), "dear").unwrap();
    instance.env("RDD_LOG_DIR", &folder);
    for _ in 0..2 {
        said(&instance, &["svc", "start"]);
        said(&instance, &["svc", "stop"]);
    }
    assert!(folder.join("rdd.stderr.1.log").exists());
    said(&instance, &["svc", "delete"]);
    let left: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["letter.txt"]);
}

#[test]
fn unwritable_home_folder_is_named() {
    let instance = instance();
    let dir = instance.dir();
    let folder = dir.parent().unwrap();
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    // A file in place of the folder fails for root, too.
    fs::write(folder, "").unwrap();
    let output = instance.rdd(&["svc", "start"]);
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    let named = error.replace(r"\\", r"\");
    assert!(named.contains(folder.to_str().unwrap()), "{error}");
    fs::remove_file(folder).unwrap();
    said(&instance, &["svc", "start"]);
}
