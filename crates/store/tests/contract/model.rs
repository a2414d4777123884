//! Random histories, compared with a simple model: a list of what each write did. The model counts writes, as all
//! tests here do.

use std::collections::{BTreeMap, HashSet};

use futures::future::join_all;
use proptest::prelude::*;
use store::{Error, Expect, Store, Write};

use crate::backend::{Backend, Fixture, Watch, around};

#[derive(Clone, Debug)]
enum Step {
    /// Writes of different keys that are queued together: the key, whether it is a delete, and which condition.
    Write(Vec<(usize, bool, Condition)>),
    /// The position in the kept history (0: its start, 99: its end), the prefix, after which key, and the limit.
    List(u8, usize, Option<usize>, usize),
    /// The position in the kept history, and the prefix.
    Watch(u8, usize),
    Compact(u8),
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Right,
    Absent,
    Stale,
}

const KEYS: [&str; 6] = ["/a", "/a/1", "/a/2", "/b/1", "/b/2", "/c"];
const PREFIXES: [&str; 5] = ["", "/a", "/a/", "/b/", "/nothing"];

fn step() -> impl Strategy<Value = Step> {
    let condition = prop_oneof![
        6 => Just(Condition::Right),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Stale),
    ];
    let write = (0..KEYS.len(), prop::bool::weighted(0.3), condition);
    prop_oneof![
        8 => prop::collection::vec(write, 1..8).prop_map(Step::Write),
        3 => (0..100u8, 0..PREFIXES.len(), prop::option::of(0..KEYS.len()), 0..4usize)
            .prop_map(|(at, prefix, after, limit)| Step::List(at, prefix, after, limit)),
        2 => (0..100u8, 0..PREFIXES.len()).prop_map(|(at, prefix)| Step::Watch(at, prefix)),
        1 => (0..100u8).prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

/// What each write did to which key: the value written, or `None` for a delete.
#[derive(Default)]
struct Model {
    done: Vec<(&'static str, Option<String>)>,
    compacted: u64,
}

type State = BTreeMap<&'static str, (u64, String)>;

impl Model {
    fn revision(&self) -> u64 {
        self.done.len() as u64
    }

    fn state(&self, at: u64) -> State {
        let mut state = State::new();
        for (revision, (key, value)) in (1..=at).zip(&self.done) {
            match value {
                Some(value) => {
                    state.insert(key, (revision, value.clone()));
                }
                None => {
                    state.remove(key);
                }
            }
        }
        state
    }

    fn within(&self, percent: u8) -> u64 {
        self.compacted + (self.revision() - self.compacted) * u64::from(percent) / 99
    }

    /// The events after `after`, as a watch describes them; `None` when compaction has dropped one of them.
    fn events(&self, prefix: &str, after: u64) -> Option<Vec<String>> {
        let mut events = Vec::new();
        for revision in after + 1..=self.revision() {
            let (key, value) = &self.done[revision as usize - 1];
            if !key.starts_with(prefix) {
                continue;
            }
            if revision <= self.compacted {
                return None;
            }
            let previous = self.state(revision - 1).remove(key);
            events.push(match (value, previous) {
                (Some(value), None) => format!("new {key}={value}"),
                (Some(value), Some((_, previous))) => format!("{key}={previous} -> {value}"),
                (None, Some((_, previous))) => format!("gone {key}={previous} -> last@{revision};"),
                (None, None) => unreachable!(),
            });
        }
        Some(events)
    }
}

struct Run {
    fixture: Fixture,
    model: Model,
    watches: Vec<(Watch, &'static str, u64)>,
}

impl Run {
    async fn step(&mut self, step: Step) {
        match step {
            Step::Write(mut writes) => {
                let mut keys = HashSet::new();
                writes.retain(|(key, ..)| keys.insert(*key));
                self.write(writes).await;
            }
            Step::List(at, prefix, after, limit) => {
                let at = self.model.within(at);
                self.list(at, PREFIXES[prefix], after.map(|key| KEYS[key]), limit);
            }
            Step::Watch(after, prefix) => {
                let after = self.model.within(after);
                let watch = self.fixture.watch(PREFIXES[prefix], after);
                self.watches.push((watch, PREFIXES[prefix], after));
            }
            Step::Compact(to) => {
                let to = self.model.within(to);
                self.fixture.compact(to).await.unwrap();
                self.model.compacted = to;
            }
            Step::Reopen => {
                if self.fixture.backend != Backend::Memory {
                    self.fixture.close().await;
                    self.drain().await;
                    self.fixture.reopen().await;
                }
            }
        }
    }

    async fn write(&mut self, writes: Vec<(usize, bool, Condition)>) {
        let mut queued = Vec::new();
        let mut expected = Vec::new();
        for (key, delete, condition) in writes {
            let key = KEYS[key];
            let found = self.model.state(self.model.revision()).remove(key);
            let found = found.map(|(revision, _)| revision);
            let expect = match (condition, found) {
                (Condition::Right, Some(revision)) => self.fixture.at(revision),
                (Condition::Right | Condition::Absent, _) => Expect::Absent,
                // No write gets a revision that far ahead.
                (Condition::Stale, _) => Expect::At(self.fixture.store.revision() + 1000),
            };
            let holds = match expect {
                Expect::Absent => found.is_none() && !delete,
                Expect::At(_) => matches!(condition, Condition::Right),
            };
            if holds {
                let revision = self.model.revision() + 1;
                let value = format!("v{}@{revision};", expected.len());
                self.model.done.push((key, (!delete).then_some(value)));
                expected.push(Ok(revision));
            } else {
                expected.push(Err(found));
            }
            let (key, text) = (key.to_owned(), format!("v{}", queued.len()));
            queued.push(if delete {
                Write::Delete {
                    key,
                    expect,
                    last: around("last"),
                }
            } else {
                Write::Put {
                    key,
                    expect,
                    value: around(&text),
                    ttl: None,
                    urgent: false,
                }
            });
        }
        let store = &self.fixture.store;
        let results = join_all(queued.into_iter().map(|write| store.write(write))).await;
        let results: Vec<_> = results
            .into_iter()
            .map(|result| match result {
                Ok(entry) => Ok(self.fixture.numbers.count(entry.revision)),
                Err(Error::Conflict { actual, .. }) => {
                    Err(actual.map(|actual| self.fixture.numbers.count(actual)))
                }
                Err(other) => panic!("{other}"),
            })
            .collect();
        assert_eq!(results, expected);
    }

    fn list(&self, at: u64, prefix: &str, after: Option<&str>, limit: usize) {
        let page = self
            .fixture
            .store
            .list(
                prefix,
                after,
                limit,
                Some(self.fixture.numbers.revision(at)),
            )
            .unwrap();
        let mut expected: Vec<_> = self
            .model
            .state(at)
            .into_iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| *key > after))
            .map(|(key, (_, value))| format!("{key}={value}"))
            .collect();
        let kept = if limit == 0 {
            expected.len()
        } else {
            limit.min(expected.len())
        };
        assert_eq!(page.remaining, expected.len() - kept);
        expected.truncate(kept);
        assert_eq!(self.shown(&page.entries), expected);
    }

    fn shown(&self, entries: &[store::Entry]) -> Vec<String> {
        let shown = entries.iter().map(|entry| self.fixture.shown(entry));
        shown.collect()
    }

    /// Reads the watches of a closed store to their end, and compares them with the model.
    async fn drain(&mut self) {
        for (mut watch, prefix, after) in self.watches.drain(..) {
            let mut seen = Some(Vec::new());
            while let Some(item) = watch.next().await {
                match (item, &mut seen) {
                    (Ok(event), Some(seen)) => seen.push(watch.described(&event)),
                    (Err(Error::Lagged), _) => seen = None,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(
                seen,
                self.model.events(prefix, after),
                "{prefix} after {after}"
            );
        }
    }
}

fn check(backend: Backend, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut run = Run {
            fixture: backend.open(),
            model: Model::default(),
            watches: Vec::new(),
        };
        for step in steps {
            run.step(step).await;
        }
        assert_eq!(run.fixture.count(), run.model.revision());
        run.list(run.model.revision(), "", None, 0);
        run.fixture.close().await;
        run.drain().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]
    #[test]
    fn memory_behaves_like_the_model(steps in prop::collection::vec(step(), 1..40)) {
        check(Backend::Memory, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]
    #[test]
    fn sqlite_behaves_like_the_model(steps in prop::collection::vec(step(), 1..40)) {
        check(Backend::Sqlite, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]
    #[test]
    fn log_with_a_second_writer_behaves_like_the_model(steps in prop::collection::vec(step(), 1..40)) {
        check(Backend::SecondWriter, steps);
    }
}
