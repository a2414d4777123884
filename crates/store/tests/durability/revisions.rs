//! Revisions continue when a database is removed and created again.

use std::fs;
use std::time::{Duration, SystemTime};

use store::{Error, Expect, IndexedStore, Options, Store};
use tempfile::TempDir;

use crate::history::{open, put};

#[tokio::test]
async fn new_database_continues_beyond_a_removed_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let store = open(&path);
    for n in 0..20 {
        let key = format!("k{n}");
        store.write(put(&key, Expect::Absent, "x")).await.unwrap();
    }
    store.back_up().unwrap();
    let newest = store.revision();
    store.close().await;
    fs::write(folder.path().join("other"), "").unwrap();

    store::remove_database(&path).unwrap();
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["other", "state.revision"]);
    store::remove_database(&path).unwrap();

    // Also when the clock was set back since.
    for clock in [SystemTime::now, || {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1000)
    }] {
        let options = Options {
            clock,
            ..Options::default()
        };
        let store = IndexedStore::sqlite(&path, options).unwrap();
        assert!(store.opening().fresh);
        assert!(store.revision() > newest);
        assert!(
            store.revision() < 1 << 53,
            "JavaScript clients lose no digit"
        );
        let watch = store.watch("", newest).map(|_| ());
        assert!(matches!(watch, Err(Error::Compacted { .. })), "{watch:?}");
        store.close().await;
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_str().unwrap().starts_with("state.db") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}
