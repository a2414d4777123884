//! Reads a whole database through the store.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use store::{Error, Event, IndexedStore, Options, Revision, Store, Value, Write};

/// No automatic compaction.
pub(crate) fn open(path: &Path) -> IndexedStore {
    let options = Options {
        retention: None,
        ..Options::default()
    };
    IndexedStore::sqlite(path, options).unwrap()
}

pub(crate) fn around(text: &str) -> Value {
    Value {
        before: format!("{text}@").into(),
        after: Some(";".into()),
    }
}

pub(crate) fn put(key: &str, expect: store::Expect, text: &str) -> Write {
    Write::Put {
        key: key.into(),
        expect,
        value: around(text),
        ttl: None,
        urgent: false,
    }
}

/// Revisions, with `+key=value` for a put and `-key=value` for a delete.
pub(crate) type Changes = Vec<(Revision, String)>;

/// Returns the oldest revision that is kept, and every change after it.
pub(crate) async fn read(store: &IndexedStore) -> (Revision, Changes) {
    let oldest = match store.watch("", 0).err() {
        Some(Error::Compacted { oldest, .. }) => oldest,
        other => panic!("a watch from revision 0 is refused: {other:?}"),
    };
    let mut watch = store.watch("", oldest).unwrap();
    let mut changes = Changes::new();
    while changes.last().map_or(oldest, |(revision, _)| *revision) < store.revision() {
        let event = tokio::time::timeout(Duration::from_secs(30), watch.next()).await;
        let (sign, entry) = match event.unwrap().unwrap().unwrap() {
            Event::Put { entry, .. } => ('+', entry),
            Event::Delete { entry, .. } => ('-', entry),
            Event::Progress(_) => continue,
        };
        changes.push((entry.revision, line(sign, &entry)));
    }
    (oldest, changes)
}

pub(crate) fn line(sign: char, entry: &store::Entry) -> String {
    let value = std::str::from_utf8(&entry.value).unwrap();
    format!("{sign}{}={value}", entry.key)
}
