//! Space that is kept for a full disk: a file of a fixed size, which is removed when the disk is full, so that
//! writes that free space still succeed.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::files;

/// Takes the space, unless the file has it already.
pub(super) fn take(path: &Path, bytes: u64) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == bytes) {
        return Ok(());
    }
    let file = files::create_private(path)?;
    let taken = allocate(&file, bytes);
    if taken.is_err() {
        drop(file);
        files::remove(path)?;
    }
    taken
}

/// Gives the space back. Returns whether there was any.
pub(super) fn release(path: &Path) -> io::Result<bool> {
    let held = path.exists();
    files::remove(path)?;
    Ok(held)
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    fill(file, bytes)
}

/// Writes zeros: the file system may allocate no blocks for a file that was only made longer.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let block = vec![0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let some = left.min(block.len() as u64);
        file.write_all(&block[..some as usize])?;
        left -= some;
    }
    Ok(())
}
