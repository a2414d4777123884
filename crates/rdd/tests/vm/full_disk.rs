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

/// A guest that writes while the host's disk is full. QEMU pauses the guest, and the guest continues once there is space.
const RUNNING: &str = r#"
set -eu
rdd=$1 template=$2
mount -t tmpfs -o size=1g,mode=0700 tmpfs "$HOME"
"$rdd" limavm create web "$template" --start --wait
socket=$HOME/.rd$RDD_INSTANCE/lima/web/ha.sock
info() { curl -s --unix-socket "$socket" http://hostagent/v1/info; }
free=$(df --output=avail -k "$HOME" | tail -n 1)
fallocate -l $(((free - 16384) * 1024)) "$HOME/fill"
"$rdd" limavm shell web -- sh -c 'dd if=/dev/urandom of=data bs=1M count=40 2> /dev/null; sync; sha256sum < data' \
    > "$HOME/../before" &
writer=$!
tries=0
until info | grep -q '"runStatus":"diskerror".*'; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || { echo "the guest is not paused"; info; exit 1; }
    sleep 0.2
done
until info | grep -q 'the guest is paused, because the disk of this host is full'; do sleep 0.2; done
echo "paused: $(info | grep -o 'free [0-9]* MiB more')"
rm "$HOME/fill"
wait $writer
echo "before: $(cat "$HOME/../before")"
echo "after: $("$rdd" limavm shell web -- sudo sh -c 'echo 3 > /proc/sys/vm/drop_caches; sha256sum < data')"
echo "errors: $("$rdd" limavm shell web -- sudo sh -c 'dmesg | grep -ci "i/o error\|aborting journal\|remounting filesystem read-only" || true')"
until info | grep -q '"phase":"running"'; do sleep 0.2; done
"$rdd" svc delete
"#;

/// The guest sees no error of the full disk, so it keeps its file system and every byte that it has synced.
#[test]
fn guest_is_paused_while_the_host_disk_is_full_and_continues_without_losing_data() {
    let instance = guest::instance();
    let _slot = testutils::VmSlot::acquire();
    let script = instance.scratch().join("script.sh");
    fs::write(&script, RUNNING).unwrap();
    let output = instance
        .run("unshare", 2 * BOOT)
        .args(["--mount", "--map-root-user", "sh"])
        .arg(&script)
        .arg(env!("CARGO_BIN_EXE_rdd"))
        .arg(guest::template())
        .run_any()
        .unwrap();
    let text = output.text();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{stderr}");
    let line = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
    };
    assert!(line("paused:").ends_with("MiB more"), "{text}");
    assert!(line("before:").len() > 64, "{text}");
    assert_eq!(line("before:"), line("after:"), "{text}");
    assert_eq!(line("errors:"), "0", "{text}");
}
