//! The log in a SQLite database.
//!
//! Table `current` has the current values and `log` has what each change has replaced, so that a new value is
//! written once; the value that a change made is in `current`, or is what the next change of the key replaced.
//! Both are ordered by revision: a commit appends, a compaction deletes a range, and neither looks for a key.

mod open;
#[cfg(unix)]
#[path = "unix.rs"]
mod private_file;
#[cfg(windows)]
#[path = "windows.rs"]
mod private_file;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};

use crate::change::Mutation;
use crate::log::{Log, LogError, Outcome, Proposal};
use crate::value::Revision;

pub use open::OpenError;
pub(crate) use open::open;

/// Rows that one transaction of a compaction deletes: a few milliseconds that a writer may have to wait.
const FORGET_ROWS: Revision = 1_000;
/// Pages (of 4 KiB) that one vacuum step moves, for the same reason.
const VACUUM_PAGES: u64 = 256;
/// Free pages that stay in the file (2 MiB): the next writes take them without making it grow again.
const FREE_PAGES_KEPT: u64 = 512;

#[derive(Debug)]
pub(crate) struct SqliteLog {
    connection: Connection,
    place: String,
    /// The newest revision.
    newest: Revision,
    /// No row of `log` is at this revision or below.
    forgotten: Revision,
    vacuumed: bool,
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
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (proposal, revision) in proposals.iter().zip(first..=last) {
            write(&transaction, proposal, revision)?;
        }
        transaction.commit()?;
        self.newest = last;
        Ok((first..=last).map(Outcome::Written).collect())
    }

    fn forget(&mut self, to: Revision) -> Result<bool, LogError> {
        let upto = to.min(self.forgotten + FORGET_ROWS);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction
            .prepare_cached("UPDATE meta SET value = max(value, ?1) WHERE name = 'compacted'")?
            .execute([to.cast_signed()])?;
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

    fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(self.connection.close().map_err(|(_, error)| error)?)
    }
}

/// Writes the rows of one change.
fn write(
    transaction: &Transaction<'_>,
    proposal: &Proposal,
    revision: Revision,
) -> rusqlite::Result<()> {
    let Proposal {
        key,
        mutation,
        previous,
        ..
    } = proposal;
    let revision_column = revision.cast_signed();
    let replaced = previous.as_ref().map(|previous| {
        let revision = previous.revision.cast_signed();
        (revision, &*previous.value)
    });
    if let Some((previous, _)) = replaced {
        transaction
            .prepare_cached("DELETE FROM current WHERE revision = ?1")?
            .execute([previous])?;
        transaction
            .prepare_cached("DELETE FROM lease WHERE revision = ?1")?
            .execute([previous])?;
    }
    let last = match mutation {
        Mutation::Put { value, expires } => {
            transaction
                .prepare_cached("INSERT INTO current (revision, key, value) VALUES (?1, ?2, ?3)")?
                .execute(params![revision_column, &**key, &*value.at(revision)])?;
            if let Some(expires) = expires {
                let digits_at = value.digits_at().map(|at| at as i64);
                transaction
                    .prepare_cached(
                        "INSERT INTO lease (revision, expires, digits_at) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![revision_column, expires.cast_signed(), digits_at])?;
            }
            None
        }
        Mutation::Delete { last } => Some(last.at(revision)),
    };
    let (previous, replaced) = replaced.unzip();
    transaction
        .prepare_cached(
            "INSERT INTO log (revision, key, previous, replaced, last) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            revision_column,
            &**key,
            previous,
            replaced,
            last.as_deref()
        ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::Expect;
    use crate::value::Value;

    fn creates(first: Revision, last: Revision, bytes: usize) -> Vec<Proposal> {
        let create = |n| Proposal {
            key: format!("k{n}").into(),
            expect: Expect::Absent,
            mutation: Mutation::Put {
                value: Value::plain(vec![0; bytes]),
                expires: None,
            },
            urgent: false,
            previous: None,
        };
        (first..=last).map(create).collect()
    }

    #[test]
    fn a_commit_that_fails_half_way_leaves_nothing() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("state.db");
        let (mut log, _) = open(&path).unwrap();
        log.commit(&creates(1, 3, 10)).unwrap();
        let limit = |log: &SqliteLog, pages: i64| {
            let set = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            log.connection
                .pragma_update_and_check(None, "max_page_count", pages, set)
                .unwrap();
        };
        limit(&log, 20);
        let full = log.commit(&creates(4, 100, 4000)).unwrap_err();
        assert!(full.to_string().contains("full"), "{full}");
        limit(&log, 100_000);
        log.commit(&creates(4, 100, 4000)).unwrap();
        drop(log);
        let (_, contents) = open(&path).unwrap();
        assert_eq!(contents.index.revision(), 100);
        assert_eq!(contents.index.count(""), 100);
    }

    #[test]
    fn commits_are_synced_and_freed_pages_can_be_given_back() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("state.db");
        for _ in 0..2 {
            let (log, _) = open(&path).unwrap();
            let value = |name: &str| -> String {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok(match row.get_ref(0)? {
                        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                        other => other.as_str()?.to_owned(),
                    })
                };
                log.connection.pragma_query_value(None, name, read).unwrap()
            };
            assert_eq!(value("synchronous"), "2", "FULL");
            assert_eq!(value("journal_mode"), "wal");
            assert_eq!(value("auto_vacuum"), "2", "INCREMENTAL");
        }
    }

    #[test]
    fn a_compaction_that_was_cut_short_goes_on() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("state.db");
        let (mut log, _) = open(&path).unwrap();
        log.commit(&creates(1, 3000, 0)).unwrap();
        assert!(!log.forget(2500).unwrap(), "it takes several steps");
        drop(log);

        let (mut log, contents) = open(&path).unwrap();
        let history = contents.index.history();
        assert_eq!((history.compacted(), history.revision()), (2500, 3000));
        assert!(contents.unfinished);
        while !log.forget(2500).unwrap() {}
        let left = log
            .connection
            .query_row("SELECT count(*) FROM log", [], |row| row.get(0));
        assert_eq!(left, Ok(500));
        drop(log);
        assert!(!open(&path).unwrap().1.unfinished);
    }
}
