//! Reads a database, and separates damaged rows from good ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::quarantine::{self, Suspect};
use super::row::{self, CURRENT_COLUMNS, CurrentRow, LOG_COLUMNS, LogRow};
use super::schema::{self, Digest};
use crate::change::{Arrival, ArrivalKind, Change, Effect, Version};
use crate::index::Index;
use crate::store::Quarantined;
use crate::value::Revision;

/// The contents of a database.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) current: BTreeMap<Arc<str>, (Version, Option<u64>)>,
    /// The changes after `compacted`, in order.
    changes: Vec<Change>,
    pub(super) compacted: Revision,
    /// The newest revision that occurs anywhere.
    pub(super) newest: Revision,
    /// No row of `log` is at this revision or below.
    pub(super) forgotten: Revision,
    pub(super) digest: Digest,
    /// The number of rows of `current` that were committed and cannot be read.
    missing: usize,
    /// Rows that were quarantined before.
    pub(super) quarantined: Vec<quarantine::Row>,
    /// Rows that were found damaged now.
    pub(super) suspects: Vec<Suspect>,
    /// The damage that was found, one sentence each.
    pub(super) problems: Vec<String>,
}

impl Loaded {
    /// An empty database, at the revision `start`.
    pub(super) fn empty(start: Revision) -> Self {
        Self {
            compacted: start,
            newest: start,
            forgotten: start,
            ..Self::default()
        }
    }

    /// The index of undamaged contents, with its history.
    pub(super) fn into_index(self) -> Index {
        let mut index = Index::new(self.compacted);
        for change in self.changes {
            index.load_change(change);
        }
        fill(&mut index, self.current);
        index
    }

    /// Drops the history and continues at the revision `start`, as the rebuilt database does.
    pub(super) fn restart(&mut self, start: Revision, digest: Digest) {
        self.changes.clear();
        self.digest = digest;
        self.compacted = start;
        self.newest = start;
        self.forgotten = start;
        self.suspects.clear();
    }

    /// What a caller shows of the rows that were quarantined before.
    pub(super) fn shown(&self) -> Vec<Quarantined> {
        self.quarantined
            .iter()
            .map(|row| row.shown.clone())
            .collect()
    }

    fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }
}

fn fill(index: &mut Index, current: BTreeMap<Arc<str>, (Version, Option<u64>)>) {
    for (key, (version, expires)) in current {
        index.load(Arrival {
            key,
            version,
            kind: ArrivalKind::Put { expires },
        });
    }
}

/// Reads everything. Damage is part of the result; an error means that SQLite cannot read the database at all.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Loaded> {
    let mut loaded = Loaded::default();
    // Fails when the table itself cannot be found.
    connection.prepare(&format!("SELECT {CURRENT_COLUMNS} FROM current"))?;
    let compacted = schema::get_meta(connection, schema::COMPACTED);
    match compacted {
        Ok(Some(compacted)) => loaded.compacted = compacted.cast_unsigned(),
        _ => loaded.problem("the revision of the last compaction cannot be read"),
    }
    loaded.quarantined = quarantine::read(connection);
    load_current(connection, &mut loaded);
    let log = load_log(connection, &mut loaded);
    if loaded.problems.is_empty()
        && let Err(problem) = connect_history(log, &mut loaded)
    {
        loaded.problem(problem);
    }
    Ok(loaded)
}

/// Calls `each` with every readable row of a table, in the order of revisions. When a page cannot be read, reads the
/// rows behind it from the other end.
fn scan(
    connection: &Connection,
    table: &str,
    columns: &str,
    mut each: impl FnMut(&Row<'_>),
) -> Result<(), String> {
    let mut pass = |order: &str, until: Option<i64>| -> (Option<i64>, rusqlite::Result<()>) {
        let mut reached = None;
        let mut read = || -> rusqlite::Result<()> {
            let sql = format!("SELECT {columns} FROM {table} ORDER BY revision {order}");
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let revision: Option<i64> = row.get(0).ok();
                if until.is_some() && revision <= until {
                    return Ok(());
                }
                reached = revision.or(reached);
                each(row);
            }
            Ok(())
        };
        let result = read();
        (reached, result)
    };
    let (reached, first) = pass("ASC", None);
    let Err(error) = first else { return Ok(()) };
    // Rows that the first pass has read are not read again.
    let _ = pass("DESC", Some(reached.unwrap_or(i64::MIN)));
    Err(format!(
        "a part of the table {table} cannot be read: {error}"
    ))
}

