//! How each kind of reviewer is started, fed, and understood.
//!
//! | kind | asked by | speaks | source of the format |
//! |---|---|---|---|
//! | `claude` | standard input | [`claude`]: one JSON event a line | Claude Code's "run programmatically" page |
//! | `codex` | standard input | [`codex`]: one JSON event a line | codex `exec --json` events (`exec_events.rs`) |
//! | `gemini` | standard input | [`gemini`]: one JSON object, or one event a line | Gemini CLI's headless mode reference |
//! | `acp` | JSON-RPC | [`acp`] | agentclientprotocol.com, protocol version 1 |
//! | `command` | standard input | our JSON or Markdown | docs/deep-review-config.md |
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
    /// How reviewers of this kind are started, asked and understood.
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

/// How a reviewer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// It reads the prompt from its standard input.
    Input,
    /// It speaks the Agent Client Protocol.
    Protocol,
    /// It gets the changed files as arguments in place of `{files}`, and no prompt. It answers no other question.
    Files,
}

/// How reviewers of a kind are started, asked and understood.
pub trait Adapter: Sync {
    /// The command line if the configuration has none; empty: it must have one.
    fn command(&self) -> &'static [&'static str] {
        &[]
    }

    /// Variables that it gets beyond those of every reviewer.
    fn environment(&self) -> &'static [&'static str] {
        &[]
    }

    /// A reader of what it prints.
    fn reader(&self) -> Box<dyn Reader> {
        Box::<plain::Text>::default()
    }

    /// How it is asked.
    fn asked_by(&self) -> AskedBy {
        AskedBy::Input
    }
}

/// Understands a reviewer's standard output, line by line as it comes.
pub trait Reader: Send {
    /// One line, without its end. Returns what the reviewer is doing, for the progress display.
    fn line(&mut self, line: &str) -> Option<String>;
    /// What it said in all.
    fn said(&mut self) -> Said;
}

/// What a reviewer said, taken out of its adapter's wrapping.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// The review as text, in the reviewer's format.
    pub text: String,
    /// The tool's own word that it failed.
    pub error: Option<String>,
    /// Tool calls, tokens, cost.
    pub usage: Usage,
}

/// What a reviewer used, as its tool counts it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tool calls by name.
    pub tools: BTreeMap<String, u32>,
    /// Tokens read, cached ones included.
    pub input_tokens: Option<u64>,
    /// Tokens written.
    pub output_tokens: Option<u64>,
    /// US dollars.
    pub cost_usd: Option<f64>,
}

impl Usage {
    /// How many different tools are counted by name: what they are called is the reviewer's word.
    const NAMES: usize = 100;

    /// Counts a call.
    pub fn called(&mut self, tool: &str) {
        let name: String = one_line(tool, 60);
        if self.tools.len() < Self::NAMES || self.tools.contains_key(&name) {
            *self.tools.entry(name).or_default() += 1;
        }
    }

    /// Adds what an attempt used to what those before it did.
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

/// Whether a message says that the service wants fewer requests, so that asking again later may help.
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
    // Agents name addresses and sessions in their errors: a status is a number of its own.
    let mut numbers = message.split(|c: char| !c.is_alphanumeric());
    words.iter().any(|sign| message.contains(sign))
        || numbers.any(|number| matches!(number, "429" | "529"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_is_not_seen_in_an_address() {
        assert!(is_rate_limit("API Error: 529 {}"));
        assert!(is_rate_limit("status: 429, message"));
        assert!(is_rate_limit("Request rejected (429)"));
        assert!(!is_rate_limit(
            "401 Unauthorized, url: http://127.0.0.1:42900/v1, request id 01a1429fee"
        ));
    }

    #[test]
    fn attempts_add_up() {
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
