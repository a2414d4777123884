//! Opens a database: recognizes it, upgrades it, reads it, and repairs it if it is damaged.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::Connection;

use super::error::OpenError;
use super::files::Files;
use super::load::{self, Loaded};
use super::quarantine;
use super::rebuild::{self, Image};
use super::schema::{self, APPLICATION, APPLICATION_OFFSET, Kind};
use super::{SqliteLog, backup, private_file, revisions, upgrade, wal};
use crate::contents::Contents;
use crate::lease::milliseconds;
use crate::store::Quarantined;

/// How the opening of a database went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// There was no database and no backup, so the store is empty. Beside the data of an instance this means that
    /// the database was lost.
    pub fresh: bool,
    /// The backup from which the contents were restored, because the database was missing or could not be read.
    pub restored_from: Option<PathBuf>,
    /// The damage that was found, one sentence each.
    pub problems: Vec<String>,
    /// Where the damaged database is kept for inspection.
    pub kept: Option<PathBuf>,
}

/// An open database.
pub(crate) struct Opened {
    pub(crate) log: SqliteLog,
    pub(crate) contents: Contents,
    pub(crate) opening: Opening,
    pub(crate) quarantined: Vec<Quarantined>,
}

/// The settings of an opening.
pub(crate) struct Settings {
    pub(crate) now: SystemTime,
    /// The size of the reserve for a full disk, in bytes; 0: none.
    pub(crate) reserve_bytes: u64,
}

/// Opens the database at `path` for this process alone, or creates it.
pub(crate) fn open(path: &Path, settings: &Settings) -> Result<Opened, OpenError> {
    let files = Files::new(path);
    rebuild::finish(&files)
        .and_then(|()| private_file::create(path))
        .map_err(|error| OpenError::failed(path, "creating the file", error))?;
    let mut opening = Opening::default();
    let (connection, loaded) = match read(&files, settings, &mut opening) {
        Ok((connection, Some(loaded))) => (Some(connection), loaded),
        Ok((connection, None)) => match backup::newest(&files) {
            None => {
                opening.fresh = true;
                let loaded = create(connection, &files, settings)?;
                return finish(&files, settings, loaded.0, loaded.1, opening);
            }
            Some((backup, loaded)) => {
                opening.problems.push("the database was missing".to_owned());
                opening.restored_from = Some(backup);
                (Some(connection), loaded)
            }
        },
        Err(error @ (OpenError::Damaged { .. } | OpenError::Foreign { .. })) => {
            if !is_ours(&files) {
                return Err(error);
            }
            let what = match &error {
                OpenError::Damaged { what, .. } => what.clone(),
                _ => "its header is damaged".to_owned(),
            };
            let Some((backup, loaded)) = backup::newest(&files) else {
                let path = path.to_owned();
                return Err(OpenError::Damaged { path, what });
            };
            opening
                .problems
                .push(format!("the database could not be read: {what}"));
            opening.restored_from = Some(backup);
            (None, loaded)
        }
        Err(error) => return Err(error),
    };
    opening.problems.extend_from_slice(&loaded.problems);
    match connection {
        Some(connection) if opening.problems.is_empty() => {
            finish(&files, settings, connection, loaded, opening)
        }
        connection => repair(&files, settings, connection, loaded, opening),
    }
}

/// Reads a database; `None` when it has no tables.
fn read(
    files: &Files,
    settings: &Settings,
    opening: &mut Opening,
) -> Result<(Connection, Option<Loaded>), OpenError> {
    let path = &files.database;
    let failed = |doing| move |source| OpenError::from_sqlite(path, doing, source);
    let mut connection = schema::connect(path).map_err(failed("opening the file"))?;
    schema::lock(&connection).map_err(failed("locking"))?;
    let loss = wal::inspect(&files.wal())
        .map_err(|error| OpenError::failed(path, "reading the write-ahead log", error))?;
    if loss.is_some() {
        let kept = rebuild::keep_wal(files, milliseconds(settings.now))
            .map_err(|error| OpenError::failed(path, "keeping the damaged log", error))?;
        opening.kept = Some(kept);
    }
    let kind = schema::recognize(&connection, path)?;
    schema::configure(&connection).map_err(failed("setting up"))?;
    let loaded = match kind {
        Kind::Empty => None,
        Kind::Ours(schema) => {
            if schema == 1 {
                upgrade::from_1(&mut connection).map_err(failed("upgrading"))?;
            }
            Some(load::load(&connection).map_err(failed("reading"))?)
        }
    };
    if let Some(loss) = loss {
        let newest = loaded.as_ref().map_or(0, |loaded| loaded.newest);
        opening.problems.push(describe(&loss, newest));
    }
    connection
        .execute_batch("PRAGMA shrink_memory")
        .map_err(failed("reading"))?;
    Ok((connection, loaded))
}

