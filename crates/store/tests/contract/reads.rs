//! Lists: ranges, pages, older revisions.

use store::{Error, Store};

use crate::backend::{Backend, shown};

on_each_backend!(
    a_list_has_the_keys_under_its_prefix_in_order,
    pages_of_one_revision_hold_while_writes_go_on,
    any_kept_revision_can_be_listed,
);

async fn a_list_has_the_keys_under_its_prefix_in_order(backend: Backend) {
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

async fn pages_of_one_revision_hold_while_writes_go_on(backend: Backend) {
    let fixture = backend.open();
    for n in 0..10 {
        fixture.set(&format!("k{n}"), "old").await;
    }
    let whole = fixture.listed("k", None);
    let mut pages = Vec::new();
    let (mut after, mut at) = (None, None);
    loop {
        let page = fixture.store.list("k", after.as_deref(), 3, at).unwrap();
        assert_eq!(page.revision, 10);
        pages.extend(page.entries.iter().map(shown));
        assert_eq!(page.remaining, 10 - pages.len());
        if page.remaining == 0 {
            break;
        }
        at = Some(page.revision);
        after = page.entries.last().map(|entry| entry.key.clone());
        // What the next page is about to show goes, and what it must not show comes.
        fixture.delete(&format!("k{}", pages.len())).await;
        fixture.set(&format!("k{}x", pages.len()), "new").await;
    }
    assert_eq!(pages, whole);
}

async fn any_kept_revision_can_be_listed(backend: Backend) {
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
        let future = fixture.store.list("", None, 0, Some(41));
        assert!(matches!(
            future,
            Err(Error::Future {
                asked: 41,
                current: 40
            })
        ));
        fixture.reopen().await;
    }
}
