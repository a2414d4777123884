//! Opening a database: refuse what is not ours, make the tables, read everything into memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, TransactionBehavior};

use super::{SqliteLog, private_file};
use crate::change::{Arrival, ArrivalKind, Change, Effect, Version};
use crate::contents::Contents;
use crate::index::Index;
use crate::value::Revision;

/// The layout of the tables below. A program refuses a database with a newer one.
const SCHEMA: i64 = 1;
/// Marks the file as ours (`PRAGMA application_id`): "rdd" and a zero.
const APPLICATION: i64 = 0x7264_6400;
/// The page cache, in KiB. Commits append and the rest is in memory, so little is read twice.
const CACHE_KIB: i64 = 1024;
/// The WAL is copied into the database when it has this many pages (of 4 KiB): 4 MiB, which is read at the next
/// start when the daemon was killed.
const WAL_PAGES: i64 = 1000;
/// A WAL that a burst made longer is cut to this many bytes.
const WAL_BYTES: i64 = 4 * 1024 * 1024;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE current (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL);
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        previous INTEGER, -- the revision that was replaced; NULL: the key was created
        replaced BLOB,    -- its value
        last BLOB         -- the last state of a deleted key; NULL: it was put
    );
    CREATE TABLE lease (
        revision INTEGER PRIMARY KEY, -- the row of current that it belongs to
        expires INTEGER NOT NULL,     -- milliseconds since the Unix epoch
        digits_at INTEGER             -- where the digits of the revision start in the value; NULL: nowhere
    );
    INSERT INTO meta VALUES ('compacted', 0);
";

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this one, has it open.
    #[error("the database {} is in use by another process; only one can have it open", path.display())]
    InUse {
        /// the database
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error(
        "the database {} has schema version {found}, and this program knows versions up to {known}: \
         use the newer program that wrote it",
        path.display()
    )]
    Newer {
        /// the database
        path: PathBuf,
        /// its schema version
        found: i64,
        /// the newest one that this program knows
        known: i64,
    },
    /// It is something else.
    #[error("{} is not a database of this program; move it away", path.display())]
    Foreign {
        /// the file
        path: PathBuf,
    },
    /// Its contents contradict themselves.
    #[error(
        "the database {} is damaged ({what}); restore it from a copy, or move it away to start with an empty one",
        path.display()
    )]
    Damaged {
        /// the database
        path: PathBuf,
        /// what is wrong
        what: String,
    },
    /// A system call or a statement failed.
    #[error("{doing} of the database {}: {source}", path.display())]
    Failed {
        /// the database
        path: PathBuf,
        /// what was tried
        doing: &'static str,
        /// cause
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Opens the database at `path` for this process alone, or creates it.
pub(crate) fn open(path: &Path) -> Result<(SqliteLog, Contents), OpenError> {
    private_file::create(path).map_err(|source| OpenError::Failed {
        path: path.to_owned(),
        doing: "creating the file",
        source: Box::new(source),
    })?;
    let failed = |doing| move |source| explain(path, doing, source);
    // No URI: a path may contain a question mark. No mutex: the writer thread is the only user.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(failed("opening the file"))?;
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0) {
        // Holds only when it comes before the first page, which the lock writes.
        connection
            .pragma_update(None, "auto_vacuum", "INCREMENTAL")
            .map_err(failed("setting up"))?;
    }
    lock(&connection).map_err(failed("locking"))?;
    let fresh = recognize(&connection, path)?;
    configure(&connection).map_err(failed("setting up"))?;
    if fresh {
        create(&mut connection).map_err(failed("creating the tables"))?;
    }
    let (contents, forgotten) = load(&connection, path)?;
    connection
        .execute_batch("PRAGMA shrink_memory")
        .map_err(failed("reading"))?;
    let log = SqliteLog {
        newest: contents.index.revision(),
        connection,
        place: path.display().to_string(),
        forgotten,
        vacuumed: false,
    };
    Ok((log, contents))
}

fn explain(path: &Path, doing: &'static str, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::InUse { path },
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged {
            path,
            what: source.to_string(),
        },
        _ => OpenError::Failed {
            path,
            doing,
            source: Box::new(source),
        },
    }
}

/// Takes SQLite's own lock, and keeps it until the connection is closed. It is the kernel's, so it ends with the
/// process. The wal-index needs no shared memory file then.
fn lock(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")
}

/// Whether it is an empty one; refuses what is not ours or newer.
fn recognize(connection: &Connection, path: &Path) -> Result<bool, OpenError> {
    let failed = |source| explain(path, "reading", source);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if tables == 0 {
        return Ok(true);
    }
    let application: i64 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(failed)?;
    if application != APPLICATION {
        return Err(OpenError::Foreign {
            path: path.to_owned(),
        });
    }
    let found = meta(connection, "schema").map_err(failed)?;
    if found > SCHEMA {
        return Err(OpenError::Newer {
            path: path.to_owned(),
            found,
            known: SCHEMA,
        });
    }
    Ok(false)
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
        row.get(0)
    })
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // macOS: fsync alone does not reach the disk.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Deleted secrets are overwritten where that costs no write of its own.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "trusted_schema", false)
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute("INSERT INTO meta VALUES ('schema', ?1)", [SCHEMA])?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()
}

