//! Files that are there whole or not at all, and folders that are only ours.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{crash, sys};

/// How the name of a file ends while it is being written.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Why a file or folder is not as it should be.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Writes `bytes` as the file `path` with the permissions `mode` (Unix), so that after a crash at any moment the file
/// is the old one or the new one, whole: a temporary file in the same folder, fsync, rename, fsync of the folder.
/// A failure leaves the old file and no temporary one; a crash may leave a temporary one ([`remove_temporaries`]).
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
        // The first error is the one that tells; a left-over is cleared at the next start.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Renames `from` to `to` in place of what is there, and makes the rename durable. The one place for what the systems
/// do differently (hazard 42: Windows refuses to replace a file that is open, so there it is tried for a moment).
/// Both must be on one file system. Works for folders where `to` is not there or is empty.
pub fn replace_file(from: &Path, to: &Path) -> Result<(), FileError> {
    sys::files::replace(from, to).map_err(failed("rename a finished file to", to))?;
    crash::point("file.renamed");
    sync_folder(folder_of(to))
}

/// Renames a folder to a name that is free. Blocks: Windows refuses while somebody has anything in the folder open, such
/// as a virus scanner or a helper that is just ending, and is asked again for two seconds.
pub fn rename_folder(from: &Path, to: &Path) -> io::Result<()> {
    sys::files::replace(from, to)
}

/// Whether both are the same file, whatever it is called by now. Its times do not tell: Windows gives a new file of a name
/// that was free for less than 15 s the old one's time of creation.
pub fn is_same(one: &File, other: &File) -> io::Result<bool> {
    sys::files::is_same(one, other)
}

/// Makes what was created, renamed or removed in the folder durable. Does nothing on Windows, where the file system's
/// journal does it.
pub fn sync_folder(folder: &Path) -> Result<(), FileError> {
    sys::files::sync_folder(folder).map_err(failed("write to disk the folder", folder))
}

/// Makes the folder and those above it that are missing, for this user only (0700). A folder that is there already is
/// made private too, when it is ours; not those above it.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    sys::files::create_private_dir(path).map_err(failed("make the private folder", path))
}

/// Removes the files in `folder` (not below it) whose name ends in `suffix`, and says which. Call it only under the
/// lock that the writers hold, so that none of them is at work. By listing and comparing, never by a pattern: a folder
/// may be called `a[1] *b` (hazard 14). A folder that is not there holds nothing to remove.
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

/// [`remove_with_suffix`] for what interrupted [`write_atomic`]s left.
pub fn remove_temporaries(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    remove_with_suffix(folder, TEMPORARY_SUFFIX)
}

/// Removes a file, a socket or a link; one that is not there is success (hazard 4).
pub fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder that is empty; one that is not there is success (hazard 4). Blocks: Windows refuses while somebody has
/// it open, such as a process that is just ending, and is asked again for two seconds.
pub fn remove_empty_folder(path: &Path) -> io::Result<()> {
    match sys::files::remove_folder(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How many temporary names may be taken before we say so instead of trying for ever.
const NAMES_TRIED: u32 = 1000;

fn create_temporary(path: &Path, mode: u32) -> Result<(PathBuf, File), FileError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| failed("write", path)(io::ErrorKind::InvalidInput.into()))?;
    for _ in 0..NAMES_TRIED {
        // A left-over of an earlier process with our number is in the way at most, never overwritten.
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
