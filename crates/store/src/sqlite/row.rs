//! The rows of the tables, and their checksums.
//!
//! A checksum covers all columns of its row. It detects each error of up to 32 neighbouring bits, and any other
//! error with a probability of 1 - 2^-32.

use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use crate::change::Version;
use crate::value::{Revision, Value};

/// A checksum in progress. Each field is preceded by its type and length, so that no two rows have the same input.
struct Sum(Hasher);

impl Sum {
    fn of(table: u8) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(&[table]);
        Self(hasher)
    }

    fn number(mut self, number: Option<i64>) -> Self {
        match number {
            Some(number) => {
                self.0.update(&[1]);
                self.0.update(&number.to_le_bytes());
            }
            None => self.0.update(&[0]),
        }
        self
    }

    fn bytes(mut self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => {
                self.0.update(&[2]);
                self.0.update(&(bytes.len() as u64).to_le_bytes());
                self.0.update(bytes);
            }
            None => self.0.update(&[0]),
        }
        self
    }

    fn finish(self) -> u32 {
        self.0.finalize()
    }
}

/// The checksum of a row of `meta`.
pub(super) fn meta_sum(name: &str, value: i64) -> u32 {
    let sum = Sum::of(b'm').bytes(Some(name.as_bytes()));
    sum.number(Some(value)).finish()
}

fn current_sum(
    revision: i64,
    key: &[u8],
    value: &[u8],
    digits_at: Option<i64>,
    expires: Option<i64>,
) -> u32 {
    Sum::of(b'c')
        .number(Some(revision))
        .bytes(Some(key))
        .bytes(Some(value))
        .number(digits_at)
        .number(expires)
        .finish()
}

fn log_sum(
    revision: i64,
    key: &[u8],
    previous: Option<i64>,
    replaced: Option<&[u8]>,
    last: Option<&[u8]>,
) -> u32 {
    Sum::of(b'l')
        .number(Some(revision))
        .bytes(Some(key))
        .number(previous)
        .bytes(replaced)
        .bytes(last)
        .finish()
}

/// Inserts a row into `current`, and returns its checksum.
pub(super) fn insert_current(
    connection: &Connection,
    revision: Revision,
    key: &str,
    value: &Value,
    expires: Option<u64>,
) -> rusqlite::Result<u32> {
    let bytes = value.joined();
    let revision = revision.cast_signed();
    let digits_at = value.digits_at().map(|at| at as i64);
    let expires = expires.map(u64::cast_signed);
    let sum = current_sum(revision, key.as_bytes(), &bytes, digits_at, expires);
    connection
        .prepare_cached(
            "INSERT INTO current (revision, key, value, digits_at, expires, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![revision, key, &*bytes, digits_at, expires, sum])?;
    Ok(sum)
}

/// Inserts a row into `log`.
pub(super) fn insert_log(
    connection: &Connection,
    revision: Revision,
    key: &str,
    previous: Option<(Revision, &[u8])>,
    last: Option<&[u8]>,
) -> rusqlite::Result<()> {
    let revision = revision.cast_signed();
    let (previous, replaced) = previous
        .map(|(revision, value)| (revision.cast_signed(), value))
        .unzip();
    let sum = log_sum(revision, key.as_bytes(), previous, replaced, last);
    connection
        .prepare_cached(
            "INSERT INTO log (revision, key, previous, replaced, last, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![revision, key, previous, replaced, last, sum])?;
    Ok(())
}

/// A row of `current` whose checksum is right.
#[derive(Debug)]
pub(super) struct CurrentRow {
    pub(super) key: Arc<str>,
    pub(super) version: Version,
    /// Milliseconds since the Unix epoch.
    pub(super) expires: Option<u64>,
}

/// A row of `log` whose checksum is right.
#[derive(Debug)]
pub(super) struct LogRow {
    pub(super) revision: Revision,
    pub(super) key: Arc<str>,
    /// The replaced version.
    pub(super) previous: Option<Version>,
    /// The last state of a deleted key; `None`: the change was a put.
    pub(super) last: Option<Bytes>,
}

/// A row whose checksum is wrong, with what can be read of it.
#[derive(Debug)]
pub(super) struct BadRow {
    pub(super) revision: Option<Revision>,
    /// The key, with replacement characters for what is not UTF-8.
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) problem: &'static str,
}

/// The columns of a query for [`read_current`].
pub(super) const CURRENT_COLUMNS: &str = "revision, key, value, digits_at, expires, sum";
/// The columns of a query for [`read_log`].
pub(super) const LOG_COLUMNS: &str = "revision, key, previous, replaced, last, sum";

/// The bytes of a text or blob column, whatever a damaged type says.
fn raw<'a>(row: &'a Row<'_>, column: usize) -> Option<&'a [u8]> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => Some(bytes),
        _ => None,
    }
}

fn number(row: &Row<'_>, column: usize) -> Option<i64> {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(number)) => Some(number),
        _ => None,
    }
}

fn bad(row: &Row<'_>, problem: &'static str) -> BadRow {
    BadRow {
        revision: number(row, 0).map(i64::cast_unsigned),
        key: String::from_utf8_lossy(raw(row, 1).unwrap_or_default()).into_owned(),
        value: raw(row, 2).unwrap_or_default().to_vec(),
        problem,
    }
}

const WRONG_SUM: &str = "its checksum is wrong";

/// Reads a row of `current` and verifies it; also returns its checksum.
pub(super) fn read_current(row: &Row<'_>) -> Result<(CurrentRow, u32), BadRow> {
    let (Some(revision), Some(key), Some(value)) = (number(row, 0), raw(row, 1), raw(row, 2))
    else {
        return Err(bad(row, "a column has the wrong type"));
    };
    let (digits_at, expires) = (number(row, 3), number(row, 4));
    let sum = current_sum(revision, key, value, digits_at, expires);
    if number(row, 5) != Some(i64::from(sum)) {
        return Err(bad(row, WRONG_SUM));
    }
    let Ok(text) = std::str::from_utf8(key) else {
        return Err(bad(row, "its key is not UTF-8"));
    };
    let revision = revision.cast_unsigned();
    let digits_at = digits_at.and_then(|at| u32::try_from(at).ok());
    let row = CurrentRow {
        key: text.into(),
        version: Version::read(revision, value, digits_at),
        expires: expires.map(i64::cast_unsigned),
    };
    Ok((row, sum))
}

/// Reads a row of `log` and verifies it.
pub(super) fn read_log(row: &Row<'_>) -> Result<LogRow, BadRow> {
    let (Some(revision), Some(key)) = (number(row, 0), raw(row, 1)) else {
        return Err(bad(row, "a column has the wrong type"));
    };
    let (previous, replaced, last) = (number(row, 2), raw(row, 3), raw(row, 4));
    let sum = log_sum(revision, key, previous, replaced, last);
    let Ok(text) = std::str::from_utf8(key) else {
        return Err(bad(row, "its key is not UTF-8"));
    };
    if number(row, 5) != Some(i64::from(sum)) {
        return Err(bad(row, WRONG_SUM));
    }
    Ok(LogRow {
        revision: revision.cast_unsigned(),
        key: text.into(),
        previous: previous.map(|previous| Version {
            revision: previous.cast_unsigned(),
            value: Bytes::copy_from_slice(replaced.unwrap_or_default()),
            digits_at: None,
        }),
        last: last.map(Bytes::copy_from_slice),
    })
}