/// Reads everything; also returns the revision below which `log` has no rows.
fn load(connection: &Connection, path: &Path) -> Result<(Contents, Revision), OpenError> {
    let failed = |source| explain(path, "reading", source);
    let compacted = meta(connection, "compacted")
        .map_err(failed)?
        .cast_unsigned();
    let leases = load_leases(connection).map_err(failed)?;
    let current = load_current(connection, &leases).map_err(failed)?;
    let changes = load_log(connection, compacted, &current)
        .map_err(failed)?
        .map_err(|what| OpenError::Damaged {
            path: path.to_owned(),
            what,
        })?;
    let newest = changes.back().map_or(compacted, |change| change.revision());
    if let Some(revision) = current.values().map(|version| version.revision).max()
        && revision > newest
    {
        return Err(OpenError::Damaged {
            path: path.to_owned(),
            what: format!("a value has revision {revision}, and the log ends at {newest}"),
        });
    }
    let mut index = Index::new(compacted);
    for change in changes {
        index.load_change(change);
    }
    for (key, version) in current {
        let expires = leases.get(&version.revision).map(|lease| lease.expires);
        index.load(Arrival {
            key,
            version,
            kind: ArrivalKind::Put { expires },
        });
    }
    let first: Option<i64> = connection
        .query_row("SELECT min(revision) FROM log", [], |row| row.get(0))
        .map_err(failed)?;
    let forgotten = first.map_or(compacted, |first| first.cast_unsigned() - 1);
    let contents = Contents {
        index,
        unfinished: forgotten < compacted,
    };
    Ok((contents, forgotten))
}

fn load_current(
    connection: &Connection,
    leases: &HashMap<Revision, Lease>,
) -> rusqlite::Result<BTreeMap<Arc<str>, Version>> {
    let mut statement = connection.prepare("SELECT key, revision, value FROM current")?;
    let mut rows = statement.query([])?;
    let mut current = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let revision = row.get::<_, i64>(1)?.cast_unsigned();
        let version = Version {
            revision,
            value: bytes(row, 2)?.unwrap_or_default(),
            digits_at: leases.get(&revision).and_then(|lease| lease.digits_at),
        };
        current.insert(text(row, 0)?, version);
    }
    Ok(current)
}

/// Reads the log from its newest change to its oldest, because each row tells what was before it.
fn load_log(
    connection: &Connection,
    compacted: Revision,
    current: &BTreeMap<Arc<str>, Version>,
) -> rusqlite::Result<Result<VecDeque<Change>, String>> {
    let mut statement = connection.prepare(
        "SELECT revision, key, previous, replaced, last FROM log WHERE revision > ?1 ORDER BY revision DESC",
    )?;
    let mut rows = statement.query([compacted.cast_signed()])?;
    let mut changes: VecDeque<Change> = VecDeque::new();
    let mut earlier: HashMap<Arc<str>, Option<Version>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let revision = row.get::<_, i64>(0)?.cast_unsigned();
        if let Some(next) = changes.front()
            && next.revision() != revision + 1
        {
            return Ok(Err(format!(
                "the log goes from revision {revision} to {}",
                next.revision()
            )));
        }
        let key = text(row, 1)?;
        let (key, state) = match earlier.get_key_value(&key) {
            Some((key, state)) => (Arc::clone(key), state.clone()),
            None => match current.get_key_value(&key) {
                Some((key, version)) => (Arc::clone(key), Some(version.clone())),
                None => (key, None),
            },
        };
        let previous = match row.get::<_, Option<i64>>(2)? {
            Some(previous) => Some(Version {
                revision: previous.cast_unsigned(),
                value: bytes(row, 3)?.unwrap_or_default(),
                digits_at: None,
            }),
            None => None,
        };
        let change = match (bytes(row, 4)?, state, previous) {
            (None, Some(version), previous) if version.revision == revision => Change {
                key,
                version,
                effect: Effect::Put { previous },
            },
            (Some(value), None, Some(previous)) => Change {
                key,
                version: Version {
                    revision,
                    value,
                    digits_at: None,
                },
                effect: Effect::Delete { previous },
            },
            _ => {
                return Ok(Err(format!(
                    "the change {revision} of {key} does not fit what follows it"
                )));
            }
        };
        earlier.insert(Arc::clone(&change.key), change.previous().cloned());
        changes.push_front(change);
    }
    if let Some(first) = changes.front()
        && first.revision() != compacted + 1
    {
        return Ok(Err(format!(
            "the log starts at revision {}, after a compaction to {compacted}",
            first.revision()
        )));
    }
    Ok(Ok(changes))
}

struct Lease {
    /// Milliseconds since the Unix epoch.
    expires: u64,
    digits_at: Option<u32>,
}

fn load_leases(connection: &Connection) -> rusqlite::Result<HashMap<Revision, Lease>> {
    let mut statement = connection.prepare("SELECT revision, expires, digits_at FROM lease")?;
    let mut rows = statement.query([])?;
    let mut leases = HashMap::new();
    while let Some(row) = rows.next()? {
        let lease = Lease {
            expires: row.get::<_, i64>(1)?.cast_unsigned(),
            digits_at: row
                .get::<_, Option<i64>>(2)?
                .and_then(|at| u32::try_from(at).ok()),
        };
        leases.insert(row.get::<_, i64>(0)?.cast_unsigned(), lease);
    }
    Ok(leases)
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    Ok(row.get_ref(column)?.as_str()?.into())
}

fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Bytes>> {
    Ok(row
        .get_ref(column)?
        .as_blob_or_null()?
        .map(Bytes::copy_from_slice))
}
