//! Damaged databases: wrong rows are never served, they are named, and the store opens.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use store::{Error, Expect, IndexedStore, OpenError, Options, RestoreError, Revision, Store};
use tempfile::TempDir;

use crate::history::{line, open, put};

struct Database {
    folder: TempDir,
    newest: Revision,
    entries: BTreeMap<String, String>,
}

impl Database {
    /// A closed database with eight keys, some of which were replaced, and one key that was deleted.
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = open(&folder.path().join("state.db"));
        for n in 0..8 {
            let key = format!("/registry/things/name-{n}");
            let made = store
                .write(put(&key, Expect::Absent, &format!("first-{n}")))
                .await
                .unwrap();
            if n % 2 == 0 {
                let again = put(
                    &key,
                    Expect::At(made.revision),
                    &format!("content-number-{n}"),
                );
                store.write(again).await.unwrap();
            }
        }
        let gone = store
            .write(put("/registry/gone", Expect::Absent, "gone"))
            .await
            .unwrap();
        let delete = store::Write::Delete {
            key: gone.key,
            expect: Expect::At(gone.revision),
            last: crate::history::around("last"),
        };
        store.write(delete).await.unwrap();
        let newest = store.revision();
        let entries = served(&store);
        store.close().await;
        Self {
            folder,
            newest,
            entries,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// Changes one byte of the last occurrence of a text in the file.
    fn change_byte_of(&self, text: &str) {
        let mut bytes = fs::read(self.path()).unwrap();
        let at = bytes
            .windows(text.len())
            .rposition(|window| window == text.as_bytes())
            .unwrap();
        bytes[at + text.len() - 1] ^= 1;
        fs::write(self.path(), bytes).unwrap();
    }

    fn execute(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
        connection.close().unwrap();
    }
}

fn served(store: &IndexedStore) -> BTreeMap<String, String> {
    let page = store.list("", None, 0, None).unwrap();
    let entries = page.entries.into_iter();
    entries
        .map(|entry| (entry.key.clone(), line('+', &entry)))
        .collect()
}

fn quarantined(store: &IndexedStore) -> Vec<String> {
    store.quarantined().into_iter().map(|row| row.key).collect()
}

#[tokio::test]
async fn h49_damaged_value_is_quarantined_and_the_rest_is_served() {
    let database = Database::new().await;
    database.change_byte_of("content-number-4");
    let key = "/registry/things/name-4";
    for opening in 0..2 {
        let store = open(&database.path());
        let mut expected = database.entries.clone();
        expected.remove(key);
        assert_eq!(served(&store), expected);
        let rows = store.quarantined();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0].key, key);
        assert!(rows[0].problem.contains("checksum"), "{rows:?}");
        let report = store.opening();
        if opening == 0 {
            assert!(report.problems[0].contains(key), "{report:?}");
            assert!(report.kept.unwrap().exists());
        } else {
            assert_eq!(
                report,
                store::Opening::default(),
                "repaired by the first opening"
            );
        }
        let list = store::quarantine_list(&database.path()).unwrap();
        assert!(list.len() == 1 && list[0].starts_with(key), "{list:?}");
        store.close().await;
    }
}

#[tokio::test]
async fn damaged_key_is_named_by_the_history() {
    let database = Database::new().await;
    // The last occurrence is in the row of the log or of the current value; both must be noticed.
    database.execute("UPDATE current SET key = key || 'x' WHERE key LIKE '%name-3'");
    let store = open(&database.path());
    assert_eq!(quarantined(&store), ["/registry/things/name-3"]);
    assert_eq!(store.count("/registry/things/"), 7);
}

#[tokio::test]
async fn changed_revision_is_quarantined() {
    let database = Database::new().await;
    database.execute("UPDATE current SET revision = revision + 1000 WHERE key LIKE '%name-3'");
    let store = open(&database.path());
    assert!(quarantined(&store).contains(&"/registry/things/name-3".to_owned()));
    assert_eq!(store.count("/registry/things/"), 7);
    assert!(store.revision() > database.newest);
}

