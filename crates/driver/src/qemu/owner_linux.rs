//! Which process holds a lock, on Linux, read from /proc.

use std::path::Path;

use process::Identity;

/// Returns the process that holds the lock; `likely` is checked first. `None` also if this user may not inspect the
/// holder.
pub(super) fn find(lock: &Path, likely: Option<&Identity>) -> std::io::Result<Option<Identity>> {
    let lock = std::fs::canonicalize(lock)?;
    if let Some(likely) = likely
        && likely.is_of_this_boot().unwrap_or(false)
        && let Some(found) = identified(likely.pid(), &lock)
    {
        return Ok(Some(found));
    }
    let mut found: Vec<Identity> = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        // This process holds the lock itself while it starts QEMU.
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| identified(pid, &lock))
        .collect();
    // QEMU is older than any process that it may have started.
    found.sort_by_key(Identity::start_time);
    Ok(found.into_iter().next())
}

/// Returns the process `pid` if it holds the lock. Its identity is read before the check and verified after it.
fn identified(pid: u32, lock: &Path) -> Option<Identity> {
    let identity = Identity::of(pid).ok()??;
    if !holds(pid, lock) {
        return None;
    }
    let process = process::Process::open(&identity).ok()??;
    process.is_running().then_some(identity)
}

/// Returns whether the process holds the lock. The kernel reports `lock: 1: OFDLCK ADVISORY WRITE …` in the fdinfo of a
/// descriptor of this file (`proc_pid_fdinfo(5)`). A process whose descriptors are not readable belongs to another user, so
/// it is no QEMU of this user.
fn holds(pid: u32, lock: &Path) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        std::fs::read_link(descriptor.path()).is_ok_and(|file| file == lock)
            && std::fs::read_to_string(format!(
                "/proc/{pid}/fdinfo/{}",
                descriptor.file_name().to_string_lossy()
            ))
            .is_ok_and(|info| {
                info.lines()
                    .any(|line| line.starts_with("lock:") && line.contains("OFDLCK"))
            })
    })
}
