//! One reviewer's review, and how its run ended.

use serde::{Deserialize, Serialize};

use super::Finding;

/// A section of prose that is no finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Markdown.
    pub text: String,
    /// The reviewers that said it.
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

/// One reviewer's review, in parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// The reviewer's name: `claude`, `Codex GPT 5.5`, `clippy`.
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
    /// Comments of people on the change that have no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved_feedback: Vec<Note>,
    /// File by file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<Coverage>,
    /// Text that the parser could not interpret. It is shown to the reader, so that nothing is dropped silently.
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

/// Time, tool calls, tokens and cost of one reviewer.
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
    /// Time, tool calls, tokens and cost.
    #[serde(default)]
    pub performance: Performance,
}
