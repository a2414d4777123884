//! Removes a database with all its files.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::files::{self, Files};
use super::{backup, revisions};
use crate::value::Revision;

/// Removes the database at `path` with its backups and all other files of it. Only its newest revision is recorded, so
/// that the next database at this path continues beyond it. No process may have the database open.
///
/// # Errors
/// When a file cannot be removed or the revision cannot be recorded; then some files may be left.
pub fn remove(path: &Path) -> io::Result<()> {
    let files = Files::new(path);
    if let Some(newest) = newest(&files) {
        revisions::record(&files, newest)?;
    }
    // First, because the next opening restores a missing database from its last backup.
    remove_folder(&files.backups())?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let ours = entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(name.as_encoded_bytes());
        if !ours {
            continue;
        }
        if entry.file_type()?.is_dir() {
            remove_folder(&entry.path())?;
        } else {
            files::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The newest revision of a database, as far as it can be read.
fn newest(files: &Files) -> Option<Revision> {
    let read = || -> rusqlite::Result<Revision> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&files.database, flags)?;
        let newest: i64 = connection.query_row(
            "SELECT max(
                (SELECT coalesce(max(revision), 0) FROM current),
                (SELECT coalesce(max(revision), 0) FROM log),
                (SELECT coalesce(max(value), 0) FROM meta WHERE name = 'compacted'))",
            [],
            |row| row.get(0),
        )?;
        Ok(newest.cast_unsigned())
    };
    read().ok().max(backup::newest_revision(files))
}
