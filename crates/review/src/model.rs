//! The data that flows through a review: what reviewers said, what was checked, what the report shows.
//!
//! ```text
//! parse → Review (one reviewer's) → verify → Review with checks → merge → Merged → rounds → report
//! ```
//!
//! *Architecture invariant*: plain data with serde; nothing here reads a file, runs a program or knows a format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How bad a finding is. The order is the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Must be fixed before the change lands.
    Critical,
    /// Should be fixed before the change lands.
    Important,
    /// Would make the change better.
    Suggestion,
}

/// Where a finding comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The change made it.
    Regression,
    /// It was there before.
    Gap,
    /// Nothing is wrong; it could be better.
    Enhancement,
}

/// Whether the finding belongs to this change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// To be answered in this change.
    InScope,
    /// For a later one.
    Future,
}

/// A place in the code. Lines count from 1, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Path from the top of the repository, with `/`.
    pub path: String,
    /// First line; `None`: the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u32>,
    /// Last line; `None`: the first line alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u32>,
}

/// A command that shows the defect, and what it printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The command line as the reviewer gave it. Never run without the user's leave.
    pub command: String,
    /// What the reviewer says it printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// One thing that one reviewer found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The name the reviewer gave it (`I2`), else its place in the review (`#3`).
    pub id: String,
    /// As the reviewer judged it.
    pub severity: Severity,
    /// When the reviewer said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// When the reviewer said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// One line, without Markdown's emphasis.
    pub title: String,
    /// Every place named in the heading; the first is where it is.
    #[serde(default)]
    pub locations: Vec<Location>,
    /// The code as the reviewer quoted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// Why it is a defect; Markdown.
    #[serde(default)]
    pub explanation: String,
    /// A unified diff (with or without file headers), or prose when no diff was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Commands that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Names in `[…]` behind the heading of a consolidated finding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// What was checked against the code, with the result; empty before verification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

impl Finding {
    /// A finding with nothing but a name, a severity and a title.
    pub fn new(id: impl Into<String>, severity: Severity, title: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            severity,
            class: None,
            scope: None,
            title: title.into(),
            locations: Vec::new(),
            quote: None,
            explanation: String::new(),
            fix: None,
            evidence: Vec::new(),
            reviewers: Vec::new(),
            checks: Vec::new(),
        }
    }
}

/// One thing that was checked about a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked.
    pub kind: CheckKind,
    /// How it came out.
    pub result: CheckResult,
    /// What was seen, for the reader: `the quote stands at lines 40-44, not 38-42`.
    pub detail: String,
}

impl Check {
    /// A check with its result.
    pub fn new(kind: CheckKind, result: CheckResult, detail: String) -> Self {
        Self {
            kind,
            result,
            detail,
        }
    }
}

/// What can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// The file exists at the head.
    File,
    /// The lines exist in the file.
    Lines,
    /// The quoted code stands in the file.
    Quote,
    /// The place is in the diff; blame says whether the change made it.
    Diff,
    /// The fix applies to the head.
    FixApplies,
    /// The given command passes with the fix applied.
    FixPasses,
    /// The repro command shows what it claims.
    Repro,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// It holds.
    Confirmed,
    /// It holds after a correction that `detail` names.
    Corrected,
    /// It does not hold.
    Refuted,
    /// It could not be checked, or was not allowed.
    Unchecked,
}

/// A section of prose that is no finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Markdown.
    pub text: String,
    /// Who said it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
}

/// What a reviewer says of one changed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Path from the top of the repository.
    pub path: String,
    /// As the reviewer wrote it: `Reviewed, no issues`, `Skimmed`, `I1, S2`…
    pub status: String,
}

/// What one reviewer said, in parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// Who: `claude`, `Codex GPT 5.5`, `clippy`.
    pub reviewer: String,
    /// The executive summary, Markdown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// In the order of the text.
    pub findings: Vec<Finding>,
    /// What is good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strengths: Vec<Note>,
    /// Design concerns that are no findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub concerns: Vec<Note>,
    /// Ranked, the riskiest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testing_gaps: Vec<Note>,
    /// About the documentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documentation: Vec<Note>,
    /// About the commits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commit_structure: Vec<Note>,
    /// What the code's own comments admit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acknowledged_limitations: Vec<Note>,
    /// What people said on the change and nobody answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved_feedback: Vec<Note>,
    /// File by file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<Coverage>,
    /// What the parser could not make sense of, for the reader; nothing is dropped silently.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unparsed: Vec<String>,
    /// The reviewer says in so many words, or in its format's way, that there is no finding.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub says_none: bool,
    /// An analyser printed it: its levels are those of its rules, whatever the defect does here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub analyser: bool,
    /// Findings that were left out, because they are in files that the change does not touch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// How one reviewer fared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Performance {
    /// Wall-clock seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Tool calls by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<(String, u32)>,
    /// Tokens read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// US dollars, as the reviewer's own tool says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// How the run of one reviewer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Outcome {
    /// A usable review. `warning`: what else was wrong (a bad exit code).
    Finished {
        /// For the reader.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// An answer that did not reach its end: its findings count, and there may be others.
    Partial {
        /// What cut it off.
        reason: String,
    },
    /// No usable review.
    Failed {
        /// What was tried and why it failed.
        reason: String,
    },
    /// Not installed or not configured; not asked.
    Missing {
        /// What was looked for.
        reason: String,
    },
}

