//! The Windows part of files and folders.
//!
//! Modes have no effect: files in the user's profile are private by the ACL that they inherit.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION};

use super::handle::is;
use super::lock::which;
use crate::pause;

/// How long a virus scanner, a reader or a helper that is ending may keep a file or folder open.
const READERS_LAST: Duration = Duration::from_secs(2);

pub(crate) fn create_new(path: &Path, _mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Renames. The standard library uses POSIX semantics or `MOVEFILE_REPLACE_EXISTING`; both fail while a process has the old
/// file open without allowing its removal, or has a file in the folder open.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    again_while_open(|| std::fs::rename(from, to), || !to.is_dir())
}

/// Removes a file. A process that is ending closes its files one after the other.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    again_while_open(|| std::fs::remove_dir(path), || true)
}

/// Retries while a process has the file or folder open, and while `sensible`.
fn again_while_open(
    mut ask: impl FnMut() -> io::Result<()>,
    sensible: impl Fn() -> bool,
) -> io::Result<()> {
    let deadline = Instant::now() + READERS_LAST;
    loop {
        match ask() {
            Err(error)
                if (is(&error, ERROR_ACCESS_DENIED) || is(&error, ERROR_SHARING_VIOLATION))
                    && sensible()
                    && pause::until_next_look(deadline) => {}
            result => return result,
        }
    }
}

pub(crate) fn is_same(one: &File, other: &File) -> io::Result<bool> {
    Ok(which(one)? == which(other)?)
}

#[expect(clippy::unnecessary_wraps, reason = "Unix has to")]
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}
