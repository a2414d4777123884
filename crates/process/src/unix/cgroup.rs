//! Linux: a control group (cgroups(7), version 2) for the tree of a contained child
//! ([`crate::spawn::Spawn::contained`]), where this user may make cgroups below the current one.
//!
//! A process cannot leave its cgroup by forking, by a new session or by clearing its environment, and the kernel kills all
//! members at once (`cgroup.kill`, Linux 5.14), however fast they fork. A process that may write to the parent cgroup can
//! still move out on purpose; it is found by the other criteria of [`crate::tree`].
//!
//! The folder is named after the marks of the tree and of the trees above it, so that the cgroup of each mark is found in
//! /proc/PID/cgroup. The process that ends the tree or reaps its root removes the folder once it is empty; a folder that a
//! crashed parent left is removed by the next process that makes a cgroup beside it. The maker locks the folder until its
//! child is inside, so that the folder is not taken for a left-over.
//!
//! Best effort: without a writable cgroup2 mount, children are started without a cgroup.

use parking_lot::Mutex;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FlockOperation;

/// The prefix of each folder's name; the marks follow, separated by `.`.
const PREFIX: &str = "rdd-tree-";

/// The longest name, with room for seven marks. The kernel accepts 255 bytes; the outermost marks are left out.
const NAME_LIMIT: usize = 240;

/// Attempts to make and lock a folder. Another process may remove it in between as a left-over, but hardly twice.
const TRIES: u32 = 3;

/// The most left-overs that one start of a child removes, so that the start is never slow.
const SWEEP_LIMIT: usize = 64;

/// The depth of nested cgroups that are removed with the outermost one; more than nested reviews need.
const DEPTH_LIMIT: usize = 16;

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2: u64 = 0x6367_7270;

/// Held between making and locking a folder, so that threads of this process do not take each other's folders for
/// left-overs.
static MAKING: Mutex<()> = Mutex::new(());

/// A cgroup, by its folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cgroup(PathBuf);

/// A new cgroup without a member.
#[derive(Debug)]
pub(crate) struct Fresh {
    cgroup: Cgroup,
    procs: OwnedFd,
    _lock: File,
}

/// What a child needs to enter a cgroup between fork and exec.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance(RawFd);

impl Entrance {
    /// Moves the calling process by one system call. On failure the process stays in its current cgroup.
    #[expect(
        unsafe_code,
        reason = "between fork and exec only numbers can be owned"
    )]
    pub(crate) fn enter(self) {
        // SAFETY: `Fresh` keeps it open in the parent until after the fork, so it is open here.
        let procs = unsafe { BorrowedFd::borrow_raw(self.0) };
        // 0 means the process that writes.
        let _ = rustix::io::write(procs, b"0");
    }
}

impl Fresh {
    /// Makes a cgroup below the current one for a child with these marks, separated by `:`; `None` if that is not possible.
    pub(crate) fn make(marks: &str) -> Option<Self> {
        let _alone = MAKING.lock();
        let made = (|| {
            let ours = ours()?;
            sweep(&ours);
            let path = ours.join(name(marks));
            let mut tries = 1;
            loop {
                match Self::at(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                        tries += 1;
                    }
                    other => return other,
                }
            }
        })();
        match made {
            Ok(fresh) => Some(fresh),
            Err(error) => {
                tracing::debug!(%error, "a child is started without its own cgroup");
                None
            }
        }
    }

    fn at(path: &Path) -> io::Result<Self> {
        std::fs::create_dir(path)?;
        let lock = open_folder(path)?;
        // A process that removes left-overs holds the lock; the folder is about to disappear.
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared)
            .map_err(|_| io::ErrorKind::NotFound)?;
        let procs = File::options().write(true).open(path.join("cgroup.procs"));
        // The folder was removed after it was opened.
        let procs = procs.map_err(|error| match error.raw_os_error() {
            Some(libc::ENODEV) => io::ErrorKind::NotFound.into(),
            _ => error,
        });
        let cgroup = Cgroup(path.to_owned());
        match procs.and_then(|procs| crate::sys::child::above_stdio(procs.into())) {
            Ok(procs) => Ok(Fresh {
                cgroup,
                procs,
                _lock: lock,
            }),
            Err(error) => {
                cgroup.remove();
                Err(error)
            }
        }
    }

    pub(crate) fn entrance(&self) -> Entrance {
        Entrance(self.procs.as_raw_fd())
    }

    /// Returns the cgroup, once the start of the child has succeeded or failed.
    pub(crate) fn into_cgroup(self) -> Cgroup {
        self.cgroup
    }
}

