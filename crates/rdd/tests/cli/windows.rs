//! VMs on Windows, without a start: QEMU cannot be driven there yet (`driver::qemu`), and Wine has none.

use std::fs;

use testutils::poll;

use crate::said::{SOON, daemons, instance, kill_daemon, said, stderr};

/// From creation to removal, with the reason in the error, in the conditions and in the description.
#[test]
fn vm_that_cannot_be_made_names_what_is_missing_and_can_be_deleted() {
    let instance = instance();
    let disk = instance.scratch().join("disk.raw");
    fs::write(&disk, [0; 1 << 16]).unwrap();
    let file = instance.scratch().join("template.yaml");
    let text = format!("images:\n- location: '{}'\ncpus: 1\n", disk.display());
    fs::write(&file, text).unwrap();
    // A Windows path without a slash and without a drive.
    let given = r".\template.yaml";
    let missing = "qemu-img is not installed; install QEMU (winget install";
    let create = |more: &[&str]| {
        let args = [&["limavm", "create", "web", given], more].concat();
        let run = instance.command(&args, SOON).cwd(instance.scratch());
        run.run_any().unwrap()
    };

    let output = create(&["--start"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let error = stderr(&output);
    assert!(
        error.contains(missing) && error.contains("nothing of it was kept"),
        "{error}"
    );

    let output = create(&["--wait=false"]);
    assert!(output.status.success(), "{}", stderr(&output));
    said(&instance, &["limavm", "start", "web", "--wait=false"]);
    // The next control plane reports the same.
    kill_daemon(&instance);
    poll(SOON, "the condition", || {
        let shown = instance.rdd_ok(&["limavm", "describe", "web"]);
        match shown.contains(missing) {
            true => Ok(()),
            false => Err(shown),
        }
    });
    assert_eq!(daemons(&instance).len(), 1);
    let list = instance.rdd_ok(&["limavm", "list"]);
    assert!(list.lines().nth(1).unwrap().starts_with("web"), "{list}");
    for command in ["shell", "logs"] {
        let error = instance.rdd_fails(&["limavm", command, "web"], 1);
        assert!(error.contains("has no files yet"), "{command}: {error}");
    }
    said(&instance, &["limavm", "stop", "web"]);
    said(&instance, &["limavm", "delete", "web"]);
    assert_eq!(instance.rdd_ok(&["limavm", "list"]).lines().count(), 1);
    assert!(!instance.lima_home().join("web").exists());
}
