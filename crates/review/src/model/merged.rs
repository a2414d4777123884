//! Findings of several reviewers about one defect, and what became of them.

use serde::{Deserialize, Serialize};

use super::{Finding, Severity};

/// Findings of one or several reviewers about one defect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergedFinding {
    /// `C1`, `I1`, `S1`.
    pub id: String,
    /// Stays the same over rounds and small moves of the code.
    pub fingerprint: String,
    /// Reconciled by the rule in the docs.
    pub severity: Severity,
    /// The best-supported finding of the group: its title, quote, explanation and fix are shown.
    pub lead: Finding,
    /// Each reviewer with its finding about this defect, the lead finding included.
    pub voices: Vec<Voice>,
    /// Why the severity differs from some reviewer's, when it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<String>,
    /// Against earlier rounds.
    #[serde(default)]
    pub history: History,
    /// The author puts it off to a later change, with this reason: it stays open, and does not count for the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<String>,
    /// It was declined with this reason, but its code has changed since, so it needs a new answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened: Option<String>,
}

impl MergedFinding {
    /// The names of the reviewers that raised it, each once, in the order of their voices.
    pub fn reviewers(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for voice in &self.voices {
            if !names.contains(&voice.reviewer.as_str()) {
                names.push(&voice.reviewer);
            }
        }
        names
    }
}

/// One reviewer's finding inside a merged one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Voice {
    /// The reviewer's name.
    pub reviewer: String,
    /// The reviewer's own finding.
    pub finding: Finding,
    /// The reviewer is an analyser.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub analyser: bool,
}

/// What earlier rounds say of a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum History {
    /// Never seen before.
    #[default]
    New,
    /// Raised in that round, still there.
    Open {
        /// The first round that raised it.
        since: u32,
    },
    /// Raised and gone.
    Fixed {
        /// The first round that raised it.
        since: u32,
    },
    /// Raised and declined.
    Declined {
        /// The first round that raised it.
        since: u32,
        /// What the author said.
        reason: String,
    },
}
