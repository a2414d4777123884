//! A log in memory that skips revision numbers and that several stores write to, as they would write to etcd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::{Condvar, Mutex};

use store::{
    Contents, EventSource, Expect, Log, LogError, Mutation, Outcome, Proposal, Record, Revision,
};

/// The revision of an empty log.
pub(crate) const EMPTY: Revision = 41;

/// The revision after `revision`: two or three more.
pub(crate) fn following(revision: Revision) -> Revision {
    revision + 2 + revision % 2
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    current: BTreeMap<Arc<str>, Revision>,
    compacted: Revision,
    closed: Vec<usize>,
    clients: usize,
}

/// The log, which outlives the stores that use it.
#[derive(Clone, Default)]
pub(crate) struct SharedLog(Arc<(Mutex<State>, Condvar)>);

impl SharedLog {
    /// The revisions of all changes so far.
    pub(crate) fn revisions(&self) -> Vec<Revision> {
        let state = self.0.0.lock().unwrap();
        state.records.iter().map(|record| record.revision).collect()
    }

    /// Returns a client of the log, and the contents that its store starts with.
    pub(crate) fn connect(&self) -> (Box<dyn Log>, Contents) {
        let mut state = self.0.0.lock().unwrap();
        state.clients += 1;
        let compacted = state.compacted.max(EMPTY);
        let mut start: BTreeMap<&str, &Record> = BTreeMap::new();
        let (old, history): (Vec<_>, Vec<_>) = state
            .records
            .iter()
            .partition(|record| record.revision <= compacted);
        for record in old {
            match record.mutation {
                Mutation::Put { .. } => start.insert(&record.key, record),
                Mutation::Delete { .. } => start.remove(&*record.key),
            };
        }
        let mut contents = Contents::new(compacted);
        for record in start.into_values() {
            contents.add(record.clone());
        }
        for record in history {
            contents.replay(record.clone());
        }
        let client = Client {
            log: self.clone(),
            number: state.clients,
            position: state.records.len(),
        };
        (Box::new(client), contents)
    }
}

struct Client {
    log: SharedLog,
    number: usize,
    position: usize,
}

impl Log for Client {
    fn place(&self) -> &str {
        "the shared log"
    }

    fn commit(&mut self, proposals: &[Proposal]) -> Result<Vec<Outcome>, LogError> {
        let mut state = self.log.0.0.lock().unwrap();
        let mut outcomes = Vec::new();
        for proposal in proposals {
            let actual = state.current.get(&proposal.key).copied();
            let expected = match proposal.expect {
                Expect::Absent => None,
                Expect::At(revision) => Some(revision),
            };
            if actual != expected {
                outcomes.push(Outcome::Refused { actual });
                continue;
            }
            let last = state.records.last().map_or(EMPTY, |record| record.revision);
            let revision = following(last);
            match proposal.mutation {
                Mutation::Put { .. } => state.current.insert(Arc::clone(&proposal.key), revision),
                Mutation::Delete { .. } => state.current.remove(&proposal.key),
            };
            state.records.push(Record {
                revision,
                key: Arc::clone(&proposal.key),
                mutation: proposal.mutation.clone(),
            });
            outcomes.push(Outcome::Written(revision));
        }
        self.log.0.1.notify_all();
        Ok(outcomes)
    }

    fn events(&mut self) -> Option<Box<dyn EventSource>> {
        Some(Box::new(Events {
            log: self.log.clone(),
            number: self.number,
            position: self.position,
        }))
    }

    fn forget(&mut self, to: Revision) -> Result<bool, LogError> {
        let mut state = self.log.0.0.lock().unwrap();
        state.compacted = state.compacted.max(to);
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<(), LogError> {
        let mut state = self.log.0.0.lock().unwrap();
        state.closed.push(self.number);
        self.log.0.1.notify_all();
        Ok(())
    }
}

struct Events {
    log: SharedLog,
    number: usize,
    position: usize,
}

impl EventSource for Events {
    fn next(&mut self) -> Result<Option<Vec<Record>>, LogError> {
        let mut state = self.log.0.0.lock().unwrap();
        loop {
            if state.records.len() > self.position {
                // The last change is delivered twice, because the store has to ignore the second time.
                let new = state.records[self.position.saturating_sub(1)..].to_vec();
                self.position = state.records.len();
                return Ok(Some(new));
            }
            if state.closed.contains(&self.number) {
                return Ok(None);
            }
            state = self.log.0.1.wait(state).unwrap();
        }
    }
}
