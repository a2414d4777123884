//! Periodic backups: complete databases in a folder beside the database, each named after its revision.
//!
//! A backup is written from the index in memory by a thread of its own, so that neither the writer nor the database
//! file is involved.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::files::{self, Files};
use super::load::{self, Loaded};
use super::rebuild::{self, Image};
use crate::change::Version;
use crate::index::Snapshot;
use crate::value::Revision;

/// When backups are made, and how many are kept.
#[derive(Clone, Debug)]
pub struct Backups {
    /// The time from the opening of the store to its first backup.
    pub first_after: Duration,
    /// The time between two backups. Without a change there is no new backup.
    pub every: Duration,
    /// The largest number of backups.
    pub keep: usize,
    /// The largest size of all backups together, in bytes. The newest one is kept whatever its size.
    pub max_bytes: u64,
}

impl Default for Backups {
    /// After one minute, then every 15 minutes; three backups of at most 256 MiB together.
    fn default() -> Self {
        Self {
            first_after: Duration::from_secs(60),
            every: Duration::from_secs(15 * 60),
            keep: 3,
            max_bytes: 256 * 1024 * 1024,
        }
    }
}

/// Writes a backup and removes the oldest ones beyond the limits. Returns its path.
pub(crate) fn write(files: &Files, snapshot: &Snapshot, limits: &Backups) -> io::Result<PathBuf> {
    let folder = files.backups();
    files::create_private_folder(&folder)?;
    let bytes: usize = snapshot
        .rows
        .iter()
        .map(|(key, version, _)| key.len() + version.value.len())
        .sum();
    check_space(&folder, bytes as u64)?;
    let path = folder.join(format!("{:020}.db", snapshot.revision));
    let partial = folder.join("partial");
    let rows = snapshot.rows.iter();
    let image = Image {
        rows: rows.map(|(key, version, expires)| (key, version, *expires)),
        start: snapshot.revision,
        quarantined: &[],
        suspects: &[],
        now: 0,
    };
    let written = rebuild::write(&partial, image)
        .map_err(io::Error::other)
        .and_then(|_| fs::rename(&partial, &path));
    if let Err(error) = written {
        // The space may be needed by others: the disk can be full.
        files::remove(&partial)?;
        return Err(error);
    }
    files::sync_folder_of(&path)?;
    bound(files, limits)?;
    Ok(path)
}

/// Fails when a backup of `bytes` would use a large part of the space that is left, because guests and the database
/// need it more.
fn check_space(folder: &Path, bytes: u64) -> io::Result<()> {
    /// A backup uses at most this fraction (an eighth) of the free space.
    const FRACTION: u64 = 8;
    #[cfg(unix)]
    {
        let system = rustix::fs::statvfs(folder)?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        if bytes > free / FRACTION {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{bytes} bytes would use too much of the {free} bytes that are free"),
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = (folder, bytes, FRACTION);
    Ok(())
}

fn bound(files: &Files, limits: &Backups) -> io::Result<()> {
    let mut kept = 0;
    let mut bytes = 0;
    for path in list(files)?.into_iter().rev() {
        kept += 1;
        bytes += fs::metadata(&path)?.len();
        if kept > 1 && (kept > limits.keep || bytes > limits.max_bytes) {
            files::remove(&path)?;
        }
    }
    Ok(())
}

/// The backups, oldest first.
pub(crate) fn list(files: &Files) -> io::Result<Vec<PathBuf>> {
    let mut paths = files::list(&files.backups())?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "db"));
    Ok(paths)
}

/// The revision of the newest backup.
pub(crate) fn newest_revision(files: &Files) -> Option<Revision> {
    let newest = list(files).ok()?.pop()?;
    newest.file_stem()?.to_str()?.parse().ok()
}

/// Reads the newest backup that is not damaged.
pub(super) fn newest(files: &Files) -> Option<(PathBuf, Loaded)> {
    let paths = list(files).ok()?;
    paths.into_iter().rev().find_map(|path| {
        let loaded = read(&path)?;
        Some((path, loaded))
    })
}

fn read(path: &Path) -> Option<Loaded> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).ok()?;
    let loaded = load::load(&connection).ok()?;
    if let Some(problem) = loaded.problems.first() {
        tracing::warn!("the backup {} is damaged: {problem}", path.display());
        return None;
    }
    Some(loaded)
}

/// Finds a key in the newest backup that has it; by the revision of its row, because the key itself may be damaged,
/// or else by the key.
pub(crate) fn find(
    files: &Files,
    key: &str,
    revision: Option<Revision>,
) -> Option<(PathBuf, Arc<str>, Version, Option<u64>)> {
    let paths = list(files).ok()?;
    paths.into_iter().rev().find_map(|path| {
        let mut current = read(&path)?.current;
        let same = current
            .iter()
            .find(|(_, (version, _))| Some(version.revision) == revision)
            .map(|(key, _)| Arc::clone(key));
        let (key, (version, expires)) = current.remove_entry(same.as_deref().unwrap_or(key))?;
        Some((path, key, version, expires))
    })
}