/// Names what a damaged WAL lost, beyond the newest revision that was read.
fn describe(loss: &wal::Loss, newest: u64) -> String {
    /// More keys than that are not named.
    const NAMED: usize = 20;
    let lost: Vec<_> = loss.rows.range(newest + 1..).collect();
    let mut text = format!(
        "the write-ahead log is damaged: up to {} transactions were lost",
        loss.transactions
    );
    if !lost.is_empty() {
        let named = lost.iter().take(NAMED);
        let named: Vec<_> = named
            .map(|(revision, key)| format!("revision {revision} of {key:?}"))
            .collect();
        text += &format!(", among them {}", named.join(", "));
        if lost.len() > NAMED {
            text += &format!(" and {} others", lost.len() - NAMED);
        }
    }
    text
}

/// Whether an unreadable file was a database of this program.
fn is_ours(files: &Files) -> bool {
    let marked = || -> std::io::Result<bool> {
        let mut file = fs::File::open(&files.database)?;
        let mut id = [0; 4];
        file.seek(SeekFrom::Start(APPLICATION_OFFSET))?;
        file.read_exact(&mut id)?;
        Ok(i64::from(u32::from_be_bytes(id)) == APPLICATION)
    };
    marked().unwrap_or(false) || backup::list(files).is_ok_and(|backups| !backups.is_empty())
}

fn create(
    mut connection: Connection,
    files: &Files,
    settings: &Settings,
) -> Result<(Connection, Loaded), OpenError> {
    let start = revisions::start(files, settings.now, 0);
    schema::create(&mut connection, start)
        .map_err(|source| OpenError::from_sqlite(&files.database, "creating the tables", source))?;
    Ok((connection, Loaded::empty(start)))
}

/// Replaces a damaged or missing database by a new one with the good rows. The history is dropped and the revisions
/// skip ahead, because acknowledged changes may have been lost: clients have to list again.
fn repair(
    files: &Files,
    settings: &Settings,
    connection: Option<Connection>,
    mut loaded: Loaded,
    mut opening: Opening,
) -> Result<Opened, OpenError> {
    let path = &files.database;
    let failed = |doing| move |source| OpenError::from_sqlite(path, doing, source);
    let now = milliseconds(settings.now);
    let start = revisions::start(files, settings.now, loaded.newest);
    let rows = loaded.current.iter();
    let image = Image {
        rows: rows.map(|(key, (version, expires))| (key, version, *expires)),
        start,
        quarantined: &loaded.quarantined,
        suspects: &loaded.suspects,
        now,
    };
    let digest = rebuild::write(&files.rebuilt(), image).map_err(failed("rebuilding"))?;
    if let Some(connection) = connection {
        // The checkpoint of a damaged database may fail; its WAL is kept with it then.
        let _ = connection.close();
    }
    let kept = rebuild::replace(files, now)
        .map_err(|error| OpenError::failed(path, "replacing the damaged file", error))?;
    opening.kept = kept.or(opening.kept);
    for problem in &opening.problems {
        tracing::warn!(database = %path.display(), "{problem}");
    }
    let connection = schema::connect(path).map_err(failed("opening the file"))?;
    schema::lock(&connection).map_err(failed("locking"))?;
    schema::configure(&connection).map_err(failed("setting up"))?;
    loaded.quarantined = quarantine::read(&connection);
    loaded.restart(start, digest);
    finish(files, settings, connection, loaded, opening)
}

fn finish(
    files: &Files,
    settings: &Settings,
    connection: Connection,
    loaded: Loaded,
    opening: Opening,
) -> Result<Opened, OpenError> {
    let quarantined = loaded.shown();
    quarantine::publish(files, &quarantined).map_err(|error| {
        OpenError::failed(&files.database, "listing the quarantined rows", error)
    })?;
    let (digest, forgotten) = (loaded.digest, loaded.forgotten);
    let unfinished = forgotten < loaded.compacted;
    let index = loaded.into_index();
    let log = SqliteLog {
        newest: index.revision(),
        place: files.database.display().to_string(),
        files: files.clone(),
        connection,
        forgotten,
        vacuumed: false,
        digest,
        reserve_bytes: settings.reserve_bytes,
    };
    Ok(Opened {
        log,
        contents: Contents { index, unfinished },
        opening,
        quarantined,
    })
}