impl Outcome {
    /// Whether there is an answer, though perhaps not all of it.
    pub fn is_answer(&self) -> bool {
        matches!(self, Outcome::Finished { .. } | Outcome::Partial { .. })
    }

    /// Whether the answer reached its end.
    pub fn is_complete(&self) -> bool {
        matches!(self, Outcome::Finished { .. })
    }

    /// The outcome in a few words.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Finished { warning: None } => "finished",
            Outcome::Finished { warning: Some(_) } => "finished, with a warning",
            Outcome::Partial { .. } => "cut off",
            Outcome::Failed { .. } => "failed",
            Outcome::Missing { .. } => "missing",
        }
    }

    /// What went wrong.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Outcome::Finished { warning } => warning.as_deref(),
            Outcome::Partial { reason }
            | Outcome::Failed { reason }
            | Outcome::Missing { reason } => Some(reason),
        }
    }
}

/// One reviewer's part in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReviewerRun {
    /// Name shown in `[…]`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What it said, verified.
    pub review: Review,
    /// The original text, for the appendix.
    pub original: String,
    /// What it took.
    #[serde(default)]
    pub performance: Performance,
}

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
    /// Everything that was said of it, the lead's own included: reviewer and finding.
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
    /// It was declined with this reason, and its code has changed since: it is asked again.
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
    /// Who.
    pub reviewer: String,
    /// What they said.
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

/// What was reviewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Names the target over rounds: `pr-350`, a branch, the patch's name.
    pub name: String,
    /// Remote repository, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The pinned commit.
    pub head: String,
    /// Merge base with the branch it is to land on.
    pub base: String,
    /// `sha subject`, oldest first.
    pub commits: Vec<String>,
    /// Changed files, sorted.
    pub files: Vec<String>,
    /// What the change is called: the pull request's title, the first commit's subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Who wrote the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Where people read the change: `https://…`. Other schemes are shown as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The changed files with their hunks, when the diff is known; which lines a comment may stand on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FileChange>,
}

/// What the change does to one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Path at the head (at the base when it was deleted), with `/`.
    pub path: String,
    /// Path at the base, when it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
    /// What happened.
    #[serde(default)]
    pub kind: ChangeKind,
    /// Lines added.
    pub added: u32,
    /// Lines removed.
    pub removed: u32,
    /// Lines of the head that the hunks show, first and last, context included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hunks: Vec<(u32, u32)>,
}

/// What can happen to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// New at the head.
    Added,
    /// There before and after.
    #[default]
    Modified,
    /// Gone at the head.
    Deleted,
    /// There before under `old_path`.
    Renamed,
}

/// Lines of a file at the head, to show a finding in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// Path from the top of the repository.
    pub path: String,
    /// The number of the first line, from 1.
    pub first: u32,
    /// The lines, without their ends.
    pub lines: Vec<String>,
    /// First and last line that the finding is about.
    pub focus: (u32, u32),
}

impl Excerpt {
    /// Cuts the lines `focus` (first and last, from 1) out of a file's text, with `margin` lines around them, and at
    /// most `longest` in all. `None` when the file has no such line.
    pub fn cut(
        path: &str,
        text: &str,
        focus: (u32, u32),
        margin: u32,
        longest: u32,
    ) -> Option<Self> {
        let first = focus.0.checked_sub(margin + 1).map_or(1, |n| n + 1);
        let last = focus
            .1
            .max(focus.0)
            .saturating_add(margin)
            .min(first.saturating_add(longest.max(1) - 1));
        let lines: Vec<String> = text
            .lines()
            .skip(first as usize - 1)
            .take((last - first) as usize + 1)
            .map(str::to_owned)
            .collect();
        let there = first as usize + lines.len() > focus.0 as usize && focus.0 > 0;
        there.then(|| Self {
            path: path.to_owned(),
            first,
            lines,
            focus: (focus.0, focus.1.max(focus.0)),
        })
    }
}

/// What one round came to, for the chart of rounds.
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
    /// Who reviewed, and how it went.
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
    /// Pairs of findings that were nearly, or hardly, alike enough to be one, and who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_calls: Option<CloseCalls>,
    /// Reviewers that were asked something else than for a review.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
}

/// A question to a reviewer that is not for a review.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Who.
    pub name: String,
    /// For what: `close calls`, `lead`.
    pub purpose: String,
    /// Why there is no answer to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What it took.
    #[serde(default)]
    pub performance: Performance,
}

/// Pairs of findings whose likeness is near the threshold of merging, decided by a reviewer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CloseCalls {
    /// Who was asked.
    pub by: String,
    /// What was asked, the closest first.
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
    /// Design observations over all reviewers, Markdown; empty when nobody wrote any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub design: String,
    /// Who wrote it; `None`: composed from the facts, and the report says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A lead reviewer was to write it, and what it wrote does not stand here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Why a lead reviewer's prose does not stand in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Who was to write it.
    pub author: String,
    /// Why not, as the end of a sentence that begins with the author: `was still at work after 600 s`.
    pub reason: String,
    /// The sentences that the data does not bear out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentences: Vec<RefusedSentence>,
}

/// A sentence of a lead reviewer that the data does not bear out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedSentence {
    /// As it was written; not to be believed.
    pub text: String,
    /// Why it was refused.
    pub why: String,
}
