//! Times to live.

use std::time::Duration;

use store::{Expect, Write};

use crate::backend::{Backend, Fixture, around};

on_each_backend!(
    expired_key_is_deleted_and_watchers_receive_it,
    write_ends_the_lease_of_the_previous_write,
    leases_survive_a_restart,
);

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3600);

async fn lend(fixture: &Fixture, key: &str, expect: Expect, ttl: Duration) -> u64 {
    let write = Write::Put {
        key: key.into(),
        expect,
        value: around("lent"),
        ttl: Some(ttl),
        urgent: false,
    };
    let entry = fixture.write(write).await.unwrap();
    fixture.numbers.count(entry.revision)
}

async fn expired_key_is_deleted_and_watchers_receive_it(backend: Backend) {
    let fixture = backend.open();
    let mut watch = fixture.watch("", 0);
    lend(&fixture, "long", Expect::Absent, LONG).await;
    lend(&fixture, "short", Expect::Absent, SHORT).await;
    assert_eq!(
        watch.events(3).await,
        [
            "new long=lent@1;",
            "new short=lent@2;",
            "gone short=lent@2; -> lent@3;"
        ]
    );
    assert_eq!(fixture.listed("", None), ["long=lent@1;"]);
    assert_eq!(fixture.set("short", "again").await, 4);
}

async fn write_ends_the_lease_of_the_previous_write(backend: Backend) {
    let fixture = backend.open();
    let mut watch = fixture.watch("", 0);
    let lent = lend(&fixture, "kept", Expect::Absent, SHORT).await;
    let replaced = fixture.put("kept", fixture.at(lent), "kept").await;
    // On a very slow machine the key has expired before the second write.
    if replaced.is_err() {
        fixture.set("kept", "kept").await;
    }
    let lent = lend(&fixture, "longer", Expect::Absent, LONG).await;
    lend(&fixture, "longer", fixture.at(lent), LONG * 2).await;
    // Expires after the leases that were replaced: when it is deleted, every due lease has been handled.
    lend(&fixture, "marker", Expect::Absent, SHORT * 2).await;
    loop {
        let event = watch.events(1).await.remove(0);
        if event.starts_with("gone marker") {
            break;
        }
    }
    let keys: Vec<_> = fixture
        .listed("", None)
        .iter()
        .map(|shown| shown.split('@').next().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["kept=kept", "longer=lent"]);
}

async fn leases_survive_a_restart(backend: Backend) {
    let mut fixture = backend.open();
    lend(&fixture, "long", Expect::Absent, LONG).await;
    let lent = lend(&fixture, "short", Expect::Absent, SHORT).await;
    fixture.reopen().await;
    let mut watch = fixture.watch("", lent);
    assert_eq!(watch.events(1).await, ["gone short=lent@2; -> lent@3;"]);
    assert_eq!(fixture.listed("", None), ["long=lent@1;"]);
}
