//! Conditions, revisions, and the result of a write.

use futures::future::join_all;
use store::{Error, Expect, Store, Value, Write};

use crate::backend::{Backend, around, put};

on_each_backend!(
    revisions_increase_and_are_filled_into_the_values,
    write_happens_only_if_its_condition_holds,
    one_of_many_concurrent_creates_wins,
    concurrent_writes_of_one_key_see_each_other,
    close_commits_queued_writes_and_refuses_later_ones,
);

async fn revisions_increase_and_are_filled_into_the_values(backend: Backend) {
    let mut fixture = backend.open();
    let empty = fixture.store.revision();
    let first = fixture.put("a", Expect::Absent, "x").await.unwrap();
    assert!(first.revision > empty);
    let text = format!("x@{};", first.revision);
    assert_eq!((first.key.as_str(), &*first.value), ("a", text.as_bytes()));
    assert_eq!(fixture.store.revision(), first.revision);
    let plain = Write::Put {
        key: "b".into(),
        expect: Expect::Absent,
        value: Value::plain("no revision"),
        ttl: None,
        urgent: false,
    };
    let second = fixture.write(plain).await.unwrap();
    assert_eq!(second.value, "no revision");
    let last = Write::Delete {
        key: "a".into(),
        expect: Expect::At(first.revision),
        last: around("bye"),
    };
    let third = fixture.write(last).await.unwrap();
    assert_eq!(fixture.shown(&third), "a=bye@3;");
    assert!(first.revision < second.revision && second.revision < third.revision);
    fixture.reopen().await;
    assert_eq!(fixture.store.revision(), third.revision);
    assert_eq!(fixture.set("a", "again").await, 4);
    assert_eq!(fixture.listed("", None), ["a=again@4;", "b=no revision"]);
}

async fn write_happens_only_if_its_condition_holds(backend: Backend) {
    let fixture = backend.open();
    fixture.set("there", "1").await;
    fixture.set("there", "2").await;
    let delete = |key: &str, expect| Write::Delete {
        key: key.into(),
        expect,
        last: around("last"),
    };
    let (first, second) = (fixture.at(1), fixture.at(2));
    let future = Expect::At(fixture.store.revision() + 1);
    for (write, actual) in [
        (put("there", Expect::Absent, "x"), Some(2)),
        (put("there", first, "x"), Some(2)),
        (put("there", future, "x"), Some(2)),
        (put("absent", second, "x"), None),
        (delete("there", first), Some(2)),
        (delete("there", Expect::Absent), Some(2)),
        (delete("absent", first), None),
        (delete("absent", Expect::Absent), None),
    ] {
        let described = format!("{write:?}");
        match fixture.write(write).await {
            Err(Error::Conflict { actual: found, .. }) => {
                let found = found.map(|found| fixture.numbers.count(found));
                assert_eq!(found, actual, "{described}");
            }
            other => panic!("{described}: {other:?}"),
        }
    }
    assert_eq!(fixture.count(), 2, "a refused write gets no revision");
    assert_eq!(fixture.listed("", None), ["there=2@2;"]);
}

async fn one_of_many_concurrent_creates_wins(backend: Backend) {
    let fixture = backend.open();
    let results = join_all((0..50).map(|_| fixture.put("one", Expect::Absent, "x"))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(fixture.count(), 1);
}

async fn concurrent_writes_of_one_key_see_each_other(backend: Backend) {
    let mut fixture = backend.open();
    // Through one store, which commits them in the order in which they are queued.
    let store = &fixture.store;
    let create = |value| store.write(put("k", Expect::Absent, value));
    let other = store.write(put("other", Expect::Absent, "x"));
    let (first, second, other) = tokio::join!(create("first"), create("second"), other);
    let first = first.unwrap().revision;
    assert_eq!(other.unwrap().key, "other");
    match second {
        Err(Error::Conflict { actual, .. }) => assert_eq!(actual, Some(first)),
        other => panic!("{other:?}"),
    }
    let delete = store.write(Write::Delete {
        key: "k".into(),
        expect: Expect::At(first),
        last: around("last"),
    });
    let (deleted, third) = tokio::join!(delete, create("third"));
    assert!(deleted.unwrap().revision < third.unwrap().revision);
    for _ in 0..2 {
        assert_eq!(fixture.listed("", None), ["k=third@4;", "other=x@2;"]);
        assert_eq!(fixture.listed("", Some(3)), ["other=x@2;"]);
        fixture.reopen().await;
    }
}

async fn close_commits_queued_writes_and_refuses_later_ones(backend: Backend) {
    let mut fixture = backend.open();
    let keys: Vec<_> = (0..100).map(|n| format!("k{n:03}")).collect();
    let writes = join_all(
        keys.iter()
            .map(|key| fixture.store.write(put(key, Expect::Absent, "x"))),
    );
    let (written, ()) = tokio::join!(writes, fixture.store.close());
    assert!(written.iter().all(Result::is_ok));
    fixture.store.close().await;
    let late = fixture.store.write(put("late", Expect::Absent, "x")).await;
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    assert!(matches!(fixture.store.watch("", 0), Err(Error::Closed)));
    assert!(matches!(fixture.store.compact(1).await, Err(Error::Closed)));
    assert_eq!(fixture.store.count("k"), 100, "reads still answer");
    fixture.reopen().await;
    assert_eq!(fixture.store.count("k"), 100);
}
