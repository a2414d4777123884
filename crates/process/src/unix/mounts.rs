//! Linux: file systems that only this process and its children see, without being root (user_namespaces(7),
//! mount_namespaces(7)). They are gone with the last process that sees them, also after `kill -9`.
//!
//! A program calls these first of all, while it has one thread: the kernel refuses namespaces of users to others.

#![expect(unsafe_code, reason = "unshare has no safe wrapper")]

use std::ffi::CString;
use std::io;
use std::path::Path;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces};

use crate::held::Process;

/// Gives this process mounts of its own. Who may not do that as they are (everybody but root) becomes the only user of
/// a user namespace, under their own number, and may mount there.
pub fn own() -> io::Result<()> {
    // Asked before: inside the new namespace everybody is nobody until the numbers are written.
    let (user, group) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    match unshare(UnshareFlags::NEWNS) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
            // The kernel lets a group number be mapped only by who has given up changing groups.
            std::fs::write("/proc/self/setgroups", "deny")?;
            std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
            std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
        }
        other => other?,
    }
    separate()
}

/// Joins the mounts that `process` made with [`own`], and takes a copy of them: what is mounted from here on, that
/// process does not see.
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
    // SAFETY: unsafe for `FILES` only, which nobody here passes.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// What is mounted here is not to appear elsewhere.
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

/// From now on nobody can write to the file system mounted at `at`.
pub fn seal(at: &Path) -> io::Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount_remount(at, flags, text("")?.as_c_str())?)
}

/// Shows at `at` the folder `lower` with what is in `upper` over it. All that is written goes to `upper`; `work` is
/// an empty folder beside it. `,` and `:` may be in none of the three: name them relative to the current folder.
///
/// `userxattr` is what makes this possible without being root (Linux 5.11).
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

/// Takes away what is mounted at `at`, for this process and those that it starts from here on. What is mounted over it
/// keeps it.
pub fn hide(at: &Path) -> io::Result<()> {
    Ok(unmount(at, UnmountFlags::DETACH)?)
}

fn text(options: &str) -> io::Result<CString> {
    CString::new(options).map_err(io::Error::other)
}
