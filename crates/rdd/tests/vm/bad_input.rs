//! Wrong input and missing prerequisites. Each error names the cause and leaves no partial state, and the same command
//! works once the cause is gone.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use testutils::{Instance, VmSlot, poll};

use crate::guest::{self, BOOT, Guest, NAME, kubectl};

fn fresh() -> Instance {
    Instance::new(env!("CARGO_BIN_EXE_rdd"))
}

/// The message of a VM's condition.
fn message(instance: &Instance, condition: &str) -> String {
    kubectl(
        instance,
        &[
            "get",
            "limavm",
            NAME,
            "-o",
            &format!("jsonpath={{.status.conditions[?(@.type==\"{condition}\")].message}}"),
        ],
    )
}

#[track_caller]
fn wait_for_message(instance: &Instance, condition: &str, parts: &[&str]) {
    poll(BOOT, &format!("{condition} to say {parts:?}"), || {
        let seen = message(instance, condition);
        if parts.iter().all(|part| seen.contains(part)) {
            Ok(())
        } else {
            Err(seen)
        }
    });
}

#[track_caller]
fn wait_for_status(instance: &Instance, condition: &str, status: &str) {
    poll(BOOT, &format!("{condition} to be {status}"), || {
        let path = format!("jsonpath={{.status.conditions[?(@.type==\"{condition}\")]}}");
        let seen = kubectl(instance, &["get", "limavm", NAME, "-o", &path]);
        if seen.contains(&format!("\"status\":\"{status}\"")) {
            Ok(())
        } else {
            Err(seen)
        }
    });
}

/// Asserts that no file of the VM exists, not even under a temporary name.
#[track_caller]
fn assert_nothing_half_made(instance: &Instance) {
    let left: Vec<_> = fs::read_dir(instance.lima_home())
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    assert!(
        left.iter().all(|name: &String| !name.contains(NAME)),
        "{left:?}"
    );
}

/// A disk image that can be used for everything but booting.
fn disk_image(instance: &Instance) -> std::path::PathBuf {
    let path = instance.scratch().join("disk.qcow2");
    instance
        .run("qemu-img", BOOT)
        .args(["create", "-q", "-f", "qcow2"])
        .arg(&path)
        .arg("16M")
        .run()
        .unwrap();
    path
}

