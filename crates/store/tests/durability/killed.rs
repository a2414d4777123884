//! A process that writes is killed (SIGKILL) again and again: every acknowledged write is there, in order, and no
//! revision is used for two changes.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use store::{Error, Expect, IndexedStore, Revision, Store, Write};
use tempfile::TempDir;

use crate::child;
use crate::history::{around, line, open, put, read};

const ROUNDS: usize = 12;
/// The largest number of acknowledged writes before a kill.
const MOST_WRITES: u64 = 300;

#[tokio::test]
async fn kill_loses_no_acknowledged_write() {
    rounds("write").await;
}

#[tokio::test]
async fn kill_during_compaction_loses_no_acknowledged_write() {
    rounds("compact").await;
}

async fn rounds(role: &str) {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("state.db");
    let mut start = None;
    let mut known: BTreeMap<Revision, String> = BTreeMap::new();
    let mut newest = None;
    for round in 0..ROUNDS {
        let writes = 1 + RandomState::new().hash_one(round) % MOST_WRITES;
        let (mut process, mut output) = child::start("killed::writer", role, &database);
        let mut reported: Vec<(Revision, String)> = Vec::new();
        while let Some((word, number, text)) = child::next_report(&mut output) {
            match word.as_str() {
                "open" => {
                    let before = *newest.get_or_insert(number);
                    assert_eq!(number, before, "the child starts where the last one ended");
                    start.get_or_insert(number);
                }
                _ => reported.push((number, text)),
            }
            if reported.len() as u64 == writes {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        assert!(
            reported.len() as u64 >= writes,
            "the child exited by itself"
        );

        let store = open(&database);
        assert_eq!(store.opening().problems, [""; 0], "a kill is no damage");
        let newest_now = store.revision();
        newest = Some(newest_now);
        let (oldest, changes) = read(&store).await;
        let revisions: Vec<_> = changes.iter().map(|(revision, _)| *revision).collect();
        assert_eq!(revisions, (oldest + 1..=newest_now).collect::<Vec<_>>());
        for (revision, change) in changes.into_iter().chain(reported) {
            assert!(
                revision <= newest_now,
                "{revision} {change} was acknowledged and is lost"
            );
            let other = known.entry(revision).or_insert_with(|| change.clone());
            assert_eq!(
                *other, change,
                "revision {revision} is used for two changes"
            );
        }
        if role == "write" {
            assert_eq!(
                Some(known.len() as u64),
                start.map(|start| newest_now - start)
            );
        }
        // The current state is that of the newest known change of each key.
        let mut state = BTreeMap::new();
        for change in known.values() {
            let (key, _) = change[1..].split_once('=').unwrap();
            state.insert(key.to_owned(), change.clone());
        }
        state.retain(|_, change| change.starts_with('+'));
        let page = store.list("", None, 0, None).unwrap();
        let found: Vec<_> = page.entries.iter().map(|entry| line('+', entry)).collect();
        if role == "write" {
            assert_eq!(found, state.into_values().collect::<Vec<_>>());
        }
        store.close().await;
    }
}

/// The child: writes until it is killed, and reports the acknowledged writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn writer() {
    let Some((role, database)) = child::role() else {
        return;
    };
    let store = Arc::new(open(&database));
    child::report("open", store.revision(), "");
    let writers = (0..8).map(|writer| tokio::spawn(write(Arc::clone(&store), writer)));
    let writers: Vec<_> = writers.collect();
    if role == "compact" {
        loop {
            let to = store.revision().saturating_sub(20);
            store.compact(to).await.unwrap();
            tokio::task::yield_now().await;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn write(store: Arc<IndexedStore>, writer: usize) {
    for n in 0_u64.. {
        // Three keys of this writer alone, and one that all writers share.
        let key = match n % 4 {
            0 => "shared".to_owned(),
            own => format!("k{writer}-{own}"),
        };
        let expect = match store.get(&key) {
            Some(entry) => Expect::At(entry.revision),
            None => Expect::Absent,
        };
        let delete = n % 3 == 2 && expect != Expect::Absent;
        let (sign, write) = if delete {
            let last = around(&format!("last{n}"));
            ('-', Write::Delete { key, expect, last })
        } else {
            ('+', put(&key, expect, &format!("v{n}")))
        };
        match store.write(write).await {
            Ok(entry) => child::report("wrote", entry.revision, &line(sign, &entry)),
            Err(Error::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
