//! Everything that a report shows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Excerpt, MergedFinding, Note, Performance, ReviewerRun, Target};

/// The figures of one round, for the chart of rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Counts from 1.
    pub number: u32,
    /// RFC 3339.
    #[serde(default)]
    pub date: String,
    /// The pinned commit.
    #[serde(default)]
    pub head: String,
    /// Open findings that are critical.
    pub critical: u32,
    /// Open findings that are important.
    pub important: u32,
    /// Open findings that are suggestions.
    pub suggestions: u32,
    /// Findings of earlier rounds that were fixed.
    pub fixed: u32,
    /// Findings of earlier rounds that were declined.
    pub declined: u32,
}

/// Everything the report shows. This is the JSON report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this format.
    pub version: u32,
    /// RFC 3339.
    pub date: String,
    /// What was reviewed.
    pub target: Target,
    /// Counts from 1.
    pub round: u32,
    /// By the rule in the docs.
    pub verdict: Verdict,
    /// The reviewers, each with its outcome.
    pub reviewers: Vec<ReviewerRun>,
    /// In the order C1, C2… I1… S1…
    pub findings: Vec<MergedFinding>,
    /// Findings of earlier rounds that are fixed or declined now.
    pub closed: Vec<MergedFinding>,
    /// Wall-clock seconds of the whole run.
    pub seconds: f64,
    /// Prose by the lead reviewer, or composed from the facts.
    pub prose: Prose,
    /// Earlier rounds, oldest first; this one is worked out from the findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<Round>,
    /// Code around a finding, by its id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub excerpts: BTreeMap<String, Excerpt>,
    /// What the repository's context file should say from now on. Without names: composed from the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recommendations: Vec<Note>,
    /// Pairs of findings that were close to the threshold of merging, and the reviewer that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_calls: Option<CloseCalls>,
    /// Reviewers that were asked something else than for a review.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
}

/// A question to a reviewer that is not for a review.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The reviewer's name.
    pub name: String,
    /// The purpose: `close calls` or `lead`.
    pub purpose: String,
    /// Why there is no answer to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Time, tool calls and tokens of the question.
    #[serde(default)]
    pub performance: Performance,
}

/// Pairs of findings whose likeness is near the threshold of merging, decided by a reviewer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CloseCalls {
    /// The reviewer that was asked.
    pub by: String,
    /// The pairs in question, closest first.
    pub calls: Vec<CloseCall>,
    /// Why none was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// One pair of findings near the threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CloseCall {
    /// Reviewer and id of the one.
    pub one: (String, String),
    /// Reviewer and id of the other.
    pub other: (String, String),
    /// The likeness, from 0 to 1, that the decision replaces.
    pub score: f64,
    /// Whether they are one defect; `None`: not decided, the likeness counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same: Option<bool>,
}

/// What the report recommends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// One of `merge`, `merge with fixes`, `rework`, `incomplete`.
    pub decision: String,
    /// The rule's reason, from the data.
    pub reason: String,
    /// Why the verdict may miss a finding; empty: every reviewer answered to the end, and all of it was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incomplete: Vec<String>,
}

/// The parts that need judgement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prose {
    /// Markdown.
    pub summary: String,
    /// Design observations over all reviewers, Markdown; empty if no lead reviewer wrote any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub design: String,
    /// The reviewer that wrote it. `None`: generated from the findings, and the report says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Set if a lead reviewer was to write it, and its text was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Why a lead reviewer's prose was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The reviewer that was to write it.
    pub author: String,
    /// Why not, as the end of a sentence that begins with the author: `was still at work after 600 s`.
    pub reason: String,
    /// The sentences that the data does not support.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentences: Vec<RefusedSentence>,
}

/// A sentence of a lead reviewer that the data does not support.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedSentence {
    /// The sentence as written; it is not verified.
    pub text: String,
    /// Why it was refused.
    pub why: String,
}
