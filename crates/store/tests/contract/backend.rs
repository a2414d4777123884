//! The stores under test, and short ways to use them.
//!
//! The tests count writes: "revision 3" in a test is the third write of the store, whatever number the backend gave
//! it. [`Fixture`] and [`Watch`] translate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use store::{Entry, Error, Event, Expect, IndexedStore, Options, Revision, Store, Value, Write};
use tempfile::TempDir;

use crate::shared_log::{EMPTY, SharedLog, following};

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
        mod second_writer {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::backend::Backend::SecondWriter).await;
            })*
        }
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Sqlite,
    /// A log that skips revision numbers, with two stores over it: every other write of the fixture goes through
    /// the second store, and all reads and watches through the first.
    SecondWriter,
}

/// No automatic compaction, no progress events.
pub(crate) fn plain() -> Options {
    Options {
        retention: None,
        progress_every: Duration::from_secs(3600),
        ..Options::default()
    }
}

/// Translates between the count of writes and the revisions of a backend.
#[derive(Clone)]
pub(crate) enum Numbers {
    /// Contiguous revisions after this one.
    From(Revision),
    /// Those of the log.
    Shared(SharedLog),
}

impl Numbers {
    /// The revision of the write number `count`; 0 is the empty store.
    pub(crate) fn revision(&self, count: u64) -> Revision {
        match self {
            Self::From(base) => base + count,
            Self::Shared(log) => {
                let known = log.revisions();
                let count = count as usize;
                match count.checked_sub(1).and_then(|index| known.get(index)) {
                    Some(revision) => *revision,
                    None => {
                        let last = known.last().copied().unwrap_or(EMPTY);
                        let more = count.saturating_sub(known.len());
                        let start = if count == 0 { EMPTY } else { last };
                        (0..more).fold(start, |revision, _| following(revision))
                    }
                }
            }
        }
    }

    /// The number of writes up to a revision.
    pub(crate) fn count(&self, revision: Revision) -> u64 {
        match self {
            Self::From(base) => revision - base,
            Self::Shared(log) => {
                let known = log.revisions();
                known.iter().filter(|known| **known <= revision).count() as u64
            }
        }
    }

    /// Translates the revisions in a text, which [`around`] marks with an `@`.
    pub(crate) fn translate(&self, text: &str) -> String {
        let mut parts = text.split('@');
        let mut translated = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let count = self.count(part[..digits].parse().unwrap());
            translated += &format!("@{count}{}", &part[digits..]);
        }
        translated
    }
}

/// A store, its backend, and how to open it again.
pub(crate) struct Fixture {
    pub(crate) backend: Backend,
    pub(crate) store: Arc<IndexedStore>,
    pub(crate) numbers: Numbers,
    second: Option<Arc<IndexedStore>>,
    turn: AtomicUsize,
    options: Options,
    folder: TempDir,
}

impl Backend {
    pub(crate) fn open(self) -> Fixture {
        self.open_with(plain())
    }

    pub(crate) fn open_with(self, options: Options) -> Fixture {
        let folder = TempDir::new().unwrap();
        let log = SharedLog::default();
        let (store, second) = self.start(&folder, &log, &options);
        let numbers = match self {
            Self::SecondWriter => Numbers::Shared(log),
            Self::Memory | Self::Sqlite => Numbers::From(store.revision()),
        };
        Fixture {
            backend: self,
            store,
            numbers,
            second,
            turn: AtomicUsize::new(0),
            options,
            folder,
        }
    }

    fn start(
        self,
        folder: &TempDir,
        log: &SharedLog,
        options: &Options,
    ) -> (Arc<IndexedStore>, Option<Arc<IndexedStore>>) {
        let over = || {
            let (client, contents) = log.connect();
            Arc::new(IndexedStore::over(client, contents, options.clone()).unwrap())
        };
        match self {
            Self::Memory => (
                Arc::new(IndexedStore::memory(options.clone()).unwrap()),
                None,
            ),
            Self::Sqlite => {
                let path = folder.path().join("state.db");
                let store = IndexedStore::sqlite(&path, options.clone()).unwrap();
                (Arc::new(store), None)
            }
            Self::SecondWriter => (over(), Some(over())),
        }
    }
}

