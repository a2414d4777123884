//! Watches: what happened and what happens, in order, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use store::{Error, Event, Options, Store};

use crate::backend::{Backend, Fixture, events, next, plain};

on_each_backend!(
    a_watch_tells_the_past_and_then_the_present,
    a_watch_tells_only_what_is_under_its_prefix,
    nothing_is_lost_or_told_twice_under_concurrent_writers,
    a_slow_watcher_gets_everything_and_stops_nobody,
    only_a_watcher_that_has_lost_an_event_is_cut_off,
    progress_is_told_after_the_events_it_covers,
    closing_ends_a_watch_after_its_last_event,
    a_revision_to_come_cannot_be_watched,
);

async fn a_watch_tells_the_past_and_then_the_present(backend: Backend) {
    let mut fixture = backend.open();
    fixture.set("a", "one").await;
    fixture.set("a", "two").await;
    fixture.delete("a").await;
    let past = [
        "new a=one@1;",
        "a=one@1; -> two@2;",
        "gone a=two@2; -> last@3;",
    ];
    for (after, seen) in (0..).zip([&past[..], &past[1..], &past[2..], &[]]) {
        let mut watch = fixture.store.watch("", after).unwrap();
        assert_eq!(events(&mut watch, seen.len()).await, seen);
    }
    fixture.reopen().await;
    let mut watch = fixture.store.watch("", 0).unwrap();
    assert_eq!(events(&mut watch, 3).await, past, "after a restart too");
    fixture.set("a", "three").await;
    assert_eq!(events(&mut watch, 1).await, ["new a=three@4;"]);
}

async fn a_watch_tells_only_what_is_under_its_prefix(backend: Backend) {
    let fixture = backend.open();
    let mut early = fixture.store.watch("/b/", 0).unwrap();
    for key in ["/a/1", "/b/1", "/bb/1", "/b", "/b/2"] {
        fixture.set(key, "x").await;
    }
    let seen = ["new /b/1=x@2;", "new /b/2=x@5;"];
    assert_eq!(events(&mut early, 2).await, seen);
    // A later watcher of the same prefix that starts earlier than the others of it.
    let mut middle = fixture.store.watch("/b/", 3).unwrap();
    let mut late = fixture.store.watch("/b/", 0).unwrap();
    assert_eq!(events(&mut late, 2).await, seen);
    assert_eq!(events(&mut middle, 1).await, seen[1..]);
}

/// The events of a watch until a revision, as revision and key.
async fn told(fixture: &Fixture, prefix: &str, after: u64, until: u64) -> Vec<(u64, String)> {
    let mut watch = fixture.store.watch(prefix, after).unwrap();
    let mut seen = Vec::new();
    loop {
        match next(&mut watch).await.unwrap().unwrap() {
            Event::Put { entry, .. } | Event::Delete { entry, .. } => {
                let done = entry.revision == until;
                seen.push((entry.revision, entry.key));
                if done {
                    return seen;
                }
            }
            Event::Progress(_) => {}
        }
    }
}

async fn nothing_is_lost_or_told_twice_under_concurrent_writers(backend: Backend) {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 60;
    let fixture = Arc::new(backend.open());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move {
                for n in 0..WRITES {
                    fixture.set(&format!("/{}/{writer}", n % 3), "x").await;
                }
                fixture.set(&format!("/last/{writer}"), "x").await;
            })
        })
        .collect();
    let mut watchers = Vec::new();
    let end = WRITERS * (WRITES + 1);
    for n in 0..60 {
        // Started while writes go on, from wherever the store is then.
        let fixture = Arc::clone(&fixture);
        let after = fixture.store.revision().saturating_sub(n % 7);
        watchers.push(tokio::spawn(async move {
            let seen = told(&fixture, "", after, end).await;
            let expected: Vec<_> = (after + 1..=end).collect();
            let revisions: Vec<_> = seen.iter().map(|(revision, _)| *revision).collect();
            assert_eq!(revisions, expected);
        }));
        tokio::task::yield_now().await;
    }
    for task in writers.into_iter().chain(watchers) {
        task.await.unwrap();
    }
    let all = told(&fixture, "", 0, end).await;
    for prefix in ["/0/", "/1/", "/2/3"] {
        let expected: Vec<_> = all
            .iter()
            .filter(|(_, key)| key.starts_with(prefix))
            .cloned()
            .collect();
        let until = expected.last().unwrap().0;
        assert_eq!(told(&fixture, prefix, 0, until).await, expected);
    }
}