impl Cgroup {
    /// Returns the outermost cgroup with this mark that the process is in.
    pub(crate) fn of(pid: u32, mark: &str) -> Option<Self> {
        let path = outermost(&path_of(&pid.to_string()).ok()?, mark)?;
        folder(&path).ok().map(Cgroup)
    }

    /// Returns the cgroups with this mark directly below the current one, even if they are empty.
    pub(crate) fn below_us(mark: &str) -> Vec<Self> {
        let Ok(ours) = ours() else { return Vec::new() };
        ours_below(&ours)
            .filter(|path| path.file_name().is_some_and(|name| carries(name, mark)))
            .map(Cgroup)
            .collect()
    }

    /// Kills all processes in the cgroup and below it atomically, so that none escapes by forking.
    pub(crate) fn kill(&self) {
        // Missing before Linux 5.14, and refused in a threaded cgroup; the members are then killed one by one.
        let killed = OpenOptions::new()
            .write(true)
            .open(self.0.join("cgroup.kill"))
            .and_then(|mut file| file.write_all(b"1"));
        if let Err(error) = killed {
            tracing::debug!(cgroup = %self.0.display(), %error, "cannot kill a cgroup atomically");
        }
    }

    /// Returns whether a process lives in the cgroup or below it.
    pub(crate) fn is_populated(&self) -> bool {
        std::fs::read_to_string(self.0.join("cgroup.events"))
            .is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
    }

    /// Returns the PIDs of the processes in the cgroup and below it; 0 for one outside of this PID namespace.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        list(&self.0, DEPTH_LIMIT, &mut pids);
        pids
    }

    /// Removes the cgroup and those below it if all are empty. Returns true if it is gone.
    pub(crate) fn remove(&self) -> bool {
        // The kernel refuses to remove a cgroup with members. Checked first, so that either all are removed or none.
        !self.is_populated() && remove(&self.0, DEPTH_LIMIT)
    }
}

/// Returns the folders whose name has the prefix of this module.
fn ours_below(folder: &Path) -> impl Iterator<Item = PathBuf> {
    groups_in(folder).filter(|path| {
        path.file_name()
            .is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()))
    })
}

/// Removes the cgroups that crashed parents left beside the one that is about to be made.
fn sweep(ours: &Path) {
    let empty = ours_below(ours)
        .map(Cgroup)
        .filter(|cgroup| !cgroup.is_populated());
    for cgroup in empty.take(SWEEP_LIMIT) {
        // Locked: a child is about to enter it.
        if let Ok(lock) = open_folder(&cgroup.0)
            && rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            cgroup.remove();
        }
    }
}

fn groups_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

fn list(folder: &Path, depth: usize, pids: &mut Vec<u32>) {
    let text = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().flat_map(str::parse::<u32>));
    if depth > 0 {
        groups_in(folder).for_each(|group| list(&group, depth - 1, pids));
    }
}

