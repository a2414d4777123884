//! Which processes have a file open, as the kernel of macOS reports it (libproc: `PROC_PIDLISTFDS`,
//! `PROC_PIDFDVNODEINFO`).
//!
//! The kernel does not report the holder of a lock. But a lock is passed to a child as an open descriptor
//! ([`crate::FileLock::into_fd`]) that was opened for writing, while a query opens the file for reading.

#![expect(unsafe_code, reason = "libproc is C")]

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::identity::Identity;
use crate::sys;

/// The flavor of `proc_pidfdinfo` with the file's device and inode (sys/proc_info.h).
const PROC_PIDFDVNODEINFO: libc::c_int = 1;

/// Set in `fi_openflags` of a descriptor that was opened for writing (sys/fcntl.h: FWRITE).
const OPEN_FOR_WRITING: u32 = 2;

/// Room for descriptors that are opened between counting and listing them.
const SPARE_DESCRIPTORS: usize = 32;

/// `struct proc_fileinfo` of sys/proc_info.h.
#[repr(C)]
struct FileInfo {
    open_flags: u32,
    status: u32,
    offset: libc::off_t,
    kind: i32,
    guard_flags: u32,
}

/// `struct vnode_fdinfo` of sys/proc_info.h.
#[repr(C)]
struct DescriptorInfo {
    file: FileInfo,
    vnode: libc::vnode_info,
}

// As the C compiler of macOS lays them out.
const _: () = assert!(size_of::<FileInfo>() == 24 && size_of::<DescriptorInfo>() == 176);

/// Returns the processes of this user that have the file open for writing, oldest first, without the calling process. Each
/// is identified before it is inspected, so its PID was not reused.
///
/// # Errors
/// The file does not exist, or the process table cannot be read.
pub fn writers(path: &Path) -> io::Result<Vec<Identity>> {
    let file = File::at(path)?;
    let mut found: Vec<Identity> = sys::snapshot()?
        .into_iter()
        .filter(|one| !one.ended && one.pid != std::process::id())
        .filter_map(|one| Identity::of(one.pid).ok().flatten())
        .filter(|identity| file.is_open_in(identity))
        .collect();
    found.sort_by_key(Identity::start_time);
    Ok(found)
}

/// Returns whether the process has the file open for writing.
///
/// # Errors
/// The file does not exist.
pub fn is_writer(identity: &Identity, path: &Path) -> io::Result<bool> {
    Ok(File::at(path)?.is_open_in(identity))
}

/// Device and inode, which identify a file regardless of its path.
struct File {
    device: u64,
    number: u64,
}

impl File {
    fn at(path: &Path) -> io::Result<Self> {
        let there = std::fs::metadata(path)?;
        Ok(File {
            device: there.dev(),
            number: there.ino(),
        })
    }

    fn is_open_in(&self, identity: &Identity) -> bool {
        let Ok(pid) = libc::c_int::try_from(identity.pid()) else {
            return false;
        };
        let is_open = descriptors(pid)
            .into_iter()
            .filter_map(|descriptor| look_at(pid, descriptor))
            .any(|info| {
                let stat = &info.vnode.vi_stat;
                info.file.open_flags & OPEN_FOR_WRITING != 0
                    && u64::from(stat.vst_dev) == self.device & u64::from(u32::MAX)
                    && stat.vst_ino == self.number
            });
        // The PID was not reused.
        is_open && matches!(Identity::of(identity.pid()), Ok(Some(now)) if now == *identity)
    }
}

/// Returns the descriptors of files; none for a process that is gone or belongs to another user.
fn descriptors(pid: libc::c_int) -> Vec<i32> {
    // SAFETY: without a buffer the call only returns how many bytes it would need.
    let bytes =
        unsafe { libc::proc_pidinfo(pid, libc::PROC_PIDLISTFDS, 0, std::ptr::null_mut(), 0) };
    let entry = size_of::<libc::proc_fdinfo>();
    let count = usize::try_from(bytes).unwrap_or(0) / entry + SPARE_DESCRIPTORS;
    let mut all = vec![
        libc::proc_fdinfo {
            proc_fd: 0,
            proc_fdtype: 0,
        };
        count
    ];
    let Ok(room) = libc::c_int::try_from(count * entry) else {
        return Vec::new();
    };
    // SAFETY: the buffer has the length that is given, and any bytes are a value of its items.
    let bytes =
        unsafe { libc::proc_pidinfo(pid, libc::PROC_PIDLISTFDS, 0, all.as_mut_ptr().cast(), room) };
    all.truncate(usize::try_from(bytes).unwrap_or(0) / entry);
    all.into_iter()
        .filter(|one| one.proc_fdtype == libc::PROX_FDTYPE_VNODE.cast_unsigned())
        .map(|one| one.proc_fd)
        .collect()
}

/// `None` when it was closed meanwhile.
fn look_at(pid: libc::c_int, descriptor: i32) -> Option<DescriptorInfo> {
    // SAFETY: plain C structs of integers, for which all zeros is a value.
    let mut info: DescriptorInfo = unsafe { std::mem::zeroed() };
    let size = libc::c_int::try_from(size_of::<DescriptorInfo>()).ok()?;
    // SAFETY: the buffer is a vnode_fdinfo of the size that is given.
    let got = unsafe {
        libc::proc_pidfdinfo(
            pid,
            descriptor,
            PROC_PIDFDVNODEINFO,
            (&raw mut info).cast(),
            size,
        )
    };
    (got == size).then_some(info)
}
