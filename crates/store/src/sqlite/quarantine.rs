//! Damaged rows: kept in a table of their own, not served, and listed.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{Connection, params};

use super::files::{self, Files};
use super::row::BadRow;
use crate::store::Quarantined;
use crate::value::Revision;

/// A key to be quarantined.
#[derive(Debug)]
pub(super) struct Suspect {
    pub(super) key: String,
    pub(super) revision: Option<Revision>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) problem: String,
}

impl From<BadRow> for Suspect {
    fn from(row: BadRow) -> Self {
        Self {
            key: row.key,
            revision: row.revision,
            value: Some(row.value),
            problem: row.problem.to_owned(),
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) shown: Quarantined,
    pub(super) value: Option<Vec<u8>>,
}

pub(super) fn insert(
    connection: &Connection,
    suspect: &Suspect,
    found: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO quarantine (key, revision, value, problem, found) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            suspect.key,
            suspect.revision.map(u64::cast_signed),
            suspect.value,
            suspect.problem,
            found.cast_signed()
        ])?;
    Ok(())
}

pub(super) fn copy(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO quarantine (id, key, revision, value, problem, found) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            row.shown.id,
            row.shown.key,
            row.shown.revision.map(u64::cast_signed),
            row.value,
            row.shown.problem,
            row.shown.found.cast_signed()
        ])?;
    Ok(())
}

/// Reads the table. Rows that cannot be read are skipped: they are damaged copies of damaged rows.
pub(super) fn read(connection: &Connection) -> Vec<Row> {
    let read = || -> rusqlite::Result<Vec<Row>> {
        let mut statement = connection.prepare(
            "SELECT id, key, revision, value, problem, found FROM quarantine ORDER BY id",
        )?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Ok(Some(row)) = rows.next() {
            let one = || -> rusqlite::Result<Row> {
                Ok(Row {
                    shown: Quarantined {
                        id: row.get(0)?,
                        key: row.get(1)?,
                        revision: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
                        problem: row.get(4)?,
                        found: row.get::<_, i64>(5)?.cast_unsigned(),
                    },
                    value: row.get(3)?,
                })
            };
            found.extend(one());
        }
        Ok(found)
    };
    read().unwrap_or_default()
}

pub(super) fn remove(connection: &Connection, id: i64) -> rusqlite::Result<bool> {
    let removed = connection.execute("DELETE FROM quarantine WHERE id = ?1", [id])?;
    Ok(removed > 0)
}

/// Writes the list beside the database, so that a command can show it while the daemon has the database open. Without
/// quarantined rows there is no list.
pub(crate) fn publish(files: &Files, rows: &[Quarantined]) -> io::Result<()> {
    let path = files.quarantine();
    if rows.is_empty() {
        return files::remove(&path);
    }
    let mut text = String::new();
    for row in rows {
        let key = row.key.escape_default();
        // Writing to a string does not fail.
        let _ = writeln!(text, "{key}: {}", row.problem);
    }
    files::replace(&path, text.as_bytes())
}

/// The quarantined rows of the database at `path`, one line each with the key and the problem. Reads a list beside the
/// database, so it works while another process has the database open.
///
/// # Errors
/// When the list exists and cannot be read.
pub fn quarantine_list(path: &Path) -> io::Result<Vec<String>> {
    match fs::read_to_string(Files::new(path).quarantine()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        text => Ok(text?.lines().map(ToOwned::to_owned).collect()),
    }
}
