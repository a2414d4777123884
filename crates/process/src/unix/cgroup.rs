//! Linux: a control group (cgroups(7), version 2) for the tree of a child that asked for one
//! ([`crate::spawn::Spawn::contained`]), where the system leaves it to this user to make any below the one we are in.
//!
//! Nobody leaves it by forking, by a new session or by clearing its environment, and the kernel ends all that is in it at
//! once (`cgroup.kill`, Linux 5.14), however fast it forks. Who may write to the group above can still move out on
//! purpose; such a one is looked for by the other signs of [`crate::tree`].
//!
//! The folder is named after the marks of the tree and of those above it, so that who knows any of them finds it, in
//! /proc/PID/cgroup. Whoever ends the tree or reaps its root removes it once nobody is in it; what a crashed parent
//! left is removed by the next one that makes a group beside it. A maker locks its folder until its child is inside, so
//! that nobody takes it for a left-over.
//!
//! All of it is silently left out where it is not possible: no cgroup2 mount, or one that we may not write to.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::FlockOperation;

/// Begins the name of each folder; marks follow, `.` between.
const PREFIX: &str = "rdd-tree-";

/// Room for seven marks. The kernel takes names of up to 255 bytes; the outermost marks are left out.
const NAME_LIMIT: usize = 240;

/// Others may remove a folder between its making and its locking, as a left-over. They do it once, if at all.
const TRIES: u32 = 3;

/// Left-overs that one start of a child removes at most, so that it is never slow.
const SWEEP_LIMIT: usize = 64;

/// Groups within groups that are removed with their outermost: reviews within reviews do not go that deep.
const DEPTH_LIMIT: usize = 16;

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2: u64 = 0x6367_7270;

/// Threads of ours do not take each other's folders for left-overs, between their making and their locking.
static MAKING: Mutex<()> = Mutex::new(());

/// A group, by its folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cgroup(PathBuf);

/// A group that nobody is in yet.
#[derive(Debug)]
pub(crate) struct Fresh {
    cgroup: Cgroup,
    procs: OwnedFd,
    _lock: File,
}

/// What a child needs to enter a group between fork and exec.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance(RawFd);

impl Entrance {
    /// Moves the calling process. One system call. A failure is nobody's: it goes on where it is.
    #[expect(
        unsafe_code,
        reason = "between fork and exec nothing can be owned but numbers"
    )]
    pub(crate) fn enter(self) {
        // SAFETY: `Fresh` keeps it open in the parent until after the fork, so it is open here.
        let procs = unsafe { BorrowedFd::borrow_raw(self.0) };
        // 0 is who writes it.
        let _ = rustix::io::write(procs, b"0");
    }
}

impl Fresh {
    /// Makes a group below ours for a child with these marks, `:` between; `None` where that is not possible.
    pub(crate) fn make(marks: &str) -> Option<Self> {
        let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
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
                tracing::debug!(%error, "a child is started without a cgroup of its own");
                None
            }
        }
    }

    fn at(path: &Path) -> io::Result<Self> {
        std::fs::create_dir(path)?;
        let lock = open_folder(path)?;
        // One that sweeps holds it, to remove it: there is none in a moment.
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared)
            .map_err(|_| io::ErrorKind::NotFound)?;
        let procs = File::options().write(true).open(path.join("cgroup.procs"));
        // The file of a group that was removed after it was opened.
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

    /// The child was started, or not.
    pub(crate) fn into_cgroup(self) -> Cgroup {
        self.cgroup
    }
}

impl Cgroup {
    /// The outermost group with this mark that the process is in.
    pub(crate) fn of(pid: u32, mark: &str) -> Option<Self> {
        let path = outermost(&path_of(&pid.to_string()).ok()?, mark)?;
        folder(&path).ok().map(Cgroup)
    }

    /// Those with this mark right below ours, also when nobody is in them.
    pub(crate) fn below_us(mark: &str) -> Vec<Self> {
        let Ok(ours) = ours() else { return Vec::new() };
        ours_below(&ours)
            .filter(|path| path.file_name().is_some_and(|name| carries(name, mark)))
            .map(Cgroup)
            .collect()
    }

    /// SIGKILL to everybody in it and below it, at once: nobody forks out of it.
    pub(crate) fn kill(&self) {
        // Not there before Linux 5.14, and refused in a threaded group; who is in it is killed one by one then.
        let killed = OpenOptions::new()
            .write(true)
            .open(self.0.join("cgroup.kill"))
            .and_then(|mut file| file.write_all(b"1"));
        if let Err(error) = killed {
            tracing::debug!(cgroup = %self.0.display(), %error, "a cgroup cannot be killed as one");
        }
    }

