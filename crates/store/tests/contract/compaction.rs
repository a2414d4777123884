//! Compaction: which history is dropped, and what stays.

use std::time::Duration;

use store::{Error, Expect, Options, Retention, Store};

use crate::backend::{Backend, plain, put};

on_each_backend!(
    compaction_drops_older_history_and_nothing_else,
    history_beyond_the_limits_is_compacted_automatically,
);

async fn compaction_drops_older_history_and_nothing_else(backend: Backend) {
    let mut fixture = backend.open();
    // More changes than one transaction of a compaction deletes.
    let (count, to) = (2600, 2500);
    let keys: Vec<_> = (0..count).map(|n| format!("k{n:04}")).collect();
    // Through one store: the writes are committed in the order in which they are queued.
    let writes = keys
        .iter()
        .map(|key| fixture.store.write(put(key, Expect::Absent, "x")));
    futures::future::join_all(writes).await;
    fixture.delete("k0001").await;
    fixture.set("k0002", "new").await;
    let at = fixture.listed("k000", Some(to));
    let now = fixture.listed("", None);
    let future = fixture.compact(count + 3).await;
    assert!(matches!(future, Err(Error::Future { .. })));
    for _ in 0..2 {
        fixture.compact(to).await.unwrap();
        fixture.compact(to - 1).await.unwrap();
        for older in [0, to - 1] {
            let at = fixture.numbers.revision(older);
            let list = fixture.store.list("", None, 0, Some(at)).map(|_| ());
            let watch = fixture.try_watch("", older).map(|_| ());
            for refused in [list, watch] {
                match refused {
                    Err(Error::Compacted { asked, oldest }) => {
                        assert_eq!((asked, oldest), (at, fixture.numbers.revision(to)));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(fixture.listed("k000", Some(to)), at);
        assert_eq!(fixture.listed("", None), now);
        let mut watch = fixture.watch("k000", to);
        assert_eq!(
            watch.events(2).await,
            [
                format!("gone k0001=x@2; -> last@{};", count + 1),
                format!("k0002=x@3; -> new@{};", count + 2)
            ]
        );
        fixture.reopen().await;
    }
    let newest = fixture.store.revision();
    fixture.store.compact(newest).await.unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.store.revision(), newest);
    assert_eq!(fixture.set("next", "x").await, count + 3);
}

async fn history_beyond_the_limits_is_compacted_automatically(backend: Backend) {
    let fixture = backend.open_with(Options {
        retention: Some(Retention {
            keep_for: Duration::from_secs(3600),
            max_revisions: 100,
            max_bytes: usize::MAX / 2,
        }),
        ..plain()
    });
    for n in 0..150 {
        fixture.set("k", &n.to_string()).await;
    }
    // Writes through a second store are compacted by the first one's next turn.
    fixture.store.compact(0).await.unwrap();
    let oldest = match fixture.try_watch("", 0).err() {
        Some(Error::Compacted { oldest, .. }) => oldest,
        other => panic!("{other:?}"),
    };
    let kept = 150 - fixture.numbers.count(oldest);
    assert!((90..=113).contains(&kept), "{kept} changes are kept");
    assert_eq!(fixture.listed("", None), ["k=149@150;"]);
}
