//! Writes a new database from contents in memory: for a backup, and to replace a damaged database.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};

use super::files::{self, Files};
use super::quarantine::{self, Suspect};
use super::row;
use super::schema::{self, COMPACTED, Digest};
use crate::change::Version;
use crate::value::Revision;

/// Damaged databases that are kept for inspection; the oldest go first.
const KEPT_DAMAGED: usize = 2;

/// The contents of a new database.
pub(super) struct Image<'a, R: Iterator<Item = (&'a Arc<str>, &'a Version, Option<u64>)>> {
    pub(super) rows: R,
    /// The next revision is larger than this one.
    pub(super) start: Revision,
    pub(super) quarantined: &'a [quarantine::Row],
    pub(super) suspects: &'a [Suspect],
    /// When the suspects were found, in milliseconds since the Unix epoch.
    pub(super) now: u64,
}

/// Writes a database to `path`, which is replaced if it exists, and syncs it. Returns the digest of its rows.
pub(super) fn write<'a, R>(path: &Path, image: Image<'a, R>) -> rusqlite::Result<Digest>
where
    R: Iterator<Item = (&'a Arc<str>, &'a Version, Option<u64>)>,
{
    let failed = |error: io::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
    files::create_private(path).map_err(failed)?;
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // A crash leaves a file that is never used, so it needs no journal; the last transaction is synced.
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    // Rows are appended, so a small cache is enough. In KiB, as negative numbers are.
    connection.pragma_update(None, "cache_size", -512)?;
    schema::create(&mut connection, image.start)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut digest = Digest::default();
    for (key, version, expires) in image.rows {
        let value = version.template();
        digest.add(row::insert_current(
            &transaction,
            version.revision,
            key,
            &value,
            expires,
        )?);
    }
    for row in image.quarantined {
        quarantine::copy(&transaction, row)?;
    }
    for suspect in image.suspects {
        quarantine::insert(&transaction, suspect, image.now)?;
    }
    schema::put_meta(&transaction, COMPACTED, image.start.cast_signed())?;
    digest.store(&transaction)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(digest)
}

/// Puts the rebuilt database in the place of the damaged one, which is kept in the folder of damaged databases. No
/// process may have either open. Returns where the damaged one is; `None` when it was empty.
pub(super) fn replace(files: &Files, now: u64) -> io::Result<Option<PathBuf>> {
    let kept = keep_damaged(files, now)?;
    fs::rename(files.rebuilt(), &files.database)?;
    files::sync_folder_of(&files.database)?;
    Ok(kept)
}

/// Finishes a replacement that was interrupted between its two renames, and removes what an earlier step left.
pub(super) fn finish(files: &Files) -> io::Result<()> {
    let rebuilt = files.rebuilt();
    if !rebuilt.exists() {
        return Ok(());
    }
    if files.database.exists() {
        return files::remove(&rebuilt);
    }
    // The old database was moved away only after the new one was complete. Its WAL belongs to it alone.
    files::remove(&files.wal())?;
    fs::rename(rebuilt, &files.database)?;
    files::sync_folder_of(&files.database)
}

/// Moves the database and its WAL into the folder of damaged databases, and bounds their number.
fn keep_damaged(files: &Files, now: u64) -> io::Result<Option<PathBuf>> {
    /// The size of an empty database: its first page, and the list of pointers that auto-vacuum needs.
    const EMPTY_BYTES: u64 = 2 * 4096;
    if fs::metadata(&files.database)?.len() <= EMPTY_BYTES && !files.wal().exists() {
        return Ok(None);
    }
    let folder = files.damaged();
    files::create_private_folder(&folder)?;
    let kept = folder.join(format!("{now:015}.db"));
    let wal = files.wal();
    if wal.exists() {
        fs::rename(&wal, folder.join(format!("{now:015}.db-wal")))?;
    }
    fs::rename(&files.database, &kept)?;
    bound(&folder)?;
    Ok(Some(kept))
}

/// Keeps a copy of a damaged WAL, before SQLite opens the database and discards it.
pub(super) fn keep_wal(files: &Files, now: u64) -> io::Result<PathBuf> {
    let folder = files.damaged();
    files::create_private_folder(&folder)?;
    let kept = folder.join(format!("{now:015}.wal"));
    io::copy(
        &mut fs::File::open(files.wal())?,
        &mut files::create_private(&kept)?,
    )?;
    bound(&folder)?;
    Ok(kept)
}

fn bound(folder: &Path) -> io::Result<()> {
    let kept = files::list(folder)?;
    let stamp = |path: &PathBuf| path.file_stem().map(ToOwned::to_owned);
    let mut stamps: Vec<_> = kept.iter().map(stamp).collect();
    stamps.dedup();
    let old = stamps.len().saturating_sub(KEPT_DAMAGED);
    for path in &kept {
        if stamps[..old].contains(&stamp(path)) {
            files::remove(path)?;
        }
    }
    Ok(())
}
