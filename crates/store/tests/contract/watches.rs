//! Watches: past and new events, in order, each once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use store::{Error, Event, Options, Store};

use crate::backend::{Backend, Fixture, plain};

on_each_backend!(
    watch_delivers_the_past_and_then_new_events,
    watch_delivers_only_the_keys_under_its_prefix,
    concurrent_writers_lose_no_event_and_repeat_none,
    slow_watcher_receives_every_event_and_delays_no_writer,
    only_a_watcher_that_lost_an_event_is_disconnected,
    progress_comes_after_the_events_it_covers,
    close_ends_a_watch_after_its_last_event,
    watch_of_a_future_revision_is_refused,
);

async fn watch_delivers_the_past_and_then_new_events(backend: Backend) {
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
        let mut watch = fixture.watch("", after);
        assert_eq!(watch.events(seen.len()).await, seen);
    }
    fixture.reopen().await;
    let mut watch = fixture.watch("", 0);
    assert_eq!(watch.events(3).await, past, "after a restart too");
    fixture.set("a", "three").await;
    assert_eq!(watch.events(1).await, ["new a=three@4;"]);
}

async fn watch_delivers_only_the_keys_under_its_prefix(backend: Backend) {
    let fixture = backend.open();
    let mut early = fixture.watch("/b/", 0);
    for key in ["/a/1", "/b/1", "/bb/1", "/b", "/b/2"] {
        fixture.set(key, "x").await;
    }
    let seen = ["new /b/1=x@2;", "new /b/2=x@5;"];
    assert_eq!(early.events(2).await, seen);
    // A later watcher of the same prefix that starts earlier than the others of it.
    let mut middle = fixture.watch("/b/", 3);
    let mut late = fixture.watch("/b/", 0);
    assert_eq!(late.events(2).await, seen);
    assert_eq!(middle.events(1).await, seen[1..]);
}

/// The events of a watch until the write number `until`, as number and key.
async fn seen_by(fixture: &Fixture, prefix: &str, after: u64, until: u64) -> Vec<(u64, String)> {
    let mut watch = fixture.watch(prefix, after);
    let mut seen = Vec::new();
    loop {
        match watch.next().await.unwrap().unwrap() {
            Event::Put { entry, .. } | Event::Delete { entry, .. } => {
                let count = fixture.numbers.count(entry.revision);
                let done = count == until;
                seen.push((count, entry.key));
                if done {
                    return seen;
                }
            }
            Event::Progress(_) => {}
        }
    }
}

async fn concurrent_writers_lose_no_event_and_repeat_none(backend: Backend) {
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
        // Started during the writes, at the revision of that moment.
        let fixture = Arc::clone(&fixture);
        let after = fixture.count().saturating_sub(n % 7);
        watchers.push(tokio::spawn(async move {
            let seen = seen_by(&fixture, "", after, end).await;
            let expected: Vec<_> = (after + 1..=end).collect();
            let revisions: Vec<_> = seen.iter().map(|(revision, _)| *revision).collect();
            assert_eq!(revisions, expected);
        }));
        tokio::task::yield_now().await;
    }
    for task in writers.into_iter().chain(watchers) {
        task.await.unwrap();
    }
    let all = seen_by(&fixture, "", 0, end).await;
    for prefix in ["/0/", "/1/", "/2/3"] {
        let expected: Vec<_> = all
            .iter()
            .filter(|(_, key)| key.starts_with(prefix))
            .cloned()
            .collect();
        let until = expected.last().unwrap().0;
        assert_eq!(seen_by(&fixture, prefix, 0, until).await, expected);
    }
}

async fn slow_watcher_receives_every_event_and_delays_no_writer(backend: Backend) {
    let fixture = backend.open();
    let mut slow = fixture.watch("k", 0);
    fixture.set("k0", "x").await;
    assert_eq!(slow.events(1).await.len(), 1);
    let count = 500;
    for n in 0..count {
        fixture.set(&format!("k{}", n % 10), "x").await;
    }
    let mut last = BTreeMap::new();
    for revision in 2..count + 2 {
        match slow.next().await.unwrap().unwrap() {
            Event::Put { entry, previous } => {
                assert_eq!(fixture.numbers.count(entry.revision), revision);
                let previous = previous.map(|entry| fixture.numbers.count(entry.revision));
                let expected = last.insert(entry.key.clone(), revision);
                if entry.key != "k0" || expected.is_some() {
                    assert_eq!(previous, expected);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn only_a_watcher_that_lost_an_event_is_disconnected(backend: Backend) {
    let fixture = backend.open();
    fixture.set("quiet", "x").await;
    let mut quiet = fixture.watch("quiet", 1);
    let mut reading = fixture.watch("busy", 1);
    let mut idle = fixture.watch("busy", 1);
    for _ in 0..10 {
        fixture.set("busy", "x").await;
        reading.events(1).await;
    }
    fixture.compact(11).await.unwrap();
    assert!(matches!(idle.next().await, Some(Err(Error::Lagged))));
    assert!(idle.next().await.is_none(), "then the stream ends");
    fixture.set("busy", "y").await;
    fixture.set("quiet", "y").await;
    assert_eq!(reading.events(1).await, ["busy=x@11; -> y@12;"]);
    assert_eq!(quiet.events(1).await, ["quiet=x@1; -> y@13;"]);
}

async fn progress_comes_after_the_events_it_covers(backend: Backend) {
    let fixture = backend.open_with(Options {
        progress_every: Duration::from_millis(5),
        ..plain()
    });
    let mut watch = fixture.watch("k", 0);
    fixture.set("k", "x").await;
    fixture.set("elsewhere", "x").await;
    fixture.set("elsewhere", "y").await;
    assert_eq!(
        watch.events(2).await,
        ["new k=x@1;", "progress @3"],
        "once, up to the newest change of other keys"
    );
    fixture.set("elsewhere", "z").await;
    assert_eq!(watch.events(1).await, ["progress @4"]);
    // Without new events there is no more progress, however many intervals pass.
    let silence = tokio::time::timeout(Duration::from_millis(50), watch.stream.next()).await;
    assert!(silence.is_err(), "{silence:?}");
}

async fn close_ends_a_watch_after_its_last_event(backend: Backend) {
    let fixture = backend.open();
    let mut behind = fixture.watch("", 0);
    fixture.set("k", "x").await;
    let mut waiting = fixture.watch("", 1);
    let (end, ()) = tokio::join!(waiting.next(), fixture.close());
    assert!(end.is_none());
    assert_eq!(behind.events(1).await, ["new k=x@1;"]);
    assert!(behind.next().await.is_none());
}

async fn watch_of_a_future_revision_is_refused(backend: Backend) {
    let fixture = backend.open();
    fixture.set("k", "x").await;
    assert!(fixture.try_watch("", 1).is_ok());
    let newest = fixture.numbers.revision(1);
    match fixture.store.watch("", newest + 1).map(|_| ()) {
        Err(Error::Future { asked, current }) => {
            assert_eq!((asked, current), (newest + 1, newest));
        }
        other => panic!("{other:?}"),
    }
}
