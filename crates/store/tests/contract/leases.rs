//! Times to live.

use std::time::Duration;

use store::{Expect, Revision, Store, Write};

use crate::backend::{Backend, Fixture, around, events};

on_each_backend!(
    an_expired_key_is_deleted_and_watchers_see_it,
    a_write_ends_the_lease_of_the_one_before,
    leases_survive_a_restart,
);

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

async fn lend(fixture: &Fixture, key: &str, expect: Expect, ttl: Duration) -> Revision {
    let write = Write::Put {
        key: key.into(),
        expect,
        value: around("lent"),
        ttl: Some(ttl),
    };
    fixture.store.write(write).await.unwrap().revision
}

async fn an_expired_key_is_deleted_and_watchers_see_it(backend: Backend) {
    let fixture = backend.open();
    let mut watch = fixture.store.watch("", 0).unwrap();
    lend(&fixture, "long", Expect::Absent, LONG).await;
    lend(&fixture, "short", Expect::Absent, SHORT).await;
    assert_eq!(
        events(&mut watch, 3).await,
        [
            "new long=lent@1;",
            "new short=lent@2;",
            "gone short=lent@2; -> lent@3;"
        ]
    );
    assert_eq!(fixture.listed("", None), ["long=lent@1;"]);
    assert_eq!(fixture.set("short", "again").await, 4);
}

async fn a_write_ends_the_lease_of_the_one_before(backend: Backend) {
    let fixture = backend.open();
    let mut watch = fixture.store.watch("", 0).unwrap();
    // One batch: the lease is granted and ended within it.
    let write = |ttl, expect| {
        fixture.store.write(Write::Put {
            key: "batched".into(),
            expect,
            value: around("x"),
            ttl,
        })
    };
    let (first, second) = tokio::join!(
        write(Some(SHORT), Expect::Absent),
        write(None, Expect::At(1))
    );
    first.unwrap();
    // On a machine so slow that it has expired before the second write, it is written anew: kept all the same.
    if second.is_err() {
        fixture.set("batched", "x").await;
    }
    let lent = lend(&fixture, "kept", Expect::Absent, SHORT).await;
    let replaced = fixture.put("kept", Expect::At(lent), "kept").await;
    if replaced.is_err() {
        fixture.set("kept", "kept").await;
    }
    let lent = lend(&fixture, "longer", Expect::Absent, LONG).await;
    lend(&fixture, "longer", Expect::At(lent), LONG * 2).await;
    // It expires after the leases that must not: all that was due has been done when it is gone.
    lend(&fixture, "marker", Expect::Absent, SHORT * 2).await;
    loop {
        let event = events(&mut watch, 1).await.remove(0);
        if event.starts_with("gone marker") {
            break;
        }
    }
    let keys: Vec<_> = fixture
        .listed("", None)
        .iter()
        .map(|shown| shown.split('@').next().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["batched=x", "kept=kept", "longer=lent"]);
}

async fn leases_survive_a_restart(backend: Backend) {
    let mut fixture = backend.open();
    lend(&fixture, "long", Expect::Absent, LONG).await;
    let lent = lend(&fixture, "short", Expect::Absent, SHORT).await;
    fixture.reopen().await;
    let mut watch = fixture.store.watch("", lent).unwrap();
    assert_eq!(
        events(&mut watch, 1).await,
        ["gone short=lent@2; -> lent@3;"]
    );
    assert_eq!(fixture.listed("", None), ["long=lent@1;"]);
}
