//! What the author said of findings: `deep-review resolve`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use process::lock::FileLock;
use serde::{Deserialize, Serialize};

use crate::model::{History, MergedFinding, Report};
use crate::run::store::{self, StoreError, TargetFolder};

/// Writing an answer takes an instant; whoever holds the lock longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// It was a defect and is gone.
    Fixed,
    /// It is none, or none to be dealt with.
    Declined,
    /// It is one, and stays.
    Wontfix,
    /// The reviewer is wrong.
    Invalid,
    /// It is put off to a later change: it stays open.
    Deferred,
    /// No answer any more.
    Open,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What.
    pub resolution: Resolution,
    /// Why.
    pub reason: String,
    /// RFC 3339.
    pub date: String,
    /// The finding's title, for people who read the file.
    pub title: String,
    /// The last round when it was given; 0: an answer of an older version does not say.
    #[serde(default)]
    pub round: u32,
}

impl Answer {
    /// What it makes of a finding raised in round `since`.
    #[must_use]
    pub fn history(&self, since: u32) -> History {
        let declined = |how: &str| History::Declined {
            since,
            reason: match (how, self.reason.as_str()) {
                ("", reason) => reason.to_owned(),
                (how, "") => how.to_owned(),
                (how, reason) => format!("{how}: {reason}"),
            },
        };
        match self.resolution {
            Resolution::Fixed => History::Fixed { since },
            Resolution::Open | Resolution::Deferred => History::Open { since },
            Resolution::Declined => declined(""),
            Resolution::Wontfix => declined("won't fix"),
            Resolution::Invalid => declined("invalid"),
        }
    }
}

impl Answer {
    /// Whether it still says where a finding stands that was last seen in round `seen`, as `history`. What is raised
    /// again in spite of its answer, because its code has changed, needs another one.
    #[must_use]
    pub fn holds(&self, history: &History, seen: u32) -> bool {
        let raised_again = matches!(history, History::New | History::Open { .. })
            && self.round > 0
            && seen > self.round;
        !raised_again || self.resolution == Resolution::Deferred
    }

    /// Why the finding is put off, when that is the answer.
    #[must_use]
    pub fn deferred(&self) -> Option<String> {
        (self.resolution == Resolution::Deferred).then(|| self.reason.clone())
    }
}

/// All answers of a target, by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    answers: BTreeMap<String, Answer>,
}

/// Why an answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing was ever found.
    #[error("{target} has no finished review in this repository's state; known: {known}")]
    NoReport {
        /// Its name.
        target: String,
        /// Other names.
        known: String,
    },
    /// There is no such finding.
    #[error("round {round} of {target} has no finding {id}; it has {known}")]
    NoFinding {
        /// As given.
        id: String,
        /// The target.
        target: String,
        /// The last round.
        round: u32,
        /// Its findings.
        known: String,
    },
}

impl Answers {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        Ok(store::read_json(path)?.unwrap_or_default())
    }

    /// The answer to a finding.
    #[must_use]
    pub fn of(&self, fingerprint: &str) -> Option<&Answer> {
        self.answers.get(fingerprint)
    }
}

/// Records an answer to a finding of the target's last report, named by its id or its fingerprint. Returns the finding.
pub fn resolve(
    folder: &TargetFolder,
    target: &str,
    known: &[String],
    id: &str,
    answer: Answer,
) -> Result<MergedFinding, ResolveError> {
    let Some(last) = folder.reports()?.pop() else {
        return Err(ResolveError::NoReport {
            target: target.to_owned(),
            known: known.join(", "),
        });
    };
    let finding = find(&last, id).ok_or_else(|| ResolveError::NoFinding {
        id: id.to_owned(),
        target: target.to_owned(),
        round: last.round,
        known: last
            .findings
            .iter()
            .chain(&last.closed)
            .map(|finding| finding.id.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let path = folder.answers();
    let _lock = FileLock::acquire(
        &path.with_extension("lock"),
        "deep-review resolve",
        Instant::now() + PATIENCE,
    )
    .map_err(StoreError::from)?;
    let mut answers = Answers::read(&path)?;
    answers.answers.insert(
        finding.fingerprint.clone(),
        Answer {
            title: finding.lead.title.clone(),
            round: last.round,
            ..answer
        },
    );
    store::write_json(&path, &answers)?;
    Ok(finding.clone())
}

fn find<'a>(report: &'a Report, id: &str) -> Option<&'a MergedFinding> {
    report
        .findings
        .iter()
        .chain(&report.closed)
        .find(|finding| finding.id.eq_ignore_ascii_case(id) || finding.fingerprint == id)
}
