//! The tables, the settings of a connection, and how a database is recognized as ours.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};

use super::error::OpenError;
use super::row;
use crate::value::Revision;

/// The layout of the tables below. A program refuses a database with a newer one.
pub(super) const SCHEMA: i64 = 2;
/// Marks the file as ours (`PRAGMA application_id`): "rdd" and a zero.
pub(super) const APPLICATION: i64 = 0x7264_6400;
/// Where the application id is in the file, in big-endian order (<https://sqlite.org/fileformat.html>).
pub(super) const APPLICATION_OFFSET: u64 = 68;
/// The page cache, in KiB. Commits append and the rest is in memory, so little is read twice.
const CACHE_KIB: i64 = 1024;
/// The WAL is copied into the database when it has this many pages (of 4 KiB): 4 MiB, which the next start reads if
/// the daemon was killed.
const WAL_PAGES: i64 = 1000;
/// A WAL that a burst made longer is cut to this many bytes.
const WAL_BYTES: i64 = 4 * 1024 * 1024;

/// `current` and `log` are ordered by revision: a commit appends, a compaction deletes a range.
pub(super) const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE current (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        value BLOB NOT NULL,     -- without the digits of the revision
        digits_at INTEGER,       -- where those digits belong; NULL: the value contains no revision
        expires INTEGER,         -- milliseconds since the Unix epoch; NULL: never
        sum INTEGER NOT NULL     -- CRC-32 of all other columns
    );
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        previous INTEGER,        -- the replaced revision; NULL: the key was created
        replaced BLOB,           -- its value, with its revision
        last BLOB,               -- the last state of a deleted key; NULL: it was put
        sum INTEGER NOT NULL
    );
    CREATE TABLE quarantine (    -- damaged rows of current, and keys whose row is missing
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        revision INTEGER,
        value BLOB,
        problem TEXT NOT NULL,
        found INTEGER NOT NULL   -- milliseconds since the Unix epoch
    );
";

/// Opens a file without touching it yet.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // No URI: a path may contain a question mark. No mutex: one thread uses the connection.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) {
        // Has an effect only before the first page is written, and taking the lock writes it.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    Ok(connection)
}

/// Takes SQLite's own lock and keeps it until the connection is closed. It is a lock of the kernel, so it ends with
/// the process. With it the wal-index needs no shared memory file.
pub(super) fn lock(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")
}

pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // macOS: fsync alone does not reach the disk.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Deleted secrets are overwritten where that needs no write of its own.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "trusted_schema", false)
}

/// Creates the tables of an empty database whose next revision is larger than `start`.
pub(super) fn create(connection: &mut Connection, start: Revision) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    mark(&transaction)?;
    put_meta(&transaction, COMPACTED, start.cast_signed())?;
    Digest::default().store(&transaction)?;
    transaction.commit()
}

/// Marks the database as ours, with this schema.
pub(super) fn mark(connection: &Connection) -> rusqlite::Result<()> {
    put_meta(connection, "schema", SCHEMA)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", SCHEMA)
}

/// The revision up to which the history is forgotten.
pub(super) const COMPACTED: &str = "compacted";

pub(super) fn put_meta(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (name, value, sum) VALUES (?1, ?2, ?3)")?
        .execute((name, value, row::meta_sum(name, value)))?;
    Ok(())
}

/// A value of `meta`; `None` when it is missing or its checksum is wrong.
pub(super) fn get_meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let found: Option<(i64, i64)> = connection
        .query_row(
            "SELECT value, sum FROM meta WHERE name = ?1",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    Ok(found
        .filter(|(value, sum)| *sum == i64::from(row::meta_sum(name, *value)))
        .map(|(value, _)| value))
}

/// The number of rows of `current` and the sum of their checksums: detects rows that disappeared, as they do when
/// the row count of a page is damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: i64,
    sums: i64,
}

impl Digest {
    pub(super) fn add(&mut self, sum: u32) {
        self.rows += 1;
        self.sums += i64::from(sum);
    }

    pub(super) fn remove(&mut self, sum: u32) {
        self.rows -= 1;
        self.sums -= i64::from(sum);
    }

    pub(super) fn store(self, connection: &Connection) -> rusqlite::Result<()> {
        put_meta(connection, "current_rows", self.rows)?;
        put_meta(connection, "current_sums", self.sums)
    }

    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let (rows, sums) = (
            get_meta(connection, "current_rows")?,
            get_meta(connection, "current_sums")?,
        );
        Ok(rows.zip(sums).map(|(rows, sums)| Self { rows, sums }))
    }
}

/// What kind of database a file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has no tables.
    Empty,
    /// It has this schema.
    Ours(i64),
}

/// Recognizes a database; refuses those of other programs and of newer versions.
pub(super) fn recognize(connection: &Connection, path: &Path) -> Result<Kind, OpenError> {
    let failed = |source| OpenError::from_sqlite(path, "reading", source);
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    if number("SELECT count(*) FROM sqlite_schema").map_err(failed)? == 0 {
        return Ok(Kind::Empty);
    }
    let application = number("PRAGMA application_id").map_err(failed)?;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('meta', 'current', 'log')";
    if application != APPLICATION && number(tables).map_err(failed)? != 3 {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    // Both must say that it is newer, because a damaged byte changes only one of them. The first schema had no
    // version in the header.
    let header = number("PRAGMA user_version").map_err(failed)?;
    let table = number("SELECT value FROM meta WHERE name = 'schema'").ok();
    match (header, table) {
        (0, Some(1)) => Ok(Kind::Ours(1)),
        (header, Some(table)) if header > SCHEMA && table > SCHEMA => Err(OpenError::Newer {
            path: path.to_owned(),
            found: table,
            known: SCHEMA,
        }),
        _ => Ok(Kind::Ours(SCHEMA)),
    }
}
