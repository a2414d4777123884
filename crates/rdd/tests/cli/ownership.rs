//! rdd changes, and removes, only what it made; and it says so.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use testutils::{Need, poll};

use crate::said::{SOON, instance, said, stderr};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn deleting_an_instance_that_never_existed_leaves_the_users_folders_alone() {
    let instance = instance();
    let notebook = instance.short_dir().join("Notebooks/precious");
    fs::create_dir_all(notebook.parent().unwrap()).unwrap();
    fs::write(&notebook, "mine").unwrap();
    let messages = said(&instance, &["svc", "delete"]);
    assert!(
        messages.last().unwrap().ends_with("does not exist"),
        "{messages:?}"
    );
    assert_eq!(fs::read_to_string(&notebook).unwrap(), "mine");
    assert!(!instance.dir().exists());
}

#[test]
fn delete_removes_the_vms_in_a_folder_of_the_users_and_leaves_the_rest() {
    let instance = instance();
    let notebook = instance.short_dir().join("notebook");
    fs::create_dir(instance.short_dir()).unwrap();
    fs::set_permissions(instance.short_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&notebook, "mine").unwrap();
    said(&instance, &["svc", "start"]);
    assert_eq!(mode(&instance.short_dir()), 0o755);
    assert!(instance.lima_home().exists());
    let messages = said(&instance, &["svc", "delete"]);
    let short_dir = instance.short_dir().display().to_string();
    assert!(
        messages
            .iter()
            .any(|line| line.starts_with(&format!("left {short_dir},"))),
        "{messages:?}"
    );
    for folder in [instance.lima_home(), instance.dir(), instance.log_dir()] {
        assert!(!folder.exists());
        let line = format!("removed {}", folder.display());
        assert!(messages.contains(&line), "{line}: {messages:?}");
    }
    assert_eq!(fs::read_to_string(&notebook).unwrap(), "mine");
}

#[test]
fn lima_home_with_other_files_is_refused_at_the_start() {
    let instance = instance();
    fs::create_dir_all(instance.lima_home()).unwrap();
    fs::write(instance.lima_home().join("letter"), "dear").unwrap();
    let error = instance.rdd_fails(&["svc", "start"], 1);
    assert!(
        error.contains("rdd did not make") && error.contains("--instance"),
        "{error}"
    );
    said(&instance, &["svc", "delete"]);
    assert!(instance.lima_home().join("letter").exists());
}

#[test]
fn delete_follows_the_links_to_folders_and_vms_and_names_where_they_lead() {
    let instance = instance();
    let [disk, vm, other] = ["disk", "vm", "other"].map(|name| instance.scratch().join(name));
    for folder in [&disk, &vm, &other] {
        fs::create_dir(folder).unwrap();
    }
    symlink(&disk, instance.short_dir()).unwrap();
    said(&instance, &["svc", "start"]);
    said(&instance, &["svc", "stop"]);
    fs::write(vm.join("lima.yaml"), "").unwrap();
    fs::write(vm.join("diffdisk"), "the disk").unwrap();
    fs::write(other.join("letter"), "dear").unwrap();
    symlink(&vm, instance.lima_home().join("web")).unwrap();
    let messages = said(&instance, &["svc", "delete"]);
    for gone in [&vm, &disk] {
        assert!(!gone.exists(), "{}", gone.display());
        let line = format!("removed {}", gone.display());
        assert!(messages.contains(&line), "{line}: {messages:?}");
    }
    assert!(instance.short_dir().symlink_metadata().is_err());
    assert!(other.join("letter").exists());
}

#[test]
fn instance_from_before_there_were_markers_is_deleted_as_a_whole() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    said(&instance, &["svc", "stop"]);
    for folder in [
        instance.dir(),
        instance.short_dir(),
        instance.lima_home(),
        instance.log_dir(),
    ] {
        fs::remove_file(folder.join(".rdd-instance")).unwrap();
    }
    said(&instance, &["svc", "delete"]);
    for folder in [instance.dir(), instance.short_dir(), instance.log_dir()] {
        assert!(!folder.exists(), "{}", folder.display());
    }
}

