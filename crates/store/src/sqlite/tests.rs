//! Tests that need the connection of a log.

use std::path::Path;
use std::time::SystemTime;

use tempfile::TempDir;

use super::database::{Opened, Settings};
use super::*;
use crate::contents::Contents;
use crate::store::Expect;
use crate::value::Value;

fn open(path: &Path) -> (SqliteLog, Contents) {
    let settings = Settings {
        now: SystemTime::now(),
        reserve_bytes: 0,
    };
    let Opened { log, contents, .. } = database::open(path, &settings).unwrap();
    (log, contents)
}

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
fn failed_commit_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let (mut log, contents) = open(&path);
    let empty = contents.index.revision();
    log.commit(&creates(1, 3, 10)).unwrap();
    let limit = |log: &SqliteLog, pages: i64| {
        let set = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        log.connection
            .pragma_update_and_check(None, "max_page_count", pages, set)
            .unwrap();
    };
    limit(&log, 30);
    let full = log.commit(&creates(4, 100, 4000)).unwrap_err();
    assert!(full.to_string().contains("full"), "{full}");
    limit(&log, 100_000);
    log.commit(&creates(4, 100, 4000)).unwrap();
    drop(log);
    let (_, contents) = open(&path);
    assert_eq!(contents.index.revision(), empty + 100);
    assert_eq!(contents.index.count(""), 100);
}

#[test]
fn commits_are_synced_and_free_pages_can_be_returned() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    for _ in 0..2 {
        let (log, _) = open(&path);
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
fn interrupted_compaction_continues() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let (mut log, contents) = open(&path);
    log.commit(&creates(1, 3000, 0)).unwrap();
    let empty = contents.index.revision();
    assert!(!log.forget(empty + 2500).unwrap(), "it needs several steps");
    drop(log);

    let (mut log, contents) = open(&path);
    let history = contents.index.history();
    assert_eq!(history.compacted(), empty + 2500);
    assert_eq!(history.revision(), empty + 3000);
    assert!(contents.unfinished);
    while !log.forget(empty + 2500).unwrap() {}
    let left = log
        .connection
        .query_row("SELECT count(*) FROM log", [], |row| row.get(0));
    assert_eq!(left, Ok(500));
    drop(log);
    assert!(!open(&path).1.unfinished);
}
