//! What the author said of findings: `deep-review resolve`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{History, MergedFinding, Report};

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

impl Answers {
    /// The answer to a finding.
    #[must_use]
    pub fn of(&self, fingerprint: &str) -> Option<&Answer> {
        self.answers.get(fingerprint)
    }

    /// Records the answer to a finding of `report`.
    pub fn record(&mut self, report: &Report, finding: &MergedFinding, answer: Answer) {
        let answer = Answer {
            title: finding.lead.title.clone(),
            round: report.round,
            ..answer
        };
        self.answers.insert(finding.fingerprint.clone(), answer);
    }
}
