//! A database of the first schema, which had no checksums, is upgraded in place.

use std::path::Path;

use futures::StreamExt;
use rusqlite::Connection;
use store::{Event, Expect, Store};
use tempfile::TempDir;

use crate::history::{line, open, put};

const SCHEMA_1: &str = r#"
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE current (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB NOT NULL);
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY, key TEXT NOT NULL, previous INTEGER, replaced BLOB, last BLOB);
    CREATE TABLE lease (revision INTEGER PRIMARY KEY, expires INTEGER NOT NULL, digits_at INTEGER);
    INSERT INTO meta VALUES ('compacted', 1), ('schema', 1);
    INSERT INTO current VALUES
        (1, 'a', CAST('{"metadata":{"resourceVersion":"1"},"n":"1"}' AS BLOB)),
        (3, 'b', CAST('{"metadata":{"resourceVersion":"3"}}' AS BLOB)),
        (5, 'lent', CAST('{"metadata":{"resourceVersion":"5"}}' AS BLOB));
    INSERT INTO log VALUES
        (2, 'b', NULL, NULL, NULL),
        (3, 'b', 2, CAST('{"metadata":{"resourceVersion":"2"}}' AS BLOB), NULL),
        (4, 'gone', 1, CAST('{"metadata":{"resourceVersion":"1"}}' AS BLOB),
            CAST('{"metadata":{"resourceVersion":"4"}}' AS BLOB)),
        (5, 'lent', NULL, NULL, NULL);
    INSERT INTO lease VALUES (5, 1000, 32);
"#;

fn write_schema_1(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(SCHEMA_1).unwrap();
    connection
        .pragma_update(None, "application_id", 0x7264_6400)
        .unwrap();
    connection.close().unwrap();
}

#[tokio::test]
async fn schema_1_is_upgraded_in_place() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    write_schema_1(&path);
    let store = open(&path);
    assert_eq!(store.opening(), store::Opening::default());
    let a = store.get("a").unwrap();
    assert_eq!(a.value, r#"{"metadata":{"resourceVersion":"1"},"n":"1"}"#);
    let mut watch = store.watch("", 1).unwrap();
    let mut seen = Vec::new();
    // The last event is the deletion of the expired key, with its revision in the right place.
    while seen.len() < 5 {
        seen.push(match watch.next().await.unwrap().unwrap() {
            Event::Put { entry, .. } => line('+', &entry),
            Event::Delete { entry, .. } => line('-', &entry),
            Event::Progress(_) => continue,
        });
    }
    let text = |sign: &str, key: &str, revision: u64| {
        format!(r#"{sign}{key}={{"metadata":{{"resourceVersion":"{revision}"}}}}"#)
    };
    assert_eq!(
        seen,
        [
            text("+", "b", 2),
            text("+", "b", 3),
            text("-", "gone", 4),
            text("+", "lent", 5),
            text("-", "lent", 6),
        ]
    );
    let next = store.write(put("next", Expect::Absent, "x")).await;
    assert_eq!(next.unwrap().revision, 7, "revisions continue");
    store.close().await;

    let store = open(&path);
    assert_eq!(store.opening(), store::Opening::default());
    assert_eq!(store.count(""), 3);
    store.close().await;
    let connection = Connection::open(&path).unwrap();
    let changed = connection.execute("UPDATE current SET value = 'x' WHERE key = 'a'", []);
    assert_eq!(changed.unwrap(), 1);
    connection.close().unwrap();
    assert_eq!(
        open(&path).quarantined()[0].key,
        "a",
        "it has checksums now"
    );
}

#[tokio::test]
async fn restored_value_of_schema_1_gets_its_new_revision() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    write_schema_1(&path);
    let store = open(&path);
    store.back_up().unwrap();
    store.close().await;
    let connection = Connection::open(&path).unwrap();
    let changed = connection.execute("UPDATE current SET value = 'x' WHERE key = 'a'", []);
    assert_eq!(changed.unwrap(), 1);
    connection.close().unwrap();
    let store = open(&path);
    let entry = store.restore(store.quarantined()[0].id).await.unwrap();
    let text = format!(
        r#"{{"metadata":{{"resourceVersion":"{}"}},"n":"1"}}"#,
        entry.revision
    );
    assert_eq!(entry.value, text);
}
