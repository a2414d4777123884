//! The namespaces of a soak, in which it can mount, and which leave nothing behind however the soak ends.
//!
//! ```text
//! caller ─▶ unshare ─▶ sh, the first process of a namespace ─▶ the soak ─▶ daemon, hostagents, QEMUs
//! ```
//! When the first process of a PID namespace ends, the kernel kills all others in it. So when one of the first four
//! processes ends, by Ctrl-C or `kill -9`, every process of the soak ends. The files are in a file system that only this
//! namespace has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use process::command::Run;

/// The timeout for creating namespaces, which takes milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

/// A mount namespace, in a user namespace for users other than root.
const MOUNTS: &[&str] = &["unshare", "--mount", "--map-root-user"];

/// With a PID namespace, so that its processes end with it. The shell reaps processes whose parents were killed.
const MOUNTS_AND_PROCESSES: &[&str] = &[
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--map-root-user",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "sh",
    "-c",
    "\"$@\"; exit $?",
    "sh",
];

/// Folders that every system has and that contain little.
const MOUNT_POINTS: [&str; 3] = ["/mnt", "/media", "/srv"];

/// The words to put before a command that runs a soak ([`crate::Options::small_disk`]).
#[must_use]
pub fn enclosure() -> &'static [&'static str] {
    // In a container that hides parts of /proc the kernel refuses to mount another /proc.
    if ends_all() {
        MOUNTS_AND_PROCESSES
    } else {
        MOUNTS
    }
}

/// Whether all processes of a soak end when one of its outer processes is killed. Where the system does not allow it, the
/// user must clean up.
#[must_use]
pub fn ends_all() -> bool {
    let [program, rest @ ..] = MOUNTS_AND_PROCESSES else {
        return false;
    };
    Run::new(program, LIMIT)
        .args(rest)
        .arg("true")
        .run()
        .is_ok()
}

/// Mounts a file system for the files of a soak, at a place where it hides none of `needed`; returns `None` if it cannot be
/// mounted. It disappears with the namespace.
pub(crate) fn private_folder(needed: &[&Path]) -> Option<PathBuf> {
    let hides = |folder: &Path| needed.iter().any(|path| path.starts_with(folder));
    let folder = MOUNT_POINTS
        .map(PathBuf::from)
        .into_iter()
        .find(|folder| folder.is_dir() && !hides(folder))?;
    Run::new("mount", LIMIT)
        .args(["-t", "tmpfs", "-o", "mode=0755", "tmpfs"])
        .arg(&folder)
        .run()
        .ok()
        .map(|_| folder)
}
