//! Upgrades a database of an earlier schema in place, in one transaction.

use rusqlite::{Connection, TransactionBehavior};

use super::row;
use super::schema::{self, COMPACTED, Digest, TABLES};
use crate::change::Version;
use crate::value::Revision;

/// Upgrades from schema 1, which had no checksums, stored values with their revisions, and kept leases in a table of
/// their own.
pub(super) fn from_1(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "ALTER TABLE meta RENAME TO meta_1;
         ALTER TABLE current RENAME TO current_1;
         ALTER TABLE log RENAME TO log_1;",
    )?;
    transaction.execute_batch(TABLES)?;
    let compacted = transaction.query_row(
        "SELECT value FROM meta_1 WHERE name = 'compacted'",
        [],
        |row| row.get(0),
    )?;
    schema::put_meta(&transaction, COMPACTED, compacted)?;
    let mut digest = Digest::default();
    {
        let mut statement = transaction.prepare(
            "SELECT current_1.revision, key, value, expires
             FROM current_1 LEFT JOIN lease ON lease.revision = current_1.revision
             ORDER BY current_1.revision",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let revision = row.get::<_, i64>(0)?.cast_unsigned();
            let value: Vec<u8> = row.get(2)?;
            let version = Version {
                revision,
                digits_at: find_digits(&value, revision),
                value: value.into(),
            };
            let expires = row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned);
            let key: String = row.get(1)?;
            let sum =
                row::insert_current(&transaction, revision, &key, &version.template(), expires)?;
            digest.add(sum);
        }
        let mut statement = transaction.prepare(
            "SELECT revision, key, previous, replaced, last FROM log_1 ORDER BY revision",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let key: String = row.get(1)?;
            let previous: Option<i64> = row.get(2)?;
            let replaced: Option<Vec<u8>> = row.get(3)?;
            let last: Option<Vec<u8>> = row.get(4)?;
            row::insert_log(
                &transaction,
                row.get::<_, i64>(0)?.cast_unsigned(),
                &key,
                previous.map(|previous| {
                    let value = replaced.as_deref().unwrap_or_default();
                    (previous.cast_unsigned(), value)
                }),
                last.as_deref(),
            )?;
        }
    }
    digest.store(&transaction)?;
    transaction.execute_batch(
        "DROP TABLE meta_1; DROP TABLE current_1; DROP TABLE log_1; DROP TABLE lease;",
    )?;
    schema::mark(&transaction)?;
    transaction.commit()
}

/// Finds the revision in a value of schema 1: the first number in double quotes that equals it. The writers of that
/// schema put `"resourceVersion":"N"` before any other field with a value of its own.
fn find_digits(value: &[u8], revision: Revision) -> Option<u32> {
    let quoted = format!("\"{revision}\"");
    let at = value
        .windows(quoted.len())
        .position(|window| window == quoted.as_bytes())?;
    u32::try_from(at + 1).ok()
}