impl Fixture {
    /// Closes the store and opens it again. A no-op for a backend that loses everything when it is closed.
    pub(crate) async fn reopen(&mut self) {
        if self.backend == Backend::Memory {
            return;
        }
        self.close().await;
        let log = match &self.numbers {
            Numbers::Shared(log) => log.clone(),
            Numbers::From(_) => SharedLog::default(),
        };
        (self.store, self.second) = self.backend.start(&self.folder, &log, &self.options);
    }

    pub(crate) async fn close(&self) {
        if let Some(second) = &self.second {
            second.close().await;
        }
        self.store.close().await;
    }

    /// Writes through the first or the second store in turn, and returns once the first store shows the write.
    pub(crate) async fn write(&self, write: Write) -> Result<Entry, Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match &self.second {
            Some(second) if turn % 2 == 1 => {
                let entry = second.write(write).await?;
                self.store.wait_for(entry.revision).await?;
                Ok(entry)
            }
            _ => self.store.write(write).await,
        }
    }

    pub(crate) async fn put(&self, key: &str, expect: Expect, value: &str) -> Result<Entry, Error> {
        self.write(put(key, expect, value)).await
    }

    /// Creates or replaces the key, and returns the number of the write.
    pub(crate) async fn set(&self, key: &str, value: &str) -> u64 {
        let entry = self.put(key, self.expect(key), value).await.unwrap();
        self.numbers.count(entry.revision)
    }

    pub(crate) async fn delete(&self, key: &str) -> u64 {
        let write = Write::Delete {
            key: key.into(),
            expect: self.expect(key),
            last: around("last"),
        };
        self.numbers
            .count(self.write(write).await.unwrap().revision)
    }

    fn expect(&self, key: &str) -> Expect {
        match self.store.get(key) {
            Some(entry) => Expect::At(entry.revision),
            None => Expect::Absent,
        }
    }

    /// The condition that the key was last written by the write number `count`.
    pub(crate) fn at(&self, count: u64) -> Expect {
        Expect::At(self.numbers.revision(count))
    }

    /// The number of writes so far.
    pub(crate) fn count(&self) -> u64 {
        self.numbers.count(self.store.revision())
    }

    pub(crate) fn watch(&self, prefix: &str, after: u64) -> Watch {
        self.try_watch(prefix, after).unwrap()
    }

    pub(crate) fn try_watch(&self, prefix: &str, after: u64) -> Result<Watch, Error> {
        let stream = self.store.watch(prefix, self.numbers.revision(after))?;
        Ok(Watch {
            stream,
            numbers: self.numbers.clone(),
        })
    }

    /// The keys and values under a prefix, as `key=value`, after the write number `at`.
    pub(crate) fn listed(&self, prefix: &str, at: Option<u64>) -> Vec<String> {
        let at = at.map(|count| self.numbers.revision(count));
        let page = self.store.list(prefix, None, 0, at).unwrap();
        page.entries.iter().map(|entry| self.shown(entry)).collect()
    }

    pub(crate) async fn compact(&self, to: u64) -> Result<(), Error> {
        self.store.compact(self.numbers.revision(to)).await
    }

    /// `key=value` of an entry.
    pub(crate) fn shown(&self, entry: &Entry) -> String {
        self.numbers.translate(&shown(entry))
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
        urgent: false,
    }
}

fn shown(entry: &Entry) -> String {
    let value = std::str::from_utf8(&entry.value).unwrap();
    format!("{}={value}", entry.key)
}

pub(crate) struct Watch {
    pub(crate) stream: BoxStream<'static, Result<Event, Error>>,
    numbers: Numbers,
}

impl Watch {
    /// The next item; fails when none comes.
    pub(crate) async fn next(&mut self) -> Option<Result<Event, Error>> {
        const DEADLINE: Duration = Duration::from_secs(30);
        tokio::time::timeout(DEADLINE, self.stream.next())
            .await
            .expect("an event within the deadline")
    }

    /// The next `count` events, as texts.
    pub(crate) async fn events(&mut self, count: usize) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..count {
            let event = self.next().await.unwrap().unwrap();
            seen.push(self.described(&event));
        }
        seen
    }

    /// `new key=value`, `key=old -> new`, `gone key=old -> last` or `progress n`.
    pub(crate) fn described(&self, event: &Event) -> String {
        let value = |entry: &Entry| String::from_utf8(entry.value.to_vec()).unwrap();
        let text = match event {
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
            Event::Progress(revision) => format!("progress @{revision}"),
        };
        self.numbers.translate(&text)
    }
}
