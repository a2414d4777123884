//! Linux: file systems that only this process and its children see, without root privileges (user_namespaces(7),
//! mount_namespaces(7)). They disappear with the last process that sees them, even after `kill -9`.
//!
//! A program calls these functions first, while it has one thread, because the kernel refuses a new user namespace to a
//! process with several threads.

#![expect(unsafe_code, reason = "unshare has no safe wrapper")]

use std::ffi::CString;
use std::io;
use std::path::Path;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces};

use crate::held::Process;

/// Gives this process its own mount namespace. A user without the privilege (everyone but root) also gets a user namespace,
/// keeps the uid in it, and may mount there.
pub fn own() -> io::Result<()> {
    // Read before unshare, because in the new namespace every id is the overflow id (65534) until the id maps are written.
    let (user, group) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    match unshare(UnshareFlags::NEWNS) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
            // The kernel lets a process map its gid only after it has given up setgroups.
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        }
        other => other?,
    }
    separate()
}

/// Joins the mount namespace that `process` made with [`own`], and takes a copy of it: later mounts of this process are not
/// visible to that process.
pub fn join(process: &Process) -> io::Result<()> {
    let mut which = ThreadNameSpaceType::MOUNT;
    let user = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/user"));
    if user("self")? != user(&process.identity().pid().to_string())? {
        which |= ThreadNameSpaceType::USER;
    }
    let fd = process
        .as_poll_fd()
        .ok_or_else(|| io::Error::other("the process is not held by a descriptor"))?;
    move_into_thread_name_spaces(fd, which)?;
    unshare(UnshareFlags::NEWNS)?;
    separate()
}

fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: unsafe for `FILES` only, which is not passed.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Keeps later mounts from appearing in other namespaces.
fn separate() -> io::Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", flags)?)
}

/// Mounts an empty file system of at most `bytes` that lives in memory, for this user only.
pub fn memory(at: &Path, bytes: u64) -> io::Result<()> {
    let options = text(&format!("mode=0700,size={bytes},nr_inodes=0"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("tmpfs", at, "tmpfs", flags, options.as_c_str())?)
}

/// Makes the file system mounted at `at` read-only.
pub fn seal(at: &Path) -> io::Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount_remount(at, flags, text("")?.as_c_str())?)
}

/// Mounts at `at` an overlay of `upper` over `lower`. Writes go to `upper`; `work` is an empty folder beside it. None of the
/// three may contain `,` or `:`, so name them relative to the working directory.
///
/// `userxattr` makes this possible without root privileges (Linux 5.11).
pub fn overlay(lower: &Path, upper: &Path, work: &Path, at: &Path) -> io::Result<()> {
    let mut options = String::from("userxattr");
    for (key, path) in [("lowerdir", lower), ("upperdir", upper), ("workdir", work)] {
        let path = path
            .to_str()
            .filter(|path| !path.contains([',', ':', '\\']));
        let path = path.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the {key} has a name that mount(2) would misread"),
            )
        })?;
        options.push_str(&format!(",{key}={path}"));
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount(
        "overlay",
        at,
        "overlay",
        flags,
        text(&options)?.as_c_str(),
    )?)
}

/// Unmounts `at` for this process and its later children. A file system that is mounted over it keeps it in use.
pub fn hide(at: &Path) -> io::Result<()> {
    Ok(unmount(at, UnmountFlags::DETACH)?)
}

fn text(options: &str) -> io::Result<CString> {
    CString::new(options).map_err(io::Error::other)
}
