//! Adapters: how each kind of reviewer is started, given its input, and parsed.
//!
//! | kind | asked by | speaks | source of the format |
//! |---|---|---|---|
//! | `claude` | standard input | [`claude`]: one JSON event a line | Claude Code's "run programmatically" page |
//! | `codex` | standard input | [`codex`]: one JSON event a line | codex `exec --json` events (`exec_events.rs`) |
//! | `gemini` | standard input | [`gemini`]: one JSON object, or one event a line | Gemini CLI's headless mode reference |
//! | `acp` | JSON-RPC | [`acp`] | agentclientprotocol.com, protocol version 1 |
//! | `command` | standard input | deep-review's JSON or Markdown | docs/deep-review-config.md |
//! | `analyser` | its arguments | SARIF, rdjson(l), checkstyle, cargo's JSON | each format's own document |

pub mod acp;
pub mod claude;
pub mod codex;
pub mod config;
pub mod detect;
pub mod gemini;
pub mod plain;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use review::model::Performance;
use review::plain::one_line;

/// The kinds of reviewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `claude -p --output-format stream-json`.
    Claude,
    /// `codex exec --json`.
    Codex,
    /// `gemini -p --output-format json|stream-json`.
    Gemini,
    /// Any agent that speaks the Agent Client Protocol.
    Acp,
    /// Any command that reads the prompt and prints a review.
    Command,
    /// Any command that looks at files and prints findings.
    Analyser,
}

impl Kind {
    /// Returns the adapter of this kind.
    #[must_use]
    pub fn adapter(self) -> &'static dyn Adapter {
        match self {
            Kind::Claude => &claude::Claude,
            Kind::Codex => &codex::Codex,
            Kind::Gemini => &gemini::Gemini,
            Kind::Acp => &acp::Acp,
            Kind::Command => &plain::Command,
            Kind::Analyser => &plain::Analyser,
        }
    }
}

/// How a reviewer gets its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// The reviewer reads the prompt from its standard input.
    Input,
    /// The reviewer speaks the Agent Client Protocol.
    Protocol,
    /// The reviewer gets the changed files as arguments in place of `{files}`, and no prompt. It can answer no other
    /// question.
    Files,
}

/// The adapter of one kind of reviewer.
pub trait Adapter: Sync {
    /// Returns the command line if the configuration has none; empty: the configuration must have one.
    fn command(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the variables that the reviewer gets besides those of every reviewer.
    fn environment(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns a parser of the reviewer's output.
    fn reader(&self) -> Box<dyn Reader> {
        Box::<plain::Text>::default()
    }

    /// Returns how the reviewer gets its question.
    fn asked_by(&self) -> AskedBy {
        AskedBy::Input
    }
}

/// Parses a reviewer's standard output line by line.
pub trait Reader: Send {
    /// Parses one line, without its line end. Returns what the reviewer is doing, for the progress display.
    fn line(&mut self, line: &str) -> Option<String>;
    /// Returns the whole answer.
    fn said(&mut self) -> Said;
}

/// A reviewer's answer, without its adapter's framing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// The review as text, in the reviewer's format.
    pub text: String,
    /// The error that the tool itself reported.
    pub error: Option<String>,
    /// The tool calls, tokens and cost.
    pub usage: Usage,
}

/// A reviewer's resource use, as its tool reports it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tool calls by name.
    pub tools: BTreeMap<String, u32>,
    /// Tokens read, including cached ones.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// US dollars.
    pub cost_usd: Option<f64>,
}

impl Usage {
    /// The number of different tools counted by name: the names come from the reviewer.
    const NAMES: usize = 100;

    /// Counts a call.
    pub fn called(&mut self, tool: &str) {
        let name: String = one_line(tool, 60);
        if self.tools.len() < Self::NAMES || self.tools.contains_key(&name) {
            *self.tools.entry(name).or_default() += 1;
        }
    }

    /// Adds the resource use of one attempt to that of earlier attempts.
    pub fn add_to(&self, performance: &mut Performance) {
        for (name, count) in &self.tools {
            match performance.tool_calls.iter_mut().find(|(n, _)| n == name) {
                Some((_, sum)) => *sum += count,
                None => performance.tool_calls.push((name.clone(), *count)),
            }
        }
        let sum = |to: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *to = Some(to.unwrap_or(0).saturating_add(more));
            }
        };
        sum(&mut performance.input_tokens, self.input_tokens);
        sum(&mut performance.output_tokens, self.output_tokens);
        if let Some(cost) = self.cost_usd.filter(|cost| cost.is_finite()) {
            performance.cost_usd = Some(performance.cost_usd.unwrap_or(0.0) + cost);
        }
    }
}

/// Returns whether a message reports a rate limit, so that a later retry may succeed.
#[must_use]
pub fn is_rate_limit(message: &str) -> bool {
    let message = message.to_lowercase();
    let words = [
        "rate limit",
        "rate-limit",
        "rate_limit",
        "ratelimit",
        "too many requests",
        "overloaded",
        "resource_exhausted",
        "resource exhausted",
        "quota exceeded",
    ];
    // Errors of agents contain addresses and session ids, so a status must be a number of its own.
    let mut numbers = message.split(|c: char| !c.is_alphanumeric());
    words.iter().any(|sign| message.contains(sign))
        || numbers.any(|number| matches!(number, "429" | "529"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_in_an_address_are_no_rate_limit() {
        assert!(is_rate_limit("API Error: 529 {}"));
        assert!(is_rate_limit("status: 429, message"));
        assert!(is_rate_limit("Request rejected (429)"));
        assert!(!is_rate_limit(
            "401 Unauthorized, url: http://127.0.0.1:42900/v1, request id 01a1429fee"
        ));
    }

    #[test]
    fn usage_of_attempts_is_summed() {
        let mut performance = Performance::default();
        let mut usage = Usage {
            input_tokens: Some(5),
            cost_usd: Some(0.5),
            ..Usage::default()
        };
        usage.called("Read");
        usage.add_to(&mut performance);
        usage.add_to(&mut performance);
        assert_eq!(performance.tool_calls, [("Read".to_owned(), 2)]);
        assert_eq!(performance.input_tokens, Some(10));
        assert_eq!(performance.output_tokens, None);
        assert_eq!(performance.cost_usd, Some(1.0));
    }
}