#[test]
fn chosen_log_folder_keeps_its_mode_and_is_not_removed() {
    let mut instance = instance();
    let folder = instance.scratch().join("logs");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    instance.env("RDD_LOG_DIR", &folder);
    said(&instance, &["svc", "start"]);
    assert_eq!(mode(&folder), 0o755);
    assert!(folder.join("rdd.stderr.log").exists());
    said(&instance, &["svc", "delete"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert_eq!(mode(&folder), 0o755);
}

#[test]
fn files_by_which_commands_find_the_daemon_are_restored() {
    let instance = instance();
    said(&instance, &["svc", "start"]);
    let (ready, config) = (instance.dir().join("ready.json"), instance.kubeconfig());
    let before = [&ready, &config].map(|file| fs::read_to_string(file).unwrap());
    fs::remove_file(&ready).unwrap();
    fs::write(&config, "junk").unwrap();
    poll(SOON, "the files to be restored", || {
        let now = [&ready, &config].map(|file| fs::read_to_string(file).unwrap_or_default());
        if now == before {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    fs::write(&ready, "{").unwrap();
    fs::remove_file(&config).unwrap();
    // A command that finds no usable file waits until it is restored.
    said(&instance, &["svc", "start"]);
    assert_eq!(fs::read_to_string(&ready).unwrap(), before[0]);
}

#[test]
fn daemon_that_takes_no_lock_is_not_overwritten() {
    let instance = instance();
    said(&instance, &["svc", "create"]);
    // As the Go daemon does: a PID file, an open database, no lock.
    let database = instance.dir().join("state.db");
    let mut other = Command::new("sh")
        .args(["-c", "exec 3>\"$0\"; echo $$ > \"$1\"; read line"])
        .args([&database, &instance.dir().join("rdd.pid")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = other.id().to_string();
    let pid_file = instance.dir().join("rdd.pid");
    poll(SOON, "the other daemon", || {
        match fs::read_to_string(&pid_file) {
            Ok(text) if text.trim() == pid => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    for command in [&["svc", "start"][..], &["svc", "serve"], &["svc", "delete"]] {
        let error = instance.rdd_fails(command, 1);
        assert!(
            error.contains(&format!("process {pid} uses")) && error.contains("Rancher Desktop"),
            "{error}"
        );
    }
    assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), pid);
    drop(other.stdin.take());
    other.wait().unwrap();
    let messages = said(&instance, &["svc", "start"]);
    let named = format!("{} is the database of another daemon", database.display());
    assert!(
        messages.iter().any(|line| line.starts_with(&named)),
        "{messages:?}"
    );
    // Its database is left, and named.
    let messages = said(&instance, &["svc", "delete"]);
    assert!(
        messages.iter().any(|line| line.starts_with("removed ")),
        "{messages:?}"
    );
}

#[test]
fn command_with_another_image_cache_names_both() {
    let mut instance = instance();
    said(&instance, &["svc", "start"]);
    let other = instance.scratch().join("cache");
    instance.env("XDG_CACHE_HOME", &other);
    let output = instance.rdd(&["limavm", "list"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    for part in [
        other.to_str().unwrap(),
        testutils::cache_dir().to_str().unwrap(),
        "XDG_CACHE_HOME",
        "svc restart",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn folder_of_another_user_is_named_with_the_way_out() {
    let instance = instance();
    said(&instance, &["svc", "create"]);
    let me = fs::metadata(instance.dir()).unwrap().uid();
    if me != 0 {
        return testutils::skip(Need::Root, "only root can give a folder to another user");
    }
    let give = |uid| std::os::unix::fs::chown(instance.dir(), Some(uid), None).unwrap();
    give(65534);
    for command in [&["svc", "start"][..], &["svc", "delete"]] {
        let error = instance.rdd_fails(command, 1);
        assert!(
            error.contains("uid 65534") && error.contains("without sudo"),
            "{error}"
        );
    }
    give(0);
    said(&instance, &["svc", "delete"]);
}
