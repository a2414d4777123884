//! What a store over a SQLite database can do beyond the interface of a store: the report of its opening, backups,
//! and the repair of damaged rows.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::Error;
use crate::indexed::{IndexedStore, Options};
use crate::lease::milliseconds;
use crate::shared::Shared;
use crate::sqlite::OpenError;
use crate::sqlite::database::{self, Backups, Files, Opened, Opening, Settings};
use crate::store::{Entry, Expect, Quarantined, Store as _, Write};

/// The files and the damage of a database.
#[derive(Debug)]
pub(crate) struct Database {
    files: Files,
    opening: Opening,
    quarantined: Mutex<Vec<Quarantined>>,
    limits: Backups,
    clock: fn() -> std::time::SystemTime,
}

impl Database {
    pub(crate) fn quarantined(&self) -> Vec<Quarantined> {
        self.quarantined.lock().clone()
    }

    fn remove(&self, id: i64) -> io::Result<()> {
        let mut rows = self.quarantined.lock();
        rows.retain(|row| row.id != id);
        database::publish(&self.files, &rows)
    }
}

/// Why a quarantined row was not restored or discarded.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is no row with this number.
    #[error("there is no quarantined row {id}")]
    Unknown {
        /// The requested number.
        id: i64,
    },
    /// No backup has the key.
    #[error("no backup has {key:?}; delete the quarantined row, and create the object again")]
    NotInBackup {
        /// The key, as far as it can be read.
        key: String,
    },
    /// The key has been created again.
    #[error(
        "{key:?} has been created again since; delete the quarantined row, or that object first"
    )]
    Exists {
        /// The key.
        key: String,
    },
    /// The list of quarantined rows beside the database cannot be written.
    #[error("cannot write the list of quarantined rows: {0}")]
    List(#[source] io::Error),
    /// A write failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl IndexedStore {
    /// Opens the SQLite database at `path`, or creates it (mode 0600; its folder must exist). Blocks until the
    /// contents are read. [`opening`](Self::opening) reports what was found.
    ///
    /// Damaged rows are quarantined. A database that cannot be read, or that is missing although it has backups, is
    /// restored from the last backup.
    ///
    /// # Errors
    /// When the database is in use, belongs to another program, was written by a newer version, or cannot be read
    /// and has no backup.
    pub fn sqlite(path: &Path, options: Options) -> Result<Self, OpenError> {
        let settings = Settings {
            now: (options.clock)(),
            reserve_bytes: options.reserve_bytes,
        };
        let Opened {
            log,
            contents,
            opening,
            quarantined,
        } = database::open(path, &settings)?;
        let failed = |source: io::Error| OpenError::Failed {
            path: path.to_owned(),
            doing: "starting the threads",
            source: Box::new(source),
        };
        let backups = options.backups.clone();
        let database = Database {
            files: Files::new(path),
            opening,
            quarantined: Mutex::new(quarantined),
            limits: backups.clone().unwrap_or_default(),
            clock: options.clock,
        };
        let mut store = Self::over(Box::new(log), contents, options).map_err(failed)?;
        if let Some(limits) = backups {
            let (shared, files) = (Arc::clone(&store.shared), Files::new(path));
            std::thread::Builder::new()
                .name("store-backup".into())
                .spawn(move || back_up_periodically(&shared, &files, &limits))
                .map_err(failed)?;
        }
        store.database = Some(database);
        Ok(store)
    }

    /// How the opening of the database went. Of a store over another log: an empty report.
    pub fn opening(&self) -> Opening {
        let database = self.database.as_ref();
        database.map_or_else(Opening::default, |database| database.opening.clone())
    }

    /// Writes a backup now, and returns its path. Blocks until it is on the disk. `None` for a store over another
    /// log.
    ///
    /// # Errors
    /// When the backup cannot be written.
    pub fn back_up(&self) -> io::Result<Option<PathBuf>> {
        let Some(database) = &self.database else {
            return Ok(None);
        };
        let snapshot = self.shared.snapshot();
        database::back_up(&database.files, &snapshot, &database.limits).map(Some)
    }

    /// Restores a quarantined row from the newest backup that has its key, as a new write.
    ///
    /// # Errors
    /// When no backup has the key, or the key exists again.
    pub async fn restore(&self, id: i64) -> Result<Entry, RestoreError> {
        let (database, row) = self.quarantined_row(id)?;
        let files = database.files.clone();
        let (key, revision) = (row.key.clone(), row.revision);
        let found =
            tokio::task::spawn_blocking(move || database::find(&files, &key, revision)).await;
        let Ok(Some((_, key, version, expires))) = found else {
            return Err(RestoreError::NotInBackup { key: row.key });
        };
        let now = milliseconds((database.clock)());
        let write = Write::Put {
            key: key.to_string(),
            expect: Expect::Absent,
            value: version.template(),
            ttl: expires.map(|expires| Duration::from_millis(expires.saturating_sub(now))),
            urgent: true,
        };
        let entry = match self.write(write).await {
            Err(Error::Conflict { key, .. }) => return Err(RestoreError::Exists { key }),
            written => written?,
        };
        self.discard(id).await?;
        Ok(entry)
    }

    /// Deletes a quarantined row for good.
    ///
    /// # Errors
    /// When there is no such row, or it cannot be deleted.
    pub async fn discard(&self, id: i64) -> Result<(), RestoreError> {
        let (database, _) = self.quarantined_row(id)?;
        self.discard_row(id).await?;
        database.remove(id).map_err(RestoreError::List)
    }

    fn quarantined_row(&self, id: i64) -> Result<(&Database, Quarantined), RestoreError> {
        let database = self.database.as_ref().ok_or(RestoreError::Unknown { id })?;
        let rows = database.quarantined.lock();
        let row = rows.iter().find(|row| row.id == id).cloned();
        drop(rows);
        row.map(|row| (database, row))
            .ok_or(RestoreError::Unknown { id })
    }
}

/// Makes backups until the store is closed.
fn back_up_periodically(shared: &Shared, files: &Files, limits: &Backups) {
    let mut pause = limits.first_after;
    while !shared.pause(pause) {
        pause = limits.every;
        let revision = shared.read().revision();
        if database::newest_revision(files) == Some(revision) {
            continue;
        }
        let snapshot = shared.snapshot();
        if let Err(error) = database::back_up(files, &snapshot, limits) {
            tracing::warn!(%error, "the backup of {} failed", files.database.display());
        }
    }
}
