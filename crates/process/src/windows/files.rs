//! What Windows does with files and folders.
//!
//! Modes mean nothing here: what is under the user's profile is the user's by the ACL it inherits.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION};

use super::handle::is;
use super::lock::which;
use crate::pause;

/// A virus scanner, a reader or a helper that has just ended lets go of the file, or of the folder, within this time.
const READERS_LAST: Duration = Duration::from_secs(2);

pub(crate) fn create_new(path: &Path, _mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// The standard library renames with POSIX semantics or `MOVEFILE_REPLACE_EXISTING`. Both refuse while somebody has the
/// old file open without allowing its removal, and a folder while somebody has anything in it open.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    again_while_open(|| std::fs::rename(from, to), || !to.is_dir())
}

/// A process that ends lets go of its locks and of the rest one after the other.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    again_while_open(|| std::fs::remove_dir(path), || true)
}

/// Asks again while somebody has it open, and while `sensible`.
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
