//! QEMU's own sandbox: a filter of system calls (seccomp) that a guest which breaks out of its machine meets first.

use std::path::Path;
use std::time::Duration;

use process::command::Run;

/// What QEMU has no business with: obsolete calls, other users, other programs, priorities. As libvirt says it.
const SETTING: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
/// QEMU says its version in 30 ms; a host that is swapping may need seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// The value for `-sandbox`; `None` when this QEMU was built without (it then refuses the option, also before
/// `-version`: `system/vl.c` parses in order).
pub(super) async fn setting(program: &Path) -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let probe = Run::new(program, DEADLINE)
        .args(["-sandbox", SETTING, "-version"])
        .run_async()
        .await;
    match probe {
        Ok(_) => Some(SETTING),
        Err(error) => {
            tracing::info!(%error, "this QEMU has no sandbox; the VM runs without");
            None
        }
    }
}
