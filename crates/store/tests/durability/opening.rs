//! Which files are opened and which are refused, and the mode and size of the files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rusqlite::Connection;
use store::{Error, Expect, IndexedStore, OpenError, Options, Store, Write};
use tempfile::TempDir;

use crate::history::{around, open, put};

fn refused(path: &Path) -> OpenError {
    let error = IndexedStore::sqlite(path, Options::default()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    error
}

async fn written(path: &Path) {
    let store = open(path);
    for n in 0..5 {
        let key = format!("k{n}");
        store.write(put(&key, Expect::Absent, "x")).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn files_are_readable_by_their_owner_only() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&path);
    store.write(put("k", Expect::Absent, "x")).await.unwrap();
    let mut files = 0;
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.path());
        files += 1;
    }
    assert_eq!(files, 3, "the database, its WAL and the reserve");
    store.close().await;
}

#[tokio::test]
async fn path_with_special_characters_is_opened() {
    let folder = TempDir::new().unwrap();
    let home = folder.path().join("a[1] *b ü?mode=memory%20#x");
    fs::create_dir(&home).unwrap();
    let path = home.join("state.db");
    written(&path).await;
    assert!(path.exists());
    assert_eq!(open(&path).count("k"), 5);
}

#[tokio::test]
async fn second_store_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let first = open(&path);
    assert!(matches!(refused(&path), OpenError::InUse { .. }));
    first.write(put("k", Expect::Absent, "x")).await.unwrap();
    assert!(matches!(refused(&path), OpenError::InUse { .. }));
    first.close().await;
    assert_eq!(open(&path).count(""), 1);
}

#[tokio::test]
async fn database_of_a_newer_program_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    written(&path).await;
    let newer = Connection::open(&path).unwrap();
    let changed = newer.execute("UPDATE meta SET value = 1000 WHERE name = 'schema'", []);
    assert_eq!(changed.unwrap(), 1);
    newer.pragma_update(None, "user_version", 1000).unwrap();
    newer.close().unwrap();
    let before = fs::read(&path).unwrap();
    match refused(&path) {
        OpenError::Newer { found, known, .. } => assert!(found == 1000 && known < 1000),
        other => panic!("{other}"),
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn file_of_another_program_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("text");
    fs::write(
        &text,
        "a letter, and a longer one than a page of SQLite ".repeat(200),
    )
    .unwrap();
    let other = folder.path().join("other.db");
    let database = Connection::open(&other).unwrap();
    database
        .execute_batch("CREATE TABLE letters (text)")
        .unwrap();
    database.close().unwrap();
    for path in [text, other] {
        let before = fs::read(&path).unwrap();
        let error = refused(&path);
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    let nowhere = folder.path().join("nowhere").join("state.db");
    assert!(matches!(refused(&nowhere), OpenError::Failed { .. }));
}

#[tokio::test]
async fn compaction_returns_space_to_the_file_system() {
    const DEADLINE: Duration = Duration::from_secs(30);
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let options = Options {
        retention: None,
        reserve_bytes: 0,
        ..Options::default()
    };
    let store = IndexedStore::sqlite(&path, options).unwrap();
    let large = "x".repeat(100_000);
    let keys: Vec<_> = (0..100).map(|n| format!("k{n}")).collect();
    let puts = keys
        .iter()
        .map(|key| store.write(put(key, Expect::Absent, &large)));
    let entries = join_all(puts).await;
    let deletes = entries.into_iter().map(|entry| {
        let entry = entry.unwrap();
        store.write(Write::Delete {
            key: entry.key,
            expect: Expect::At(entry.revision),
            last: around("last"),
        })
    });
    join_all(deletes).await;
    let bytes = || -> u64 {
        let files = fs::read_dir(folder.path()).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    };
    assert!(bytes() > 10_000_000, "{}", bytes());
    store.compact(store.revision()).await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    while bytes() > 3_000_000 {
        assert!(Instant::now() < deadline, "{} bytes are left", bytes());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(
        store.watch("", 0).err(),
        Some(Error::Compacted { oldest, .. }) if oldest == store.revision()
    ));
    store.close().await;
}
