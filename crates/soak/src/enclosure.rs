//! Where a soak runs: it may mount there, and it leaves nothing behind, however it ends.
//!
//! ```text
//! caller ─▶ unshare ─▶ sh, the first process of a namespace ─▶ the soak ─▶ daemon, hostagents, QEMUs
//! ```
//! When the first process of a namespace ends, the kernel ends all others in it: so whoever of the first four ends, by
//! Ctrl-C or `kill -9`, everything of the soak ends. Its files are in a file system that only this namespace has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use process::command::Run;

/// Making namespaces takes milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

/// It may mount what nobody else sees, also when its user is not root.
const MOUNTS: &[&str] = &["unshare", "--mount", "--map-root-user"];

/// And its processes end with it. The shell is there to reap those whose parents were killed.
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

/// Folders that each system has and that hold little.
const MOUNT_POINTS: [&str; 3] = ["/mnt", "/media", "/srv"];

/// The words before a command that runs a soak ([`crate::Options::small_disk`]).
#[must_use]
pub fn enclosure() -> &'static [&'static str] {
    // A container may hide parts of /proc, and then the kernel does not mount another one.
    if ends_all() {
        MOUNTS_AND_PROCESSES
    } else {
        MOUNTS
    }
}

/// Whether all processes of a soak end when one of those around it is killed. The user has to clean up where the system
/// does not allow it.
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

/// Mounts a file system for all files of a soak that goes with its namespace, where it hides none of `needed`; `None`
/// when it cannot be mounted.
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