#[tokio::test]
async fn missing_row_is_noticed() {
    let database = Database::new().await;
    database.execute("DELETE FROM current WHERE key LIKE '%name-5'");
    let store = open(&database.path());
    assert_eq!(quarantined(&store), ["/registry/things/name-5"]);
    store.close().await;

    // Without history only the count tells.
    let database = Database::new().await;
    let store = open(&database.path());
    store.compact(store.revision()).await.unwrap();
    store.close().await;
    database.execute("DELETE FROM current WHERE key LIKE '%name-5'");
    let store = open(&database.path());
    let problems = store.opening().problems;
    assert!(
        problems[0].contains("1 rows of current values are missing"),
        "{problems:?}"
    );
    let rows = store.quarantined();
    assert!(rows[0].problem.contains("1 rows"), "{rows:?}");
    store.discard(rows[0].id).await.unwrap();
    assert_eq!(store.quarantined(), []);
}

#[tokio::test]
async fn damaged_history_is_dropped_and_revisions_skip_ahead() {
    for damage in [
        "DELETE FROM log WHERE revision = (SELECT min(revision) + 3 FROM log)",
        "DELETE FROM log WHERE revision = (SELECT max(revision) FROM log)",
        "DELETE FROM log WHERE revision = (SELECT min(revision) FROM log)",
        "UPDATE log SET key = 'other' WHERE revision = (SELECT max(revision) FROM log)",
        "UPDATE log SET replaced = 'other' WHERE replaced IS NOT NULL",
        "UPDATE meta SET value = value - 1 WHERE name = 'compacted'",
    ] {
        let database = Database::new().await;
        database.execute(damage);
        let store = open(&database.path());
        assert_eq!(served(&store), database.entries, "{damage}");
        assert!(!store.opening().problems.is_empty(), "{damage}");
        assert!(store.revision() > database.newest, "{damage}");
        let watch = store.watch("", database.newest).map(|_| ());
        assert!(matches!(watch, Err(Error::Compacted { .. })), "{damage}");
        let next = store.write(put("next", Expect::Absent, "x")).await.unwrap();
        assert!(next.revision > database.newest);
        store.close().await;
    }
}

/// Whatever byte of the file is changed: the store opens, serves only what was written, and reports what it does not
/// serve.
#[tokio::test]
async fn h49_any_changed_byte_is_survived() {
    /// The distance of the bytes that are tried, among those in use and among those that are zero. Primes, so that
    /// they meet every kind of byte.
    const USED: usize = 7;
    const UNUSED: usize = 409;
    let database = Database::new().await;
    let store = open(&database.path());
    store.back_up().unwrap().unwrap();
    store.close().await;
    let whole = fs::read(database.path()).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let backups = folder.path().join("state.db.backups");
    fs::create_dir(&backups).unwrap();
    let backup = fs::read_dir(database.folder.path().join("state.db.backups"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    fs::copy(backup.path(), backups.join(backup.file_name())).unwrap();
    // The unused part of each page is zero, and most bytes are there: only a few of those are tried.
    let used = |at: &usize| whole[*at] != 0 || at.is_multiple_of(UNUSED);
    let mut noticed = 0;
    for at in (0..whole.len()).filter(used).step_by(USED) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        fs::write(&path, &bytes).unwrap();
        let store = match IndexedStore::sqlite(&path, quick()) {
            Ok(store) => store,
            Err(error) => panic!("byte {at}: {error}"),
        };
        let found = served(&store);
        let report = store.opening();
        for (key, entry) in &found {
            assert_eq!(database.entries.get(key), Some(entry), "byte {at}");
        }
        if found != database.entries {
            assert!(!report.problems.is_empty(), "byte {at}");
        }
        if !report.problems.is_empty() {
            noticed += 1;
            assert!(store.revision() > database.newest, "byte {at}");
        }
        store.close().await;
        for entry in fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_file() {
                fs::remove_file(entry).unwrap();
            }
        }
    }
    assert!(noticed > 50, "{noticed} changes were noticed");
}

/// No threads and files that this test does not need.
fn quick() -> Options {
    Options {
        retention: None,
        backups: None,
        reserve_bytes: 0,
        ..Options::default()
    }
}

