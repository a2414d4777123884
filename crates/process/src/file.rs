//! Atomic writes of files, and private folders.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{crash, sys};

/// The suffix of a file that is being written.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Why an operation on a file or folder failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Writes `bytes` to the file `path` with the permissions `mode` (Unix) atomically: after a crash at any moment the file
/// has either its old or its new content. Uses a temporary file in the same folder, fsync, rename, and fsync of the
/// folder. A failure leaves the old file and no temporary file; a crash may leave a temporary file
/// ([`remove_temporaries`]).
///
/// Crash points: `file.created`, `file.written`, `file.synced`, `file.renamed`.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let (temporary, mut file) = create_temporary(path, mode)?;
    crash::point("file.created");
    let written = (|| {
        file.write_all(bytes).map_err(failed("write", &temporary))?;
        crash::point("file.written");
        file.sync_all()
            .map_err(failed("write to disk", &temporary))?;
        drop(file);
        crash::point("file.synced");
        replace_file(&temporary, path)
    })();
    if written.is_err() {
        // The first error has the cause; a left-over is removed at the next start.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Renames `from` to `to`, replacing `to`, and makes the rename durable. Both must be on one file system. Folders can be
/// renamed if `to` does not exist or is empty. Windows refuses to replace an open file, so there the rename is retried for
/// a moment (hazard 42).
pub fn replace_file(from: &Path, to: &Path) -> Result<(), FileError> {
    sys::files::replace(from, to).map_err(failed("rename a finished file to", to))?;
    crash::point("file.renamed");
    sync_folder(folder_of(to))
}

/// Renames a folder to a free name. Blocks: Windows refuses while a process, such as a virus scanner or a helper that is
/// just ending, has a file in the folder open, so there the rename is retried for two seconds.
pub fn rename_folder(from: &Path, to: &Path) -> io::Result<()> {
    sys::files::replace(from, to)
}

/// Returns whether both are the same file, even after a rename. Times are not compared, because Windows gives a new file
/// the creation time of an old file of the same name if that was removed less than 15 s ago.
pub fn is_same(one: &File, other: &File) -> io::Result<bool> {
    sys::files::is_same(one, other)
}

/// Makes creations, renames and removals in the folder durable. No-op on Windows, where the file system's journal does it.
pub fn sync_folder(folder: &Path) -> Result<(), FileError> {
    sys::files::sync_folder(folder).map_err(failed("write to disk the folder", folder))
}

/// Makes the folder, and missing folders above it, with mode 0700. An existing folder of this user is made private too;
/// the folders above it are not changed.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    sys::files::create_private_dir(path).map_err(failed("make the private folder", path))
}

/// Removes the files in `folder` (not below it) whose name ends in `suffix`, and returns their paths. Call it only while
/// holding the writers' lock, so that no file is being written. The names are listed and compared, never matched by a
/// pattern, because a folder may be called `a[1] *b` (hazard 14). A missing folder counts as empty.
pub fn remove_with_suffix(folder: &Path, suffix: &str) -> Result<Vec<PathBuf>, FileError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list the folder", folder)(error)),
    };
    let mut removed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("list the folder", folder))?;
        if !entry
            .file_name()
            .as_encoded_bytes()
            .ends_with(suffix.as_bytes())
        {
            continue;
        }
        if entry
            .file_type()
            .map_err(failed("look at", &entry.path()))?
            .is_dir()
        {
            continue;
        }
        remove_if_there(&entry.path())?;
        removed.push(entry.path());
    }
    Ok(removed)
}

/// [`remove_with_suffix`] for the temporary files of interrupted [`write_atomic`] calls.
pub fn remove_temporaries(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    remove_with_suffix(folder, TEMPORARY_SUFFIX)
}

/// Removes a file, a socket or a link; success if it does not exist (hazard 4).
pub fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes an empty folder; success if it does not exist (hazard 4). Blocks: Windows refuses while a process, such as one
/// that is just ending, has the folder open, so there the removal is retried for two seconds.
pub fn remove_empty_folder(path: &Path) -> io::Result<()> {
    match sys::files::remove_folder(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How many temporary names may be in use before the write fails.
const NAMES_TRIED: u32 = 1000;

fn create_temporary(path: &Path, mode: u32) -> Result<(PathBuf, File), FileError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| failed("write", path)(io::ErrorKind::InvalidInput.into()))?;
    for _ in 0..NAMES_TRIED {
        // A left-over of an earlier process with the same PID is never overwritten; the next name is tried.
        let mut temporary = name.to_owned();
        temporary.push(format!(
            ".{}-{}{TEMPORARY_SUFFIX}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        let temporary = path.with_file_name(temporary);
        match sys::files::create_new(&temporary, mode) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("create", &temporary)(error)),
        }
    }
    Err(failed("find a free temporary name for", path)(
        io::ErrorKind::AlreadyExists.into(),
    ))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
