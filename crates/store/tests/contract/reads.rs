//! Lists: ranges, pages, older revisions, and waiting for a revision.

use store::{Error, Store};

use crate::backend::Backend;

on_each_backend!(
    list_has_the_keys_under_its_prefix_in_order,
    pages_of_one_revision_stay_consistent_during_writes,
    every_kept_revision_can_be_listed,
    wait_for_returns_when_the_revision_is_reached,
    wait_for_fails_when_the_store_closes,
);

async fn list_has_the_keys_under_its_prefix_in_order(backend: Backend) {
    let fixture = backend.open();
    for key in ["/b/2", "/a/1", "/b/1", "/b", "/b/10", "/c", "/bb/1"] {
        fixture.set(key, "x").await;
    }
    let list = |prefix, after, limit| {
        let page = fixture.store.list(prefix, after, limit, None).unwrap();
        let keys: Vec<_> = page.entries.into_iter().map(|entry| entry.key).collect();
        (keys.join(" "), page.remaining)
    };
    let whole = |keys: &str, remaining| (keys.to_owned(), remaining);
    assert_eq!(
        list("", None, 0),
        whole("/a/1 /b /b/1 /b/10 /b/2 /bb/1 /c", 0)
    );
    assert_eq!(list("/b/", None, 0), whole("/b/1 /b/10 /b/2", 0));
    assert_eq!(list("/b/", None, 2), whole("/b/1 /b/10", 1));
    assert_eq!(list("/b/", Some("/b/1"), 1), whole("/b/10", 1));
    assert_eq!(list("/b/", Some("/b/1"), 0), whole("/b/10 /b/2", 0));
    assert_eq!(list("/b/", Some("/b/11"), 0), whole("/b/2", 0), "not a key");
    assert_eq!(list("/b/", Some("/a"), 0), whole("/b/1 /b/10 /b/2", 0));
    assert_eq!(list("/b/", Some("/z"), 0), whole("", 0));
    assert_eq!(list("/d", None, 5), whole("", 0));
    assert_eq!(fixture.store.count("/b"), 5);
}

async fn pages_of_one_revision_stay_consistent_during_writes(backend: Backend) {
    let fixture = backend.open();
    for n in 0..10 {
        fixture.set(&format!("k{n}"), "old").await;
    }
    let whole = fixture.listed("k", None);
    let mut pages = Vec::new();
    let (mut after, mut at) = (None, None);
    loop {
        let page = fixture.store.list("k", after.as_deref(), 3, at).unwrap();
        assert_eq!(fixture.numbers.count(page.revision), 10);
        pages.extend(page.entries.iter().map(|entry| fixture.shown(entry)));
        assert_eq!(page.remaining, 10 - pages.len());
        if page.remaining == 0 {
            break;
        }
        at = Some(page.revision);
        after = page.entries.last().map(|entry| entry.key.clone());
        // Deletes a key that the next page must still show, and creates one that it must not show.
        fixture.delete(&format!("k{}", pages.len())).await;
        fixture.set(&format!("k{}x", pages.len()), "new").await;
    }
    assert_eq!(pages, whole);
}

async fn every_kept_revision_can_be_listed(backend: Backend) {
    let mut fixture = backend.open();
    let mut expected = vec![fixture.listed("", None)];
    for step in 0..40 {
        let key = format!("k{}", step % 7);
        if step % 5 == 4 && fixture.store.get(&key).is_some() {
            fixture.delete(&key).await;
        } else {
            fixture.set(&key, &format!("v{step}")).await;
        }
        expected.push(fixture.listed("", None));
    }
    for _ in 0..2 {
        for (revision, expected) in expected.iter().enumerate() {
            assert_eq!(&fixture.listed("", Some(revision as u64)), expected);
        }
        let newest = fixture.numbers.revision(40);
        match fixture.store.list("", None, 0, Some(newest + 1)) {
            Err(Error::Future { asked, current }) => {
                assert_eq!((asked, current), (newest + 1, newest));
            }
            other => panic!("{other:?}"),
        }
        fixture.reopen().await;
    }
}

async fn wait_for_returns_when_the_revision_is_reached(backend: Backend) {
    let fixture = backend.open();
    fixture.set("k", "1").await;
    fixture.store.wait_for(0).await.unwrap();
    let third = fixture.numbers.revision(3);
    let waiting = tokio::spawn({
        let store = std::sync::Arc::clone(&fixture.store);
        async move {
            store.wait_for(third).await.unwrap();
            store.get("k").unwrap().revision
        }
    });
    fixture.set("k", "2").await;
    assert!(!waiting.is_finished());
    fixture.set("k", "3").await;
    assert_eq!(waiting.await.unwrap(), third);
}

async fn wait_for_fails_when_the_store_closes(backend: Backend) {
    let fixture = backend.open();
    let next = fixture.numbers.revision(1);
    let (waited, ()) = tokio::join!(fixture.store.wait_for(next), fixture.close());
    assert!(matches!(waited, Err(Error::Closed)), "{waited:?}");
}
