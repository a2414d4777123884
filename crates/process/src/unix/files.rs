//! The Unix part of files and folders.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const PERMISSION_BITS: u32 = 0o7777;

pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    // The file gets the caller's mode regardless of the umask.
    if file.metadata()?.mode() & PERMISSION_BITS != mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    std::fs::remove_dir(path)
}

pub(crate) fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let there = std::fs::metadata(path)?;
    if there.mode() & 0o077 != 0 {
        // Fails, as intended, if the folder belongs to another user.
        std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}
