//! What needs no daemon: version, completion, usage.

use crate::said::instance;

#[test]
fn versions() {
    let instance = instance();
    let version = instance.rdd_ok(&["version"]);
    assert!(
        version.starts_with('v') && version[1..].split('.').count() == 3,
        "{version}"
    );
    assert_eq!(instance.rdd_ok(&["--version"]), version);
    assert_eq!(instance.rdd_ok(&["--version=true"]), version);
    assert_eq!(instance.rdd_ok(&["--version=v1.0.0-test"]), "v1.0.0-test");
    let raw = instance.rdd_ok(&["--version=raw"]);
    for part in [
        "Version:",
        "GitCommit:",
        "BuildDate:",
        "RustVersion:",
        "Compiler:",
        "Platform:",
        &version,
    ] {
        assert!(raw.contains(part), "{raw}");
    }
}

#[test]
fn usage_has_exit_code_2() {
    let instance = instance();
    for args in [
        ["svc"].as_slice(),
        &[],
        &["--log-level=info"],
        &["nova"],
        &["svc", "start", "--nova"],
        &["svc", "start", "--timeout=soon"],
        &["svc", "paths", "a", "b"],
    ] {
        let error = instance.rdd_fails(args, 2);
        assert!(
            error.contains("Usage") || error.contains("error:"),
            "{args:?}: {error}"
        );
    }
    assert!(instance.rdd_ok(&["--help"]).contains("svc"));
    assert!(
        !instance
            .rdd_ok(&["svc", "start", "--help"])
            .contains("--controllers")
    );
}

#[test]
fn commands_of_other_programs_give_a_hint() {
    let instance = instance();
    for (args, part) in [
        (["kubectl", "get"], "export KUBECONFIG"),
        (["start", "web"], "rdd limavm --help"),
        (["svc", "shell"], "rdd limavm --help"),
        (["limavm", "paths"], "rdd svc --help"),
    ] {
        let error = instance.rdd_fails(&args, 2);
        assert!(error.contains(part), "{args:?}: {error}");
    }
    assert!(!instance.rdd_fails(&["nova"], 2).contains("--help` has"));
}

#[test]
fn developer_mode_shows_hidden_flags() {
    let mut instance = instance();
    instance.env("RDD_DEVELOPER_MODE", "1");
    assert!(
        instance
            .rdd_ok(&["svc", "start", "--help"])
            .contains("--controllers")
    );
    let messages = crate::said::said(&instance, &["svc", "status"]);
    assert!(
        messages.last().unwrap().contains("developer mode"),
        "{messages:?}"
    );
}

#[test]
fn completion_script_exists_for_each_shell() {
    let instance = instance();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = instance.rdd_ok(&["completion", shell]);
        assert!(
            script.contains("limavm") && script.contains("svc"),
            "{shell}"
        );
    }
}

#[cfg(unix)] // Needs a shell.
#[test]
fn shell_loads_the_completion_and_completes_with_it() {
    let instance = instance();
    let script = r#"eval "$("$0" completion bash)"; COMP_WORDS=(rdd svc sta); COMP_CWORD=2; _rdd rdd sta svc; echo "${COMPREPLY[@]}""#;
    let output = instance
        .run("bash", crate::said::SOON)
        .args(["-c", script, env!("CARGO_BIN_EXE_rdd")])
        .run()
        .unwrap();
    assert_eq!(output.text(), "start status");
}

#[cfg(unix)] // Needs a shell.
#[test]
fn reader_that_closes_the_pipe_is_no_error() {
    let instance = instance();
    let script = r#"set -o pipefail; "$0" completion bash | head -1 >/dev/null"#;
    instance
        .run("bash", crate::said::SOON)
        .args(["-c", script, env!("CARGO_BIN_EXE_rdd")])
        .run()
        .unwrap();
}

#[test]
fn relative_home_folder_is_refused() {
    let mut instance = instance();
    let variable = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    instance.env(variable, "somewhere");
    let error = instance.rdd_fails(&["svc", "start"], 1);
    for part in ["somewhere", "no absolute path", variable] {
        assert!(error.contains(part), "{error}");
    }
    // The instance's own end runs commands, too.
    let home = instance.home().to_owned();
    instance.env(variable, home);
}