fn ruin(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    // All but the header, so that it is still recognized as ours.
    bytes[100..].fill(0xff);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn unreadable_database_is_restored_from_the_last_backup() {
    let database = Database::new().await;
    let store = open(&database.path());
    let backup = store.back_up().unwrap().unwrap();
    store.write(put("late", Expect::Absent, "x")).await.unwrap();
    let newest = store.revision();
    store.close().await;
    ruin(&database.path());
    let store = open(&database.path());
    assert_eq!(served(&store), database.entries, "the state of the backup");
    let report = store.opening();
    assert_eq!(report.restored_from, Some(backup));
    assert!(report.kept.unwrap().exists());
    assert!(store.revision() > newest, "lost revisions are not reused");
}

#[tokio::test]
async fn unreadable_database_without_backup_is_refused_and_left_alone() {
    let database = Database::new().await;
    ruin(&database.path());
    let before = fs::read(database.path()).unwrap();
    let error = IndexedStore::sqlite(&database.path(), quick()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("has no backup"), "{error}");
    assert_eq!(fs::read(database.path()).unwrap(), before);
}

#[tokio::test]
async fn h48_missing_database_is_restored_from_the_last_backup_or_is_fresh() {
    let database = Database::new().await;
    let store = open(&database.path());
    assert!(!store.opening().fresh);
    store.back_up().unwrap().unwrap();
    store.close().await;
    fs::remove_file(database.path()).unwrap();
    let store = open(&database.path());
    assert_eq!(served(&store), database.entries);
    assert!(store.opening().restored_from.is_some());
    assert!(!store.opening().fresh);
    store.close().await;

    let backups = database.folder.path().join("state.db.backups");
    fs::remove_dir_all(backups).unwrap();
    fs::write(database.path(), "").unwrap();
    let store = open(&database.path());
    assert!(store.opening().fresh);
    assert_eq!(store.count(""), 0);
    store.close().await;
    assert!(!open(&database.path()).opening().fresh, "it exists now");
}

#[tokio::test]
async fn quarantined_row_is_restored_from_a_backup() {
    let database = Database::new().await;
    let store = open(&database.path());
    store.back_up().unwrap().unwrap();
    store.close().await;
    database.change_byte_of("content-number-4");
    database.change_byte_of("content-number-6");
    let store = open(&database.path());
    let rows = store.quarantined();
    assert_eq!(rows.len(), 2);
    let restored = store.restore(rows[0].id).await.unwrap();
    assert_eq!(restored.key, "/registry/things/name-4");
    let text = format!("content-number-4@{};", restored.revision);
    assert_eq!(restored.value, text, "with its new revision");
    assert!(restored.revision > database.newest);
    let again = store.restore(rows[0].id).await;
    assert!(matches!(again, Err(RestoreError::Unknown { .. })));
    // A key that was created again is not overwritten.
    let key = &rows[1].key;
    store.write(put(key, Expect::Absent, "new")).await.unwrap();
    let exists = store.restore(rows[1].id).await;
    assert!(matches!(exists, Err(RestoreError::Exists { .. })));
    store.discard(rows[1].id).await.unwrap();
    store.close().await;
    let store = open(&database.path());
    assert_eq!(store.quarantined(), []);
    assert_eq!(store.count("/registry/things/"), 8);
    let list = store::quarantine_list(&database.path()).unwrap();
    assert_eq!(list, [""; 0]);
}

#[tokio::test]
async fn quarantined_row_without_backup_is_kept() {
    let database = Database::new().await;
    database.change_byte_of("content-number-4");
    let store = open(&database.path());
    let id = store.quarantined()[0].id;
    let error = store.restore(id).await.unwrap_err();
    assert!(matches!(error, RestoreError::NotInBackup { .. }), "{error}");
    assert_eq!(store.quarantined().len(), 1);
}

#[tokio::test]
async fn backups_are_bounded_and_made_periodically() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.db");
    let backups = || {
        let entries = fs::read_dir(folder.path().join("state.db.backups"));
        entries.map_or(0, Iterator::count)
    };
    let store = open(&path);
    for n in 0..6 {
        let key = format!("k{n}");
        store.write(put(&key, Expect::Absent, "x")).await.unwrap();
        store.back_up().unwrap();
    }
    assert_eq!(backups(), store::Backups::default().keep);
    store.close().await;
    fs::remove_dir_all(folder.path().join("state.db.backups")).unwrap();

    let options = Options {
        backups: Some(store::Backups {
            first_after: std::time::Duration::from_millis(1),
            every: std::time::Duration::from_millis(1),
            ..store::Backups::default()
        }),
        ..Options::default()
    };
    let store = IndexedStore::sqlite(&path, options).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while backups() == 0 {
        assert!(std::time::Instant::now() < deadline, "no backup was made");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    store.close().await;
}