fn load_current(connection: &Connection, loaded: &mut Loaded) {
    let mut digest = Digest::default();
    let mut bad = Vec::new();
    let current = &mut loaded.current;
    let mut newest = 0;
    let scanned = scan(connection, "current", CURRENT_COLUMNS, |row| {
        match row::read_current(row) {
            Ok((
                CurrentRow {
                    key,
                    version,
                    expires,
                },
                sum,
            )) => {
                digest.add(sum);
                newest = newest.max(version.revision);
                // Of two rows of one key, which only damage explains, the newer one holds.
                let older = current
                    .get(&key)
                    .is_some_and(|(known, _)| known.revision > version.revision);
                if !older {
                    current.insert(key, (version, expires));
                }
            }
            Err(row) => bad.push(row),
        }
    });
    loaded.newest = loaded.newest.max(newest).max(loaded.compacted);
    loaded.digest = digest;
    if let Err(problem) = scanned {
        loaded.problem(problem);
    }
    for row in bad {
        loaded.problem(format!(
            "the row of {:?} is damaged: {}",
            row.key, row.problem
        ));
        loaded.suspects.push(row.into());
    }
    let expected = Digest::load(connection).ok().flatten();
    match expected {
        Some(expected) if expected == loaded.digest => {}
        Some(expected) => {
            let missing = expected.rows - loaded.digest.rows;
            loaded.missing = usize::try_from(missing).unwrap_or(0);
            let missing = missing - loaded.suspects.len() as i64;
            loaded.problem(if missing > 0 {
                format!("{missing} rows of current values are missing")
            } else {
                "the current values are not those that were committed last".to_owned()
            });
        }
        None => loaded.problem("the number of current values cannot be read"),
    }
}

fn load_log(connection: &Connection, loaded: &mut Loaded) -> Vec<LogRow> {
    let mut log = Vec::new();
    let mut bad = 0;
    let mut first = None;
    let mut newest = loaded.newest;
    let compacted = loaded.compacted;
    let scanned = scan(connection, "log", LOG_COLUMNS, |row| {
        match row::read_log(row) {
            Ok(row) => {
                first.get_or_insert(row.revision);
                newest = newest.max(row.revision);
                if row.revision > compacted {
                    log.push(row);
                }
            }
            Err(_) => bad += 1,
        }
    });
    loaded.newest = newest;
    loaded.forgotten = first.map_or(compacted, |first| first.saturating_sub(1));
    if let Err(problem) = scanned {
        loaded.problem(problem);
    }
    if bad > 0 {
        loaded.problem(format!("{bad} changes of the history are damaged"));
    }
    log.sort_by_key(|row| row.revision);
    find_missing(&log, loaded);
    log
}

/// Quarantines the keys that have no current value although the log says that they were put.
fn find_missing(log: &[LogRow], loaded: &mut Loaded) {
    let mut latest: HashMap<&Arc<str>, &LogRow> = HashMap::new();
    for row in log {
        latest.insert(&row.key, row);
    }
    let mut missing = Vec::new();
    for (key, row) in latest {
        let known = loaded.current.contains_key(key)
            || loaded.suspects.iter().any(|suspect| *suspect.key == **key);
        let garbled = loaded
            .suspects
            .iter_mut()
            .find(|suspect| suspect.revision == Some(row.revision));
        if row.last.is_some() || known {
        } else if let Some(garbled) = garbled {
            // The log still has the key of a row whose key is damaged.
            garbled.key = key.to_string();
        } else {
            missing.push(Suspect {
                key: key.to_string(),
                revision: Some(row.revision),
                value: None,
                problem: "its row is missing".to_owned(),
            });
        }
    }
    for suspect in missing {
        loaded.problem(format!("the row of {:?} is missing", suspect.key));
        loaded.suspects.push(suspect);
    }
    let unnamed = loaded.missing.saturating_sub(loaded.suspects.len());
    if unnamed > 0 {
        loaded.suspects.push(Suspect {
            key: String::new(),
            revision: None,
            value: None,
            problem: format!("{unnamed} rows are missing, and their keys are not known"),
        });
    }
}

/// Builds the history from the log, from the newest change to the oldest, because each row has the value before it.
fn connect_history(log: Vec<LogRow>, loaded: &mut Loaded) -> Result<(), String> {
    let mut earlier: HashMap<Arc<str>, Option<Version>> = HashMap::new();
    let mut expected = loaded.compacted + log.len() as Revision;
    if let Some((version, _)) = loaded.current.values().max_by_key(|(v, _)| v.revision)
        && version.revision > expected
    {
        return Err(format!(
            "a value has revision {}, and the history ends at {expected}",
            version.revision
        ));
    }
    let mut changes = Vec::with_capacity(log.len());
    for row in log.into_iter().rev() {
        let LogRow {
            revision,
            key,
            previous,
            last,
        } = row;
        if revision != expected {
            return Err(format!("the history has no change {expected}"));
        }
        expected -= 1;
        let (key, state) = match earlier.get_key_value(&key) {
            Some((key, state)) => (Arc::clone(key), state.clone()),
            None => match loaded.current.get_key_value(&key) {
                Some((key, (version, _))) => (Arc::clone(key), Some(version.clone())),
                None => (key, None),
            },
        };
        let (version, effect) = match (last, state, previous) {
            (None, Some(version), previous) if version.revision == revision => {
                (version, Effect::Put { previous })
            }
            (Some(value), None, Some(previous)) => {
                let version = Version {
                    revision,
                    value,
                    digits_at: None,
                };
                (version, Effect::Delete { previous })
            }
            _ => {
                return Err(format!(
                    "the change {revision} of {key:?} contradicts the later state of the key"
                ));
            }
        };
        let change = Change {
            key,
            version,
            effect,
        };
        earlier.insert(Arc::clone(&change.key), change.previous().cloned());
        changes.push(change);
    }
    changes.reverse();
    loaded.changes = changes;
    Ok(())
}
