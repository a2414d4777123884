//! A process that writes is killed (SIGKILL) again and again: what it was told has been written is there, in
//! order, and no revision stands for two things.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use store::{Error, Expect, IndexedStore, Revision, Store, Write};
use tempfile::TempDir;

use crate::child;
use crate::history::{around, line, open, put, read};

const ROUNDS: usize = 12;
/// The child is killed after at most so many acknowledged writes.
const MOST_WRITES: u64 = 300;

#[tokio::test]
async fn a_kill_loses_no_acknowledged_write() {
    rounds("write").await;
}

#[tokio::test]
async fn a_kill_while_compacting_loses_no_acknowledged_write() {
    rounds("compact").await;
}

async fn rounds(role: &str) {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("state.db");
    let mut known: BTreeMap<Revision, String> = BTreeMap::new();
    let mut newest = 0;
    for round in 0..ROUNDS {
        let writes = 1 + RandomState::new().hash_one(round) % MOST_WRITES;
        let (mut process, mut output) = child::start("killed::writer", role, &database);
        let mut told: Vec<(Revision, String)> = Vec::new();
        while let Some((word, number, text)) = child::hear(&mut output) {
            match word.as_str() {
                "open" => assert_eq!(number, newest, "the child starts where the last one ended"),
                _ => told.push((number, text)),
            }
            if told.len() as u64 == writes {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        assert!(told.len() as u64 >= writes, "the child ended by itself");

        let store = open(&database);
        newest = store.revision();
        let (oldest, changes) = read(&store).await;
        let revisions: Vec<_> = changes.iter().map(|(revision, _)| *revision).collect();
        assert_eq!(revisions, (oldest + 1..=newest).collect::<Vec<_>>());
        for (revision, change) in changes.into_iter().chain(told) {
            assert!(
                revision <= newest,
                "{revision} {change} was acknowledged and is lost"
            );
            let other = known.entry(revision).or_insert_with(|| change.clone());
            assert_eq!(*other, change, "revision {revision} stands for two changes");
        }
        if role == "write" {
            assert_eq!(known.len() as u64, newest);
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

/// The child: writes until it is killed, and tells what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process of its own"]
async fn writer() {
    let Some((role, database)) = child::role() else {
        return;
    };
    let store = Arc::new(open(&database));
    child::tell("open", store.revision(), "");
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
        // Some keys are this writer's own, one is everybody's.
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
            Ok(entry) => child::tell("wrote", entry.revision, &line(sign, &entry)),
            Err(Error::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
