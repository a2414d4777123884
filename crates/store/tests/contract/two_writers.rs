//! Two stores over one log: each sees the other's writes, and the log decides between them.

use std::sync::Arc;
use std::time::Duration;

use store::{Error, Event, Expect, IndexedStore, Store, Value, Write};

use crate::backend::{plain, put};
use crate::shared_log::SharedLog;

fn open(log: &SharedLog) -> Arc<IndexedStore> {
    let (client, contents) = log.connect();
    Arc::new(IndexedStore::over(client, contents, plain()).unwrap())
}

#[tokio::test]
async fn write_of_one_store_reaches_the_other_in_order_and_once() {
    use futures::StreamExt;
    let log = SharedLog::default();
    let (first, second) = (open(&log), open(&log));
    let start = first.revision();
    let mut watch = first.watch("", start).unwrap();
    let mut written = Vec::new();
    for n in 0..20 {
        let store = if n % 2 == 0 { &first } else { &second };
        let write = put(&format!("k{n}"), Expect::Absent, "x");
        written.push(store.write(write).await.unwrap().revision);
    }
    for revision in &written {
        match watch.next().await.unwrap().unwrap() {
            Event::Put { entry, .. } => assert_eq!(entry.revision, *revision),
            other => panic!("{other:?}"),
        }
    }
    let newest = *written.last().unwrap();
    second.wait_for(newest).await.unwrap();
    let list = |store: &IndexedStore| {
        let page = store.list("", None, 0, None).unwrap();
        let entries = page.entries.into_iter();
        entries
            .map(|e| (e.key, e.value, e.revision))
            .collect::<Vec<_>>()
    };
    assert_eq!(list(&first), list(&second));
    first.close().await;
    assert!(watch.next().await.is_none(), "nothing is delivered twice");
    second.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_through_two_stores_lose_nothing() {
    const INCREMENTS: u64 = 100;
    let log = SharedLog::default();
    let increment = |store: Arc<IndexedStore>| async move {
        for _ in 0..INCREMENTS {
            loop {
                let (expect, number) = match store.get("counter") {
                    Some(entry) => {
                        let text = std::str::from_utf8(&entry.value).unwrap();
                        (Expect::At(entry.revision), text.parse::<u64>().unwrap())
                    }
                    None => (Expect::Absent, 0),
                };
                let write = Write::Put {
                    key: "counter".into(),
                    expect,
                    value: Value::plain((number + 1).to_string()),
                    ttl: None,
                    urgent: false,
                };
                match store.write(write).await {
                    Ok(_) => break,
                    // The other store was first; its change is about to arrive here.
                    Err(Error::Conflict { actual, .. }) => {
                        store.wait_for(actual.unwrap()).await.unwrap();
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    };
    let (first, second) = (open(&log), open(&log));
    let tasks = [&first, &second, &first, &second].map(|store| {
        let store = Arc::clone(store);
        tokio::spawn(increment(store))
    });
    for task in tasks {
        task.await.unwrap();
    }
    let newest = *log.revisions().last().unwrap();
    for store in [first, second] {
        store.wait_for(newest).await.unwrap();
        let total = (4 * INCREMENTS).to_string();
        assert_eq!(store.get("counter").unwrap().value, total);
        store.close().await;
    }
}

#[tokio::test]
async fn log_refuses_a_condition_that_only_a_stale_index_meets() {
    let log = SharedLog::default();
    let store = open(&log);
    // A client of the log whose store was never started, so `store` learns of its write from the events only.
    let (mut other, _) = log.connect();
    let made = store.write(put("k", Expect::Absent, "x")).await.unwrap();
    let proposal = |key: &str, expect| {
        let write = put(key, expect, "other");
        match write {
            Write::Put { key, value, .. } => store::Proposal::new(
                key.as_str(),
                expect,
                store::Mutation::Put {
                    value,
                    expires: None,
                },
            ),
            Write::Delete { .. } => unreachable!(),
        }
    };
    let outcome = other.commit(&[proposal("k", Expect::At(made.revision))]);
    assert!(matches!(outcome.unwrap()[0], store::Outcome::Written(_)));
    let refused = store
        .write(put("k", Expect::At(made.revision), "late"))
        .await;
    match refused {
        Err(Error::Conflict { actual, .. }) => {
            let actual = actual.unwrap();
            tokio::time::timeout(Duration::from_secs(30), store.wait_for(actual))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(store.get("k").unwrap().revision, actual);
        }
        other => panic!("{other:?}"),
    }
    store.close().await;
    assert!(matches!(store.wait_for(u64::MAX).await, Err(Error::Closed)));
}
