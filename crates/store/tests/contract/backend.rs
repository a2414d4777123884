//! The stores under test, and short ways to use them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use store::{Entry, Error, Event, Expect, IndexedStore, Options, Revision, Store, Value, Write};
use tempfile::TempDir;

/// Makes a test of each function for each backend.
macro_rules! on_each_backend {
    ($($(#[$attribute:meta])* $test:ident),* $(,)?) => {
        mod memory {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::backend::Backend::Memory).await;
            })*
        }
        mod sqlite {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::backend::Backend::Sqlite).await;
            })*
        }
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Sqlite,
}

/// No automatic compaction, no progress events.
pub(crate) fn plain() -> Options {
    Options {
        retention: None,
        progress_every: Duration::from_secs(3600),
        ..Options::default()
    }
}

impl Backend {
    pub(crate) fn open(self) -> Fixture {
        self.open_with(plain())
    }

    pub(crate) fn open_with(self, options: Options) -> Fixture {
        let folder = TempDir::new().unwrap();
        let store = self.start(&folder, &options);
        Fixture {
            backend: self,
            store,
            options,
            folder,
        }
    }

    fn start(self, folder: &TempDir, options: &Options) -> Arc<IndexedStore> {
        Arc::new(match self {
            Self::Memory => IndexedStore::memory(options.clone()).unwrap(),
            Self::Sqlite => {
                IndexedStore::sqlite(&folder.path().join("state.db"), options.clone()).unwrap()
            }
        })
    }
}

/// A store, its folder, and how to open it again.
pub(crate) struct Fixture {
    pub(crate) backend: Backend,
    pub(crate) store: Arc<IndexedStore>,
    options: Options,
    folder: TempDir,
}

impl Fixture {
    /// Closes the store and opens it again; does nothing when closing would lose everything.
    pub(crate) async fn reopen(&mut self) {
        if self.backend == Backend::Sqlite {
            self.store.close().await;
            self.store = self.backend.start(&self.folder, &self.options);
        }
    }

    pub(crate) async fn put(&self, key: &str, expect: Expect, value: &str) -> Result<Entry, Error> {
        self.store.write(put(key, expect, value)).await
    }

    /// Creates or replaces, whatever is there.
    pub(crate) async fn set(&self, key: &str, value: &str) -> Revision {
        let expect = self.expect(key);
        self.put(key, expect, value).await.unwrap().revision
    }

    pub(crate) async fn delete(&self, key: &str) -> Revision {
        let expect = self.expect(key);
        let write = Write::Delete {
            key: key.into(),
            expect,
            last: around("last"),
        };
        self.store.write(write).await.unwrap().revision
    }

    fn expect(&self, key: &str) -> Expect {
        match self.store.get(key) {
            Some(entry) => Expect::At(entry.revision),
            None => Expect::Absent,
        }
    }

    /// The keys and values under a prefix, as `key=value`, at a revision.
    pub(crate) fn listed(&self, prefix: &str, at: Option<Revision>) -> Vec<String> {
        let page = self.store.list(prefix, None, 0, at).unwrap();
        page.entries.iter().map(shown).collect()
    }
}

/// A value `text@revision;`.
pub(crate) fn around(text: &str) -> Value {
    Value {
        before: format!("{text}@").into(),
        after: Some(";".into()),
    }
}

pub(crate) fn put(key: &str, expect: Expect, value: &str) -> Write {
    Write::Put {
        key: key.into(),
        expect,
        value: around(value),
        ttl: None,
    }
}

pub(crate) fn shown(entry: &Entry) -> String {
    let value = std::str::from_utf8(&entry.value).unwrap();
    format!("{}={value}", entry.key)
}

pub(crate) type Watch = BoxStream<'static, Result<Event, Error>>;

/// The next item of a watch; fails when none comes.
pub(crate) async fn next(watch: &mut Watch) -> Option<Result<Event, Error>> {
    const DEADLINE: Duration = Duration::from_secs(30);
    tokio::time::timeout(DEADLINE, watch.next())
        .await
        .expect("an event within the deadline")
}

/// The next `count` events, described.
pub(crate) async fn events(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(described(&next(watch).await.unwrap().unwrap()));
    }
    seen
}

/// `new key=value`, `key=old -> new`, `gone key=old -> last` or `progress n`.
pub(crate) fn described(event: &Event) -> String {
    let value = |entry: &Entry| String::from_utf8(entry.value.to_vec()).unwrap();
    match event {
        Event::Put {
            entry,
            previous: None,
        } => format!("new {}", shown(entry)),
        Event::Put {
            entry,
            previous: Some(previous),
        } => format!("{} -> {}", shown(previous), value(entry)),
        Event::Delete { entry, previous } => {
            format!("gone {} -> {}", shown(previous), value(entry))
        }
        Event::Progress(revision) => format!("progress {revision}"),
    }
}
