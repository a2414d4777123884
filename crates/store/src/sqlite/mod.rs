//! The log in a SQLite database.
//!
//! Table `current` has the current values, and table `log` has the value that each change replaced, so that a new
//! value is written once: the value of a change is in `current`, or is what the next change of the key replaced.
//! Both are ordered by revision: a commit appends, a compaction deletes a range, and neither searches for a key.
//!
//! Each row has a checksum (`row.rs`). Opening a database (`open.rs`) verifies all rows; after damage it writes a new
//! database (`rebuild.rs`) in which the damaged rows are quarantined (`quarantine.rs`), or restores the last backup
//! (`backup.rs`) if the damaged one cannot be read. `reserve.rs` keeps space for a full disk.

mod backup;
mod error;
mod files;
mod load;
mod open;
#[cfg(unix)]
#[path = "unix.rs"]
mod private_file;
#[cfg(windows)]
#[path = "windows.rs"]
mod private_file;
mod quarantine;
mod rebuild;
mod remove;
mod reserve;
mod revisions;
mod row;
mod schema;
mod upgrade;
mod wal;

use std::io;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior};

use self::files::Files;
use self::schema::Digest;
use crate::change::Mutation;
use crate::log::{Log, LogError, Outcome, Proposal};
use crate::value::Revision;

pub use self::backup::Backups;
pub use self::error::OpenError;
pub use self::open::Opening;
pub use self::quarantine::quarantine_list;
pub use self::remove::remove;

/// What the store needs of a SQLite database beside its log.
pub(crate) mod database {
    pub(crate) use super::backup::{Backups, find, newest_revision, write as back_up};
    pub(crate) use super::files::Files;
    pub(crate) use super::open::{Opened, Opening, Settings, open};
    pub(crate) use super::quarantine::publish;
}

/// Rows that one transaction of a compaction deletes: it delays a writer by a few milliseconds.
const FORGET_ROWS: Revision = 1_000;
/// Pages (of 4 KiB) that one vacuum step moves, for the same reason.
const VACUUM_PAGES: u64 = 256;
/// Free pages that stay in the file (2 MiB): the next writes use them without making the file grow again.
const FREE_PAGES_KEPT: u64 = 512;

#[derive(Debug)]
pub(crate) struct SqliteLog {
    connection: Connection,
    place: String,
    files: Files,
    /// The newest revision.
    newest: Revision,
    /// No row of `log` is at this revision or below.
    forgotten: Revision,
    vacuumed: bool,
    /// The digest of `current`.
    digest: Digest,
    reserve_bytes: u64,
}

impl From<rusqlite::Error> for LogError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

impl Log for SqliteLog {
    fn place(&self) -> &str {
        &self.place
    }

    fn commit(&mut self, proposals: &[Proposal]) -> Result<Vec<Outcome>, LogError> {
        let first = self.newest + 1;
        let last = self.newest + proposals.len() as Revision;
        let mut digest = self.digest;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (proposal, revision) in proposals.iter().zip(first..=last) {
            write(&transaction, proposal, revision, &mut digest)?;
        }
        digest.store(&transaction)?;
        transaction.commit()?;
        self.digest = digest;
        self.newest = last;
        Ok((first..=last).map(Outcome::Written).collect())
    }

    fn forget(&mut self, to: Revision) -> Result<bool, LogError> {
        let upto = to.min(self.forgotten + FORGET_ROWS);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let compacted = schema::get_meta(&transaction, schema::COMPACTED)?;
        let compacted = to.cast_signed().max(compacted.unwrap_or_default());
        schema::put_meta(&transaction, schema::COMPACTED, compacted)?;
        transaction
            .prepare_cached("DELETE FROM log WHERE revision <= ?1")?
            .execute([upto.cast_signed()])?;
        transaction.commit()?;
        self.forgotten = self.forgotten.max(upto);
        Ok(upto == to)
    }

    fn tidy(&mut self) -> Result<bool, LogError> {
        let free: i64 = self
            .connection
            .pragma_query_value(None, "freelist_count", |row| row.get(0))?;
        let excess = free.cast_unsigned().saturating_sub(FREE_PAGES_KEPT);
        if excess > 0 {
            let pages = excess.min(VACUUM_PAGES);
            self.connection
                .execute_batch(&format!("PRAGMA incremental_vacuum({pages})"))?;
            self.vacuumed = true;
            return Ok(false);
        }
        if std::mem::take(&mut self.vacuumed) {
            // Only a checkpoint makes the file itself shorter.
            self.connection
                .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        }
        Ok(true)
    }

    fn release_reserve(&mut self) -> Result<bool, LogError> {
        reserve::release(&self.files.reserve()).map_err(|error| LogError::Failed(error.into()))
    }

    fn take_reserve(&mut self) -> Result<(), LogError> {
        if self.reserve_bytes == 0 {
            return Ok(());
        }
        reserve::take(&self.files.reserve(), self.reserve_bytes).map_err(|error| {
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    LogError::Full(error.into())
                }
                _ => LogError::Failed(error.into()),
            }
        })
    }

    fn discard(&mut self, id: i64) -> Result<bool, LogError> {
        Ok(quarantine::remove(&self.connection, id)?)
    }

    fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(self.connection.close().map_err(|(_, error)| error)?)
    }
}

/// Writes the rows of one change.
fn write(
    transaction: &Transaction<'_>,
    proposal: &Proposal,
    revision: Revision,
    digest: &mut Digest,
) -> rusqlite::Result<()> {
    let Proposal {
        key,
        mutation,
        previous,
        ..
    } = proposal;
    if let Some(previous) = previous {
        let removed: Option<u32> = transaction
            .prepare_cached("DELETE FROM current WHERE revision = ?1 RETURNING sum")?
            .query_row([previous.revision.cast_signed()], |row| row.get(0))
            .optional()?;
        if let Some(sum) = removed {
            digest.remove(sum);
        }
    }
    let last = match mutation {
        Mutation::Put { value, expires } => {
            let sum = row::insert_current(transaction, revision, key, value, *expires)?;
            digest.add(sum);
            None
        }
        Mutation::Delete { last } => Some(last.at(revision)),
    };
    let previous = previous
        .as_ref()
        .map(|previous| (previous.revision, &*previous.value));
    row::insert_log(transaction, revision, key, previous, last.as_deref())
}

#[cfg(test)]
mod tests;
