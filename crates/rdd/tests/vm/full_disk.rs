//! A full disk: the home folder is on a small file system of its own.

use std::fs;

use crate::guest::{self, BOOT};

/// The script runs in a mount namespace of its own (for ordinary users in a user namespace), so that no other process
/// sees the small file system, and it disappears with the script.
const SCRIPT: &str = r#"
set -eu
rdd=$1 template=$2
mount -t tmpfs -o size=24m,mode=0700 tmpfs "$HOME"
"$rdd" svc start
if "$rdd" limavm create web "$template" --wait 2> "$HOME/../error"; then
    echo "a VM was made on a full disk"; exit 1
fi
cat "$HOME/../error"
echo "left: $(ls -A "$HOME/.rd$RDD_INSTANCE/lima" | tr '\n' ' ')"
mount -o remount,size=2g "$HOME"
"$rdd" limavm create web "$template" --wait
[ -d "$HOME/.rd$RDD_INSTANCE/lima/web" ]
echo "made: $(ls "$HOME/.rd$RDD_INSTANCE/lima/web" | tr '\n' ' ')"
"$rdd" svc delete
"#;

#[test]
fn full_disk_is_reported_and_the_vm_is_created_once_there_is_room() {
    let instance = guest::instance();
    let script = instance.scratch().join("script.sh");
    fs::write(&script, SCRIPT).unwrap();
    let output = instance
        .run("unshare", BOOT)
        .args(["--mount", "--map-root-user", "sh"])
        .arg(&script)
        .arg(env!("CARGO_BIN_EXE_rdd"))
        .arg(guest::template())
        .run_any()
        .unwrap();
    let text = output.text();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{stderr}");
    assert!(
        text.contains("no space left on the disk"),
        "{text}\n{stderr}"
    );
    let left = text.lines().find(|line| line.starts_with("left:")).unwrap();
    assert!(!left.contains("web"), "{left}");
    assert!(text.contains("diffdisk") || text.contains("disk"), "{text}");
}