fn remove(folder: &Path, depth: usize) -> bool {
    if depth > 0 {
        groups_in(folder).for_each(|group| {
            remove(&group, depth - 1);
        });
    }
    match std::fs::remove_dir(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn open_folder(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
}

/// Returns the folder of this process's cgroup.
fn ours() -> io::Result<PathBuf> {
    folder(&path_of("self")?)
}

/// Returns the path in the line of version 2 of proc_pid_cgroup(5): `0::PATH`.
fn path_of(pid: &str) -> io::Result<PathBuf> {
    let text = std::fs::read(format!("/proc/{pid}/cgroup"))?;
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"));
    let path = line.ok_or_else(|| io::Error::other("this system has no cgroups of version 2"))?;
    Ok(PathBuf::from(OsStr::from_bytes(path)))
}

/// Returns the folder of the cgroup in a mount that contains it.
fn folder(path: &Path) -> io::Result<PathBuf> {
    let mounts = std::fs::read("/proc/self/mountinfo")?;
    let mounts = mounts.split(|byte| *byte == b'\n').filter_map(mount);
    for (root, point) in mounts {
        let Ok(below) = path.strip_prefix(&root) else {
            continue;
        };
        // `..`: a cgroup outside of this namespace.
        let is_plain = below
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let folder = point.join(below);
        // Another file system may be mounted over it.
        if is_plain && rustix::fs::statfs(&folder).is_ok_and(|found| found.f_type as u64 == CGROUP2)
        {
            return Ok(folder);
        }
    }
    Err(io::Error::other("no mount shows the cgroup of version 2"))
}

/// Returns the root and the mount point of a line of proc_pid_mountinfo(5), if it is a mount of cgroups of version 2.
fn mount(line: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = unescaped(fields.nth(3)?);
    let point = unescaped(fields.next()?);
    // Any number of optional fields, a dash, and the type.
    fields.find(|field| *field == b"-")?;
    (fields.next()? == b"cgroup2").then_some((root, point))
}

/// Decodes the octal escapes for space, tab, newline and backslash.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        (bytes, rest) = match code {
            Some(code) => ([bytes, vec![code]].concat(), &after[3..]),
            None => ([bytes, vec![*first]].concat(), after),
        };
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Returns the folder's name for a child with these marks, outermost first.
fn name(marks: &str) -> String {
    // A mark comes from a file or the environment and could contain a path.
    let known =
        |mark: &&str| !mark.is_empty() && mark.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let mut kept = Vec::new();
    let mut length = PREFIX.len();
    for mark in marks.rsplit(':').filter(known) {
        length += mark.len() + 1;
        if length > NAME_LIMIT {
            break;
        }
        kept.push(mark);
    }
    kept.reverse();
    format!("{PREFIX}{}", kept.join("."))
}

/// Returns whether a folder of this name belongs to the tree with this mark.
fn carries(name: &OsStr, mark: &str) -> bool {
    let marks = name.as_bytes().strip_prefix(PREFIX.as_bytes());
    marks.is_some_and(|marks| {
        !mark.is_empty()
            && marks
                .split(|byte| *byte == b'.')
                .any(|one| one == mark.as_bytes())
    })
}

/// Returns the path down to the first cgroup of the tree with this mark.
fn outermost(path: &Path, mark: &str) -> Option<PathBuf> {
    path.ancestors()
        .filter(|above| above.file_name().is_some_and(|name| carries(name, mark)))
        .last()
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_has_the_innermost_marks_and_no_path() {
        assert_eq!(name("a:b"), "rdd-tree-a.b");
        assert_eq!(name("../..:x/y::b.c:d"), "rdd-tree-d");
        let many: Vec<String> = (0..20).map(|one| format!("{one:032}")).collect();
        let name = name(&many.join(":"));
        assert!(name.len() <= 255);
        assert!(carries(name.as_ref(), &many[19]) && carries(name.as_ref(), &many[13]));
        assert!(!carries(name.as_ref(), &many[0]));
    }

    #[test]
    fn member_is_in_or_below_a_cgroup_with_the_whole_mark() {
        let path = Path::new("/user.slice/rdd-tree-a.b/rdd-tree-a.b.c/x");
        assert_eq!(
            outermost(path, "b"),
            Some("/user.slice/rdd-tree-a.b".into())
        );
        assert_eq!(
            outermost(path, "c"),
            Some("/user.slice/rdd-tree-a.b/rdd-tree-a.b.c".into())
        );
        for stranger in ["", "x", "a.b", "rdd-tree-a", "tree", "user"] {
            assert_eq!(outermost(path, stranger), None, "{stranger}");
        }
    }

    #[test]
    fn cgroup_mount_is_recognized_by_its_type() {
        let line = b"41 31 0:38 /a\\040b /sys/fs/cg\\134x rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw";
        assert_eq!(mount(line), Some(("/a b".into(), "/sys/fs/cg\\x".into())));
        assert_eq!(
            mount(b"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"),
            None
        );
        assert_eq!(mount(b""), None);
    }
}