    /// Whether anybody lives in it or below it.
    pub(crate) fn is_populated(&self) -> bool {
        std::fs::read_to_string(self.0.join("cgroup.events"))
            .is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
    }

    /// Who lives in it or below it; 0 for one that our PID namespace does not show.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        list(&self.0, DEPTH_LIMIT, &mut pids);
        pids
    }

    /// Removes the group and those below it, when nobody is in any of them. True when it is gone.
    pub(crate) fn remove(&self) -> bool {
        // The kernel refuses to remove what somebody is in; asked before, so that all go or none.
        !self.is_populated() && remove(&self.0, DEPTH_LIMIT)
    }
}

/// Whose name says that they were made here.
fn ours_below(folder: &Path) -> impl Iterator<Item = PathBuf> {
    groups_in(folder).filter(|path| {
        path.file_name()
            .is_some_and(|name| name.as_bytes().starts_with(PREFIX.as_bytes()))
    })
}

/// Removes what crashed parents left beside the group that is about to be made.
fn sweep(ours: &Path) {
    let empty = ours_below(ours)
        .map(Cgroup)
        .filter(|cgroup| !cgroup.is_populated());
    for cgroup in empty.take(SWEEP_LIMIT) {
        // Locked: somebody's child is on its way into it.
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

/// The folder of the group that this process is in.
fn ours() -> io::Result<PathBuf> {
    folder(&path_of("self")?)
}

/// The line of version 2 in proc_pid_cgroup(5): `0::PATH`.
fn path_of(pid: &str) -> io::Result<PathBuf> {
    let text = std::fs::read(format!("/proc/{pid}/cgroup"))?;
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"0::"));
    let path = line.ok_or_else(|| io::Error::other("this system has no cgroups of version 2"))?;
    Ok(PathBuf::from(OsStr::from_bytes(path)))
}

/// Where the group is shown, by a mount that shows it.
fn folder(path: &Path) -> io::Result<PathBuf> {
    let mounts = std::fs::read("/proc/self/mountinfo")?;
    let mounts = mounts.split(|byte| *byte == b'\n').filter_map(mount);
    for (root, point) in mounts {
        let Ok(below) = path.strip_prefix(&root) else {
            continue;
        };
        // `..`: a group that our namespace does not show.
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

/// What a line of proc_pid_mountinfo(5) shows, and where, when it is of cgroups of version 2.
fn mount(line: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = unescaped(fields.nth(3)?);
    let point = unescaped(fields.next()?);
    // Any number of optional fields, then a dash and the type.
    fields.find(|field| *field == b"-")?;
    (fields.next()? == b"cgroup2").then_some((root, point))
}

/// Space, tab, newline and backslash are written as three octal digits there.
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

/// The folder's name for a child with these marks, outermost first.
fn name(marks: &str) -> String {
    // A mark comes from a file or the environment; only ours are known to be no paths.
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

/// Whether a folder of this name belongs to the tree with this mark.
fn carries(name: &OsStr, mark: &str) -> bool {
    let marks = name.as_bytes().strip_prefix(PREFIX.as_bytes());
    marks.is_some_and(|marks| {
        !mark.is_empty()
            && marks
                .split(|byte| *byte == b'.')
                .any(|one| one == mark.as_bytes())
    })
}

/// The path down to the first group of the tree with this mark.
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
    fn a_name_holds_the_innermost_marks_and_nothing_that_is_a_path() {
        assert_eq!(name("a:b"), "rdd-tree-a.b");
        assert_eq!(name("../..:x/y::b.c:d"), "rdd-tree-d");
        let many: Vec<String> = (0..20).map(|one| format!("{one:032}")).collect();
        let name = name(&many.join(":"));
        assert!(name.len() <= 255);
        assert!(carries(name.as_ref(), &many[19]) && carries(name.as_ref(), &many[13]));
        assert!(!carries(name.as_ref(), &many[0]));
    }

    #[test]
    fn a_member_is_in_or_below_a_group_with_the_mark_and_only_the_whole_mark_counts() {
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
    fn a_mount_is_known_by_its_type_wherever_its_line_has_it() {
        let line = b"41 31 0:38 /a\\040b /sys/fs/cg\\134x rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw";
        assert_eq!(mount(line), Some(("/a b".into(), "/sys/fs/cg\\x".into())));
        assert_eq!(
            mount(b"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"),
            None
        );
        assert_eq!(mount(b""), None);
    }
}