fn sha256(instance: &Instance, path: &Path) -> String {
    let output = instance
        .run("sha256sum", BOOT)
        .arg(path)
        .run()
        .unwrap()
        .text();
    output.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn broken_template_is_refused_with_the_place_and_creates_nothing() {
    let instance = fresh();
    // A command that refuses the text itself starts no daemon.
    instance.rdd_ok(&["svc", "start"]);
    let file = instance.scratch().join("template.yaml");
    let create = ["limavm", "create", NAME, &file.to_string_lossy()].map(str::to_owned);
    let create: Vec<&str> = create.iter().map(String::as_str).collect();
    for (text, code, parts) in [
        // The command reads the text itself; the daemon's admission checks the values.
        ("images: [", 1, vec!["failed to parse template"]),
        ("", 1, vec!["failed to parse template"]),
        (
            "images:\n- location: image://debian-12\ncpus: many\n",
            3,
            vec!["cpus"],
        ),
        (
            "images:\n- location: image://debian-12\nmemory: -1GiB\n",
            3,
            vec!["memory"],
        ),
        (
            "cpus: 1\n",
            3,
            vec!["failed to validate template", "images"],
        ),
    ] {
        fs::write(&file, text).unwrap();
        let stderr = instance.rdd_fails(&create, code);
        for part in parts {
            assert!(stderr.contains(part), "{text:?}: {stderr}");
        }
        assert_eq!(
            kubectl(
                &instance,
                &["get", "limavms,configmaps", "-n", "default", "-o", "name"]
            ),
            ""
        );
        assert_nothing_half_made(&instance);
    }
    let image = disk_image(&instance);
    fs::write(&file, format!("images:\n- location: {}\n", image.display())).unwrap();
    instance.rdd_ok(&create);
    wait_for_status(&instance, "Created", "True");
}

#[test]
fn missing_file_is_named() {
    let instance = fresh();
    let stderr = instance.rdd_fails(&["limavm", "create", NAME, "./no/such/template.yaml"], 1);
    assert!(
        stderr.contains("no/such/template.yaml") && stderr.contains("No such file"),
        "{stderr}"
    );
    let stderr = instance.rdd_fails(&["limavm", "create", NAME, "no-such-configmap"], 3);
    assert!(stderr.contains("no-such-configmap"), "{stderr}");
    assert_eq!(
        kubectl(
            &instance,
            &["get", "limavms,configmaps", "-n", "default", "-o", "name"]
        ),
        ""
    );
}

#[test]
fn names_that_are_no_valid_folder_names_are_refused() {
    let instance = fresh();
    instance.rdd_ok(&["svc", "start"]);
    let template = guest::template();
    for name in ["a/b", "..", "UPPER", "", "-x", "a b", &"n".repeat(100)] {
        let output = instance.rdd(&["limavm", "create", "--", name, &template.to_string_lossy()]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name:?} was accepted");
        assert!(stderr.contains("name"), "{name:?}: {stderr}");
        assert_eq!(
            kubectl(
                &instance,
                &["get", "limavms,configmaps", "-n", "default", "-o", "name"]
            ),
            "",
            "{name:?}"
        );
    }
}

#[test]
fn wrong_digest_is_reported_and_the_right_one_continues() {
    let instance = fresh();
    let image = disk_image(&instance);
    let right = sha256(&instance, &image);
    let wrong = right.chars().rev().collect::<String>();
    let template = |digest: &str| {
        format!(
            "images:\n- location: {}\n  digest: sha256:{digest}\n",
            image.display()
        )
    };
    let file = instance.scratch().join("template.yaml");
    fs::write(&file, template(&wrong)).unwrap();

    let stderr = instance.rdd_fails(
        &["limavm", "create", NAME, &file.to_string_lossy(), "--wait"],
        1,
    );
    assert!(
        stderr.contains(&wrong) && stderr.contains(&right),
        "{stderr}"
    );
    assert_nothing_half_made(&instance);
    assert_eq!(
        kubectl(
            &instance,
            &["get", "limavms,configmaps", "-n", "default", "-o", "name"]
        ),
        ""
    );

    // The same command works. Without a wait the condition reports it, and a corrected template continues.
    fs::write(&file, template(&right)).unwrap();
    instance.rdd_ok(&["limavm", "create", NAME, &file.to_string_lossy(), "--wait"]);
    instance.rdd_ok(&["limavm", "delete", NAME, "--wait"]);
    fs::write(&file, template(&wrong)).unwrap();
    instance.rdd_ok(&[
        "limavm",
        "create",
        NAME,
        &file.to_string_lossy(),
        "--wait=false",
    ]);
    wait_for_message(&instance, "Created", &[&wrong, &right]);
    assert_nothing_half_made(&instance);
    let patch = serde_json::json!({ "data": { "template": template(&right) } }).to_string();
    kubectl(
        &instance,
        &[
            "patch",
            "configmap",
            "web-template",
            "--type=merge",
            "-p",
            &patch,
        ],
    );
    wait_for_status(&instance, "Created", "True");
}

#[test]
fn image_over_plain_http_needs_a_digest() {
    let instance = fresh();
    let file = instance.scratch().join("template.yaml");
    fs::write(
        &file,
        "images:\n- location: http://images.example/disk.qcow2\n",
    )
    .unwrap();
    let stderr = instance.rdd_fails(
        &["limavm", "create", NAME, &file.to_string_lossy(), "--wait"],
        1,
    );
    assert!(stderr.contains("digest"), "{stderr}");
    assert_nothing_half_made(&instance);
}

#[test]
fn missing_built_image_is_reported_with_the_command_that_builds_it() {
    let instance = fresh();
    let file = instance.scratch().join("template.yaml");
    fs::write(&file, "images:\n- location: image://debian-99\n").unwrap();
    let stderr = instance.rdd_fails(
        &["limavm", "create", NAME, &file.to_string_lossy(), "--wait"],
        1,
    );
    assert!(stderr.contains("rdd image build debian-99"), "{stderr}");
    let stderr = instance.rdd_fails(&["image", "build", "debian-99"], 1);
    assert!(
        stderr.contains("debian-99") && stderr.contains("debian-12"),
        "{stderr}"
    );
}

#[test]
fn ssh_port_in_use_is_named_and_the_vm_starts_when_it_is_free() {
    let instance = guest::instance();
    let _slot = VmSlot::acquire();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let file = instance.scratch().join("template.yaml");
    let template = fs::read_to_string(guest::template()).unwrap();
    fs::write(&file, format!("{template}ssh:\n  localPort: {port}\n")).unwrap();

    instance.rdd_ok(&["limavm", "create", NAME, &file.to_string_lossy()]);
    instance.rdd_ok(&["limavm", "start", NAME, "--wait=false"]);
    wait_for_message(&instance, "Running", &[&port.to_string(), "in use"]);
    drop(listener);
    instance.rdd_ok_within(&["limavm", "start", NAME, "--wait"], BOOT);
    assert_eq!(
        instance.rdd_ok(&["limavm", "shell", NAME, "echo", "hello"]),
        "hello"
    );
}

#[test]
fn without_qemu_its_package_is_named_and_an_installation_is_noticed() {
    let mut instance = guest::instance();
    let _slot = VmSlot::acquire();
    let bin = instance.scratch().join("bin");
    fs::create_dir(&bin).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let qemu = testutils::link_programs(&path, &bin, |name| name.starts_with("qemu-system"));
    assert!(
        !qemu.is_empty(),
        "QEMU is not installed: run scripts/install-packages"
    );
    instance.env("PATH", &bin);
    let template = guest::template();
    let create = [
        "limavm",
        "create",
        NAME,
        &template.to_string_lossy(),
        "--start",
        "--wait",
    ]
    .map(str::to_owned);
    let create: Vec<&str> = create.iter().map(String::as_str).collect();
    let stderr = instance.rdd_fails(&create, 1);
    assert!(stderr.contains("qemu-system-x86"), "{stderr}");

    qemu.link();
    instance.rdd_ok_within(&["limavm", "start", NAME, "--wait"], BOOT);
}

/// Only this user on this machine can use the ports of VMs and of the API.
#[test]
fn ports_are_on_loopback_and_keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let guest = Guest::boot();
    let listening = guest
        .instance
        .run("ss", BOOT)
        .args(["-ltnpH"])
        .run()
        .unwrap()
        .text();
    let pids: Vec<String> = guest
        .instance
        .leftovers()
        .iter()
        .map(|one| format!("pid={},", one.process.identity().pid()))
        .collect();
    let ours: Vec<&str> = listening
        .lines()
        .filter(|line| pids.iter().any(|pid| line.contains(pid.as_str())))
        .collect();
    assert!(ours.len() >= 2, "{listening}");
    for line in ours {
        let address = line.split_whitespace().nth(3).unwrap();
        assert!(
            address.starts_with("127.0.0.1:") || address.starts_with("[::1]:"),
            "{line}"
        );
    }
    for (path, mode) in [
        (guest.instance.kubeconfig(), 0o600),
        (guest.instance.lima_home().join("_config/user"), 0o600),
        (guest.instance.dir(), 0o700),
        (guest.instance.short_dir(), 0o700),
        (guest.dir(), 0o700),
        (guest.dir().join("serial.log"), 0o600),
        (guest.dir().join("qmp.sock"), 0o700),
        (guest.dir().join("ga.sock"), 0o700),
    ] {
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{} has mode {found:o}", path.display());
    }
}

/// A package manager that puts each version into a folder of its own takes the old program away.
#[test]
fn vm_starts_although_an_upgrade_moved_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    fs::copy(env!("CARGO_BIN_EXE_rdd"), &old).unwrap();
    let mut instance = Instance::new(&old);
    let _slot = VmSlot::acquire();
    let template = instance.stub_template(testutils::stub_guest::PowerButton::Obeyed);
    instance.rdd_ok(&["limavm", "create", NAME, template.to_str().unwrap()]);
    fs::rename(&old, &new).unwrap();
    let start = ["limavm", "start", NAME, "--wait"];
    let started = instance.run(&new, BOOT).args(start).run_any().unwrap();
    // The end of the test needs it where it was.
    fs::rename(&new, &old).unwrap();
    let stderr = String::from_utf8_lossy(&started.stderr);
    assert!(started.status.success(), "{stderr}");
}
