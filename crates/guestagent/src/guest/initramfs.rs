//! PID 1 of the initial RAM disk: loads the driver of the root disk, mounts the disk, and becomes the agent that is on it
//! ([`super::init`]).
//!
//! The archive is made by `guestimage`'s `initrd`. On failure the kernel panics with "Attempted to kill init", after the
//! reason; QEMU then ends, and the hostagent shows the console's last lines.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};

use super::netlink::Uevents;
use super::{PROGRAM, files, kernel_log, kernel_modules};

/// The modules that the root disk needs; `guestimage`'s `initrd` packs the same ones.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];
/// How long the disk may take to appear after its driver was loaded. The driver finds it at once.
const DISK_DEADLINE: Duration = Duration::from_secs(10);
/// Where the root file system is mounted before it becomes `/`.
const NEW_ROOT: &str = "/root";

pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match switch_root() {
        Ok(init) => {
            let error = Command::new(&init).args(arguments).exec();
            kernel_log::warning(&format!("cannot become {init}: {error}"));
        }
        Err(error) => kernel_log::warning(&error),
    }
    ExitCode::FAILURE
}

/// Makes the root disk `/` and returns the program to become.
fn switch_root() -> Result<String, String> {
    let api = |kind: &str, target: &str| {
        mount(kind, target, kind, MountFlags::NOSUID, c"")
            .map_err(|error| format!("cannot mount {kind} on {target}: {error}"))
    };
    api("devtmpfs", "/dev")?;
    api("proc", "/proc")?;
    kernel_modules::load(&MODULES);
    let words = files::text("/proc/cmdline");
    let word = |name: &str| {
        words
            .split_ascii_whitespace()
            .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .next_back()
    };
    let disk = word("root").ok_or("the kernel's command line names no root= disk")?;
    let kind = word("rootfstype").unwrap_or("ext4");
    let init = word("init").unwrap_or(PROGRAM).to_owned();
    let exists = || Path::new(disk).exists().then_some(());
    let found = match Uevents::open() {
        Ok(events) => events.wait_for(DISK_DEADLINE, exists),
        Err(_) => exists(),
    };
    if found.is_none() {
        return Err(format!(
            "the root disk {disk} did not appear within {} s",
            DISK_DEADLINE.as_secs()
        ));
    }
    mount(disk, NEW_ROOT, kind, MountFlags::empty(), c"")
        .map_err(|error| format!("cannot mount {disk} as {kind}: {error}"))?;
    // The RAM disk's memory is freed only with its files.
    let _ = std::fs::remove_file("/init");
    let _ = std::fs::remove_dir_all("/lib");
    for target in ["/proc", "/dev"] {
        let _ = unmount(target, UnmountFlags::DETACH);
    }
    let moved = rustix::process::chdir(NEW_ROOT)
        .and_then(|()| mount_move(".", "/"))
        .and_then(|()| rustix::process::chroot("."))
        .and_then(|()| rustix::process::chdir("/"));
    moved.map_err(|error| format!("cannot make {disk} the root file system: {error}"))?;
    Ok(init)
}
