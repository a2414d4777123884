//! Grows the mounted root file system to the size of its disk.

use std::process::{Command, Stdio};

use super::files;

/// Unused space at the end of the disk below which nothing is done, because a file system never fills its disk exactly.
const SLACK_BYTES: u64 = 16 << 20;

/// Grows the root file system if its disk is larger, and returns the new size. Images have one file system on the whole
/// disk, so there is no partition to grow.
///
/// # Errors
/// A sentence about what failed.
pub(crate) fn grow() -> Result<Option<u64>, String> {
    let device = root_device().ok_or("cannot find the disk of the root file system")?;
    let name = device.rsplit('/').next().unwrap_or(&device);
    let sectors: u64 = files::text(format!("/sys/class/block/{name}/size"))
        .trim()
        .parse()
        .unwrap_or(0);
    let disk = sectors * 512;
    let stat = rustix::fs::statvfs("/")
        .map_err(|error| format!("cannot measure the root file system: {error}"))?;
    // `f_blocks` leaves out ext4's own tables, about 2 %.
    let used = stat.f_blocks * stat.f_frsize;
    if disk <= used + used / 16 + SLACK_BYTES {
        return Ok(None);
    }
    let output = Command::new("/sbin/resize2fs")
        .arg(&device)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run resize2fs: {error}"))?;
    if output.status.success() {
        Ok(Some(disk))
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "resize2fs {device} ended with {}: {}",
            output.status,
            text.trim()
        ))
    }
}

/// Finds the device by its number, because `/proc/self/mountinfo` says `/dev/root` for a root that the kernel mounted.
fn root_device() -> Option<String> {
    use rustix::fs::{major, minor, stat};
    let number = stat("/").ok()?.st_dev;
    let uevent = files::text(format!(
        "/sys/dev/block/{}:{}/uevent",
        major(number),
        minor(number)
    ));
    let name = uevent
        .lines()
        .find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(format!("/dev/{name}"))
}