async fn a_slow_watcher_gets_everything_and_stops_nobody(backend: Backend) {
    let fixture = backend.open();
    let mut slow = fixture.store.watch("k", 0).unwrap();
    fixture.set("k0", "x").await;
    assert_eq!(events(&mut slow, 1).await.len(), 1);
    let count = 500;
    for n in 0..count {
        fixture.set(&format!("k{}", n % 10), "x").await;
    }
    let mut last = BTreeMap::new();
    for revision in 2..count + 2 {
        match next(&mut slow).await.unwrap().unwrap() {
            Event::Put { entry, previous } => {
                assert_eq!(entry.revision, revision);
                let previous = previous.map(|entry| entry.revision);
                let expected = last.insert(entry.key.clone(), revision);
                if entry.key != "k0" || expected.is_some() {
                    assert_eq!(previous, expected);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn only_a_watcher_that_has_lost_an_event_is_cut_off(backend: Backend) {
    let fixture = backend.open();
    fixture.set("quiet", "x").await;
    let mut quiet = fixture.store.watch("quiet", 1).unwrap();
    let mut reading = fixture.store.watch("busy", 1).unwrap();
    let mut idle = fixture.store.watch("busy", 1).unwrap();
    for _ in 0..10 {
        fixture.set("busy", "x").await;
        events(&mut reading, 1).await;
    }
    fixture.store.compact(11).await.unwrap();
    assert!(matches!(next(&mut idle).await, Some(Err(Error::Lagged))));
    assert!(next(&mut idle).await.is_none(), "and then it ends");
    fixture.set("busy", "y").await;
    fixture.set("quiet", "y").await;
    assert_eq!(events(&mut reading, 1).await, ["busy=x@11; -> y@12;"]);
    assert_eq!(events(&mut quiet, 1).await, ["quiet=x@1; -> y@13;"]);
}

async fn progress_is_told_after_the_events_it_covers(backend: Backend) {
    let fixture = backend.open_with(Options {
        progress_every: Duration::from_millis(5),
        ..plain()
    });
    let mut watch = fixture.store.watch("k", 0).unwrap();
    fixture.set("k", "x").await;
    fixture.set("elsewhere", "x").await;
    fixture.set("elsewhere", "y").await;
    assert_eq!(
        events(&mut watch, 2).await,
        ["new k=x@1;", "progress 3"],
        "once, up to what has happened elsewhere"
    );
    fixture.set("elsewhere", "z").await;
    assert_eq!(events(&mut watch, 1).await, ["progress 4"]);
    // Nothing new: nothing is told, however many intervals go by.
    let silence = tokio::time::timeout(Duration::from_millis(50), watch.next()).await;
    assert!(silence.is_err(), "{silence:?}");
}

async fn closing_ends_a_watch_after_its_last_event(backend: Backend) {
    let fixture = backend.open();
    let mut behind = fixture.store.watch("", 0).unwrap();
    fixture.set("k", "x").await;
    let mut waiting = fixture.store.watch("", 1).unwrap();
    let (end, ()) = tokio::join!(next(&mut waiting), fixture.store.close());
    assert!(end.is_none());
    assert_eq!(events(&mut behind, 1).await, ["new k=x@1;"]);
    assert!(next(&mut behind).await.is_none());
}

async fn a_revision_to_come_cannot_be_watched(backend: Backend) {
    let fixture = backend.open();
    fixture.set("k", "x").await;
    assert!(fixture.store.watch("", 1).is_ok());
    let future = fixture.store.watch("", 2).err();
    assert!(matches!(
        future,
        Some(Error::Future {
            asked: 2,
            current: 1
        })
    ));
}
