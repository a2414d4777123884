//! The author's answers to findings: `deep-review resolve`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{History, MergedFinding, Report};

/// The author's answer to a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// The defect is fixed.
    Fixed,
    /// It is no defect, or not one to fix.
    Declined,
    /// It is a defect, and stays.
    Wontfix,
    /// The reviewer is wrong.
    Invalid,
    /// It is put off to a later change: it stays open.
    Deferred,
    /// The earlier answer is withdrawn.
    Open,
}

/// An answer with its reason and date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The kind of answer.
    pub resolution: Resolution,
    /// The author's reason.
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
    /// The history of a finding that was raised in round `since` and has this answer.
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
    /// Whether the answer still applies to a finding that was last seen in round `seen` with the state `history`. A
    /// finding that is raised again in spite of its answer, because its code has changed, needs a new answer.
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
