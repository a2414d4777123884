//! Damaged write-ahead logs. The files of an open store are copied, as a crash leaves them.

use std::fs;
use std::path::PathBuf;

use store::{Error, Expect, IndexedStore, Revision, Store};
use tempfile::TempDir;

use crate::history::{open, put};

const FRAME: usize = 24 + 4096;

/// The files of a database whose last changes are in the WAL only.
async fn crashed() -> (TempDir, PathBuf, Revision) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let store = open(&path);
    for n in 0..20 {
        let key = format!("key-{n}");
        store.write(put(&key, Expect::Absent, "x")).await.unwrap();
    }
    let copy = TempDir::new().unwrap();
    for name in ["state.db", "state.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let newest = store.revision();
    store.close().await;
    let path = copy.path().join("state.db");
    (copy, path, newest)
}

fn change(path: &std::path::Path, change: impl FnOnce(&mut Vec<u8>)) {
    let wal = path.with_file_name("state.db-wal");
    let mut bytes = fs::read(&wal).unwrap();
    change(&mut bytes);
    fs::write(&wal, bytes).unwrap();
}

#[tokio::test]
async fn undamaged_wal_is_applied_without_a_report() {
    let (_folder, path, newest) = crashed().await;
    let store = open(&path);
    assert_eq!(store.opening().problems, [""; 0]);
    assert_eq!((store.revision(), store.count("key-")), (newest, 20));
}

#[tokio::test]
async fn interrupted_write_at_the_end_of_a_wal_is_not_reported() {
    let (_folder, path, newest) = crashed().await;
    change(&path, |wal| wal.truncate(wal.len() - 1000));
    let store = open(&path);
    assert_eq!(store.opening().problems, [""; 0]);
    assert_eq!((store.revision(), store.count("key-")), (newest - 1, 19));
}

#[tokio::test]
async fn damaged_wal_is_reported_with_the_keys_that_were_lost() {
    let (folder, path, newest) = crashed().await;
    change(&path, |wal| {
        // In the middle, in the page of a frame.
        let frames = wal.len() / FRAME;
        let at = 32 + frames / 2 * FRAME + 1000;
        wal[at] ^= 1;
    });
    let store = open(&path);
    let count = store.count("key-");
    assert!((1..19).contains(&count), "{count}");
    let report = store.opening();
    let problem = &report.problems[0];
    assert!(problem.contains("write-ahead log is damaged"), "{problem}");
    for n in count..20 {
        assert!(problem.contains(&format!("\"key-{n}\"")), "{problem}");
    }
    assert!(!problem.contains("\"key-0\""), "{problem}");
    lost_revisions_are_not_reused(&store, newest).await;
    let kept = fs::read_dir(folder.path().join("state.db.damaged")).unwrap();
    assert!(kept.count() >= 1);
}

#[tokio::test]
async fn damaged_header_of_a_wal_is_reported() {
    let (_folder, path, newest) = crashed().await;
    change(&path, |wal| wal[17] ^= 1);
    let store = open(&path);
    let problems = store.opening().problems;
    assert!(
        problems[0].contains("write-ahead log is damaged"),
        "{problems:?}"
    );
    assert!(problems[0].contains("\"key-19\""), "{problems:?}");
    lost_revisions_are_not_reused(&store, newest).await;
}

async fn lost_revisions_are_not_reused(store: &IndexedStore, newest: Revision) {
    let watch = store.watch("", newest).map(|_| ());
    assert!(matches!(watch, Err(Error::Compacted { .. })), "{watch:?}");
    let write = put("next", Expect::Absent, "x");
    assert!(store.write(write).await.unwrap().revision > newest);
}
