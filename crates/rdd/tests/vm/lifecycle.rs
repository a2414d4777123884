//! A VM boots, is as its user expects it, and follows its spec.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testutils::poll;

use crate::guest::{Guest, NAME};

#[test]
fn guest_has_the_user_network_clock_and_disk_that_its_user_expects() {
    let guest = Guest::boot();
    assert!(guest.ssh(&["uname", "-a"]).starts_with("Linux lima-web "));
    assert!(
        guest
            .ssh(&["cat", "/etc/os-release"])
            .contains("VERSION_ID=\"12\"")
    );

    // The user is the host's, can become root without a password, and has a working shell.
    assert_eq!(guest.ssh(&["sudo", "-n", "id", "-u"]), "0");
    assert_ne!(guest.ssh(&["id", "-u"]), "0");
    assert_eq!(
        guest.ssh(&["bash", "-lc", "echo $HOME"]),
        guest.ssh(&["pwd"])
    );
    // Arguments arrive unchanged.
    assert_eq!(
        guest.ssh(&["printf", "%s|", "a b", "$HOME", "it's", "*"]),
        "a b|$HOME|it's|*|"
    );

    // The guest's own name, and names through the host's resolver.
    assert!(
        guest
            .ssh(&["getent", "hosts", "lima-web"])
            .contains("lima-web")
    );
    assert!(
        guest
            .ssh(&["cat", "/etc/resolv.conf"])
            .contains("nameserver")
    );

    assert!(
        guest
            .ssh(&["ping", "-c1", "10.0.2.2"])
            .contains("1 received")
    );

    // The clock.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let theirs: u64 = guest.ssh(&["date", "+%s"]).parse().unwrap();
    assert!(
        theirs.abs_diff(now) < 60,
        "the guest's clock is {theirs}, ours {now}"
    );

    // apt has a mirror, and the root file system has the size of the disk.
    assert!(
        guest
            .ssh(&["apt-cache", "policy"])
            .contains("Package files")
    );
    assert!(
        guest
            .ssh(&["cat", "/etc/apt/sources.list.d/debian.sources"])
            .contains("bookworm")
    );
    let size: u64 = guest
        .ssh(&["df", "--output=size", "-BM", "/"])
        .lines()
        .last()
        .unwrap()
        .trim()
        .trim_end_matches('M')
        .parse()
        .unwrap();
    assert!(
        size > 8_000,
        "the root file system has {size} MiB of a disk of 10 GiB"
    );

    // The exit code of a command is the exit code of the shell.
    let output = guest
        .instance
        .rdd(&["limavm", "shell", NAME, "sh", "-c", "exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    let logs = guest.rdd(&["limavm", "logs", NAME, "-o"]);
    assert!(logs.contains("\"running\":true"), "{logs}");
    assert!(guest.rdd(&["limavm", "list"]).contains(NAME));
}

#[test]
fn vm_follows_its_spec() {
    let guest = Guest::boot();
    let first = guest.boot_id();
    assert_eq!(guest.field("{.status.restartCount}"), "1");

    guest.rdd(&["limavm", "stop", NAME, "--wait"]);
    guest.wait_for("Running", "False", "Stopped");
    assert!(
        guest
            .instance
            .leftovers()
            .iter()
            .all(|one| !one.command.contains("qemu-system"))
    );
    guest.rdd(&["limavm", "start", NAME, "--wait"]);
    let second = guest.boot_id();
    assert_ne!(first, second);

    guest.rdd(&["limavm", "restart", NAME, "--wait"]);
    let third = guest.boot_id();
    assert_ne!(second, third);

    // A label restarts nothing, a changed template restarts once.
    guest.kubectl(&["label", "configmap", "web-template", "colour=blue"]);
    guest.kubectl(&["label", "limavm", NAME, "colour=blue"]);
    assert_eq!(guest.boot_id(), third);
    let count: u32 = guest.field("{.status.restartCount}").parse().unwrap();
    let template = guest.kubectl(&[
        "get",
        "configmap",
        "web-template",
        "-o",
        "jsonpath={.data.template}",
    ]);
    let changed = template.replace("memory: \"1GiB\"", "memory: \"700MiB\"");
    assert_ne!(template, changed);
    let patch = serde_json::json!({ "data": { "template": changed } }).to_string();
    guest.kubectl(&[
        "patch",
        "configmap",
        "web-template",
        "--type=merge",
        "-p",
        &patch,
    ]);
    let version = guest.kubectl(&[
        "get",
        "configmap",
        "web-template",
        "-o",
        "jsonpath={.metadata.resourceVersion}",
    ]);
    poll(
        crate::guest::BOOT,
        "the new template to be in effect",
        || {
            let seen = guest.field("{.status.observedTemplateResourceVersion}");
            if seen == version { Ok(()) } else { Err(seen) }
        },
    );
    guest.wait_for("Running", "True", "Started");
    let memory = guest.ssh(&["awk", "/MemTotal/{print $2}", "/proc/meminfo"]);
    let kib: u32 = memory.parse().unwrap();
    assert!(kib < 700 * 1024, "{memory}");
    assert_eq!(
        guest.field("{.status.restartCount}"),
        (count + 1).to_string()
    );

    guest.rdd(&["limavm", "delete", NAME, "--wait"]);
    assert!(!guest.dir().exists());
    assert_eq!(
        guest.kubectl(&[
            "get",
            "limavms,configmaps",
            "-A",
            "-o",
            "name",
            "-l",
            "colour=blue"
        ]),
        ""
    );
    assert!(
        guest
            .instance
            .leftovers()
            .iter()
            .all(|one| !one.command.contains("hostagent"))
    );
    let stderr = guest.instance.rdd_fails(&["limavm", "start", NAME], 1);
    assert!(
        stderr.contains(r#"LimaVM \"web\" not found in any namespace"#),
        "{stderr}"
    );
}

/// Hazard 26: a request during boot does not wait for the end of the boot.
#[test]
fn h26_stop_and_delete_during_boot_take_effect_at_once() {
    let guest = Guest::boot();
    guest.rdd(&["limavm", "stop", NAME, "--wait"]);
    guest.rdd(&["limavm", "start", NAME, "--wait=false"]);
    guest.wait_for("Running", "False", "Starting");
    guest.rdd(&["limavm", "stop", NAME, "--wait"]);
    guest.wait_for("Running", "False", "Stopped");
    guest.rdd(&["limavm", "start", NAME, "--wait=false"]);
    guest.wait_for("Running", "False", "Starting");
    guest.rdd(&["limavm", "delete", NAME, "--wait"]);
    assert!(!guest.dir().exists());
}

/// Folders of users can have any name (hazard 14); it is in QEMU's command line and ssh's configuration.
#[test]
fn h14_vm_runs_in_a_home_folder_with_an_awkward_name() {
    let instance = testutils::Instance::with_awkward_home(env!("CARGO_BIN_EXE_rdd"));
    let guest = Guest::boot_in(crate::guest::prepared(instance));
    assert!(guest.ssh(&["uname", "-s"]).contains("Linux"));
    guest.rdd(&["svc", "delete"]);
    guest.instance.assert_no_leftovers();
    assert!(!guest.instance.short_dir().exists());
}

/// `svc stop` shuts the guests down: the guest's journal contains the power-down.
#[test]
fn h11_h45_stop_of_the_daemon_shuts_the_guest_down_cleanly() {
    let guest = Guest::boot();
    guest.ssh(&["sudo", "sh", "-c", "printf 'orderly' > /root/at-stop.tmp && systemd-run --quiet --property=Type=oneshot --property=RemainAfterExit=yes --property='ExecStop=/bin/mv /root/at-stop.tmp /root/at-stop' /bin/true"]);
    // Each command runs in a session of its own, so this one is not in the session that started the daemon.
    guest.rdd(&["svc", "stop"]);
    guest.instance.assert_no_leftovers();
    guest.rdd(&["svc", "start"]);
    guest.wait_for("Running", "True", "Started");
    assert_eq!(guest.ssh(&["sudo", "cat", "/root/at-stop"]), "orderly");
}

/// How long the status must stay unchanged.
const QUIET: Duration = Duration::from_secs(5);

/// Hazard 27: no controller writes the status of an idle VM.
#[test]
fn h27_status_of_an_idle_vm_is_not_written() {
    let guest = Guest::boot();
    let before = guest.field("{.metadata.resourceVersion}");
    let watch = guest
        .instance
        .run("kubectl", QUIET)
        .arg("--kubeconfig")
        .arg(guest.instance.kubeconfig())
        .args(["get", "limavm", NAME, "--watch-only", "-o", "name"])
        .run_any();
    // The watch runs until its deadline; each line that it printed is an event.
    if let Ok(output) = watch {
        assert_eq!(output.text(), "");
    }
    assert_eq!(guest.field("{.metadata.resourceVersion}"), before);
}
