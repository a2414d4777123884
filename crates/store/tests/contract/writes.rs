//! Conditions, revisions, and what a write returns.

use futures::future::join_all;
use store::{Error, Expect, Store, Value, Write};

use crate::backend::{Backend, around, put, shown};

on_each_backend!(
    revisions_are_contiguous_and_stand_in_the_values,
    a_write_happens_only_when_its_condition_holds,
    one_of_many_creates_wins,
    writes_of_one_batch_see_each_other,
    closing_writes_what_is_queued_and_refuses_the_rest,
);

async fn revisions_are_contiguous_and_stand_in_the_values(backend: Backend) {
    let mut fixture = backend.open();
    assert_eq!(fixture.store.revision(), 0);
    let first = fixture.put("a", Expect::Absent, "x").await.unwrap();
    assert_eq!((shown(&first), first.revision), ("a=x@1;".into(), 1));
    let plain = Write::Put {
        key: "b".into(),
        expect: Expect::Absent,
        value: Value::plain("no revision"),
        ttl: None,
    };
    assert_eq!(
        shown(&fixture.store.write(plain).await.unwrap()),
        "b=no revision"
    );
    let last = Write::Delete {
        key: "a".into(),
        expect: Expect::At(1),
        last: around("bye"),
    };
    assert_eq!(shown(&fixture.store.write(last).await.unwrap()), "a=bye@3;");
    fixture.reopen().await;
    assert_eq!(fixture.store.revision(), 3);
    assert_eq!(fixture.set("a", "again").await, 4);
    assert_eq!(fixture.listed("", None), ["a=again@4;", "b=no revision"]);
}

async fn a_write_happens_only_when_its_condition_holds(backend: Backend) {
    let fixture = backend.open();
    fixture.set("there", "1").await;
    fixture.set("there", "2").await;
    let delete = |key: &str, expect| Write::Delete {
        key: key.into(),
        expect,
        last: around("last"),
    };
    for (write, actual) in [
        (put("there", Expect::Absent, "x"), Some(2)),
        (put("there", Expect::At(1), "x"), Some(2)),
        (put("there", Expect::At(3), "x"), Some(2)),
        (put("absent", Expect::At(2), "x"), None),
        (delete("there", Expect::At(1)), Some(2)),
        (delete("there", Expect::Absent), Some(2)),
        (delete("absent", Expect::At(1)), None),
        (delete("absent", Expect::Absent), None),
    ] {
        let described = format!("{write:?}");
        match fixture.store.write(write).await {
            Err(Error::Conflict { actual: found, .. }) => assert_eq!(found, actual, "{described}"),
            other => panic!("{described}: {other:?}"),
        }
    }
    assert_eq!(
        fixture.store.revision(),
        2,
        "a refused write has no revision"
    );
    assert_eq!(fixture.listed("", None), ["there=2@2;"]);
}

async fn one_of_many_creates_wins(backend: Backend) {
    let fixture = backend.open();
    let results = join_all((0..50).map(|_| fixture.put("one", Expect::Absent, "x"))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(fixture.store.revision(), 1);
}

async fn writes_of_one_batch_see_each_other(backend: Backend) {
    let mut fixture = backend.open();
    // They are queued in this order before the first of them is committed.
    let results = join_all([
        fixture.put("k", Expect::Absent, "first"),
        fixture.put("k", Expect::At(1), "second"),
        fixture.put("k", Expect::At(1), "late"),
        fixture.put("other", Expect::Absent, "x"),
        fixture.put("k", Expect::At(2), "third"),
    ])
    .await;
    let revisions: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().ok().map(|entry| entry.revision))
        .collect();
    assert_eq!(revisions, [Some(1), Some(2), None, Some(3), Some(4)]);
    for _ in 0..2 {
        assert_eq!(fixture.listed("", None), ["k=third@4;", "other=x@3;"]);
        assert_eq!(fixture.listed("", Some(2)), ["k=second@2;"]);
        fixture.reopen().await;
    }
}

async fn closing_writes_what_is_queued_and_refuses_the_rest(backend: Backend) {
    let mut fixture = backend.open();
    let keys: Vec<_> = (0..100).map(|n| format!("k{n:03}")).collect();
    let writes = join_all(keys.iter().map(|key| fixture.put(key, Expect::Absent, "x")));
    let (written, ()) = tokio::join!(writes, fixture.store.close());
    assert!(written.iter().all(Result::is_ok));
    fixture.store.close().await;
    let late = fixture.put("late", Expect::Absent, "x").await;
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    assert!(matches!(fixture.store.watch("", 0), Err(Error::Closed)));
    assert!(matches!(fixture.store.compact(1).await, Err(Error::Closed)));
    assert_eq!(fixture.store.count("k"), 100, "reads still answer");
    fixture.reopen().await;
    assert_eq!(fixture.store.count("k"), 100);
}
