//! PID 1 until it executes systemd.
//!
//! No error here stops the boot: systemd is executed in any case, and its services do the agent's work.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use rustix::mount::{MountFlags, mount};

use super::{PROGRAM, kernel_log};

/// systemd, in the images that rdd builds.
const REAL_INIT: &str = "/sbin/init";

pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    mount_api_file_systems();
    let agent = Command::new(PROGRAM)
        .arg("agent")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = agent {
        kernel_log::warning(&format!(
            "cannot start {PROGRAM} before systemd, its service will: {error}"
        ));
    }
    let error = Command::new(REAL_INIT).args(arguments).exec();
    kernel_log::warning(&format!("cannot become {REAL_INIT}: {error}"));
    ExitCode::FAILURE
}

/// Mounts with the flags of systemd (`src/shared/mount-setup.c`), which skips what is mounted already.
fn mount_api_file_systems() {
    let secure = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mounts = [
        (
            "devtmpfs",
            "/dev",
            MountFlags::NOSUID,
            c"mode=755,size=4m,nr_inodes=64k",
        ),
        ("proc", "/proc", secure, c""),
        ("sysfs", "/sys", secure, c""),
        (
            "tmpfs",
            "/run",
            MountFlags::NOSUID | MountFlags::NODEV,
            c"mode=755,size=20%,nr_inodes=800k",
        ),
    ];
    for (kind, target, flags, data) in mounts {
        if let Err(error) = mount(kind, target, kind, flags, data) {
            kernel_log::warning(&format!("cannot mount {kind} on {target}: {error}"));
        }
    }
}
