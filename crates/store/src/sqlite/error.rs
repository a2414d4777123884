//! The reasons for which a database is not opened.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why a database was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store of this process, has it open.
    #[error("the database {} is in use by another process; only one can have it open", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the database {} has schema version {found}, and this program knows versions up to {known}: \
         use the newer program that wrote it",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest schema version that this program knows.
        known: i64,
    },
    /// Another program wrote the file.
    #[error("{} is not a database of this program; move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// SQLite cannot read it, and there is no backup.
    #[error(
        "the database {} is damaged ({what}) and has no backup; restore it from a copy, or move it away to start \
         with an empty one",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The damage.
        what: String,
    },
    /// A system call or a statement failed.
    #[error("{doing} of the database {}: {source}", path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// The failed step.
        doing: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    pub(super) fn failed(
        path: &Path,
        doing: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed {
            path: path.to_owned(),
            doing,
            source: source.into(),
        }
    }

    /// Classifies an error of SQLite.
    pub(super) fn from_sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            // The file could be opened for writing, so a "read-only" database has a damaged header, and a statement
            // that SQLite does not understand, or a column of another type (no code), a damaged schema.
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::Unknown | ErrorCode::ReadOnly) | None => {
                Self::Damaged {
                    path,
                    what: source.to_string(),
                }
            }
            _ => Self::failed(&path, doing, source),
        }
    }
}
