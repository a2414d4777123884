//! Which reviewers there are and how each is asked: the TOML that docs/deep-review-config.md describes.
//!
//! Read from the user's own file only, never from the repository: a change under review could otherwise name commands
//! for us to run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AskedBy, Kind};
use crate::worktree::Extent;
use review::parse::Format;

/// The default time limit of a reviewer: the longest of the real reviews took half an hour.
const TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// How often a reviewer is asked again after a rate limit.
const RETRIES: u32 = 4;

/// The pause before the first of them; each is twice the one before.
const BACKOFF: Duration = Duration::from_secs(15);

/// What a reviewer may print, with all its events.
const OUTPUT_LIMIT: usize = 64 * 1024 * 1024;

/// A configuration file is small; more is a mistake.
const FILE_LIMIT: u64 = 1024 * 1024;

/// The files that tell agents about a repository; the first that is there is given to every reviewer.
const CONTEXT: &[&str] = &[
    "AGENTS.md",
    "CLAUDE.md",
    "GEMINI.md",
    ".github/copilot-instructions.md",
    "CONTRIBUTING.md",
];

/// Programs of analysers that run code of what they look at: build scripts, plugins, configuration that is a program.
const EXECUTE: &[&str] = &[
    "cargo",
    "make",
    "npm",
    "npx",
    "yarn",
    "pnpm",
    "bun",
    "node",
    "eslint",
    "tsc",
    "mvn",
    "gradle",
    "gradlew",
    "dotnet",
    "bazel",
    "go",
    "golangci-lint",
    "staticcheck",
    "pylint",
    "mypy",
    "rubocop",
    "bundle",
    "rake",
    "mix",
    "sbt",
    "swift",
];

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Files to look for as the repository's context, in this order.
    #[serde(default = "context")]
    pub context: Vec<String>,
    /// What this review is to look at most, for every reviewer's prompt.
    #[serde(default)]
    pub brief: String,
    /// Values that are to be blacked out beyond those of the variables passed on.
    #[serde(default)]
    pub secret_variables: Vec<String>,
    /// The reviewer that writes the report's prose, by name; `None`: it is composed from the data.
    #[serde(default)]
    pub lead: Option<String>,
    /// The reviewer that decides pairs of findings that are nearly alike; `None`: the likeness does.
    #[serde(default, alias = "close_calls")]
    pub close_calls: Option<String>,
    /// Who reviews. Empty: the analysers found on the machine.
    #[serde(default, rename = "reviewer")]
    pub reviewers: Vec<Reviewer>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            context: context(),
            brief: String::new(),
            secret_variables: Vec::new(),
            lead: None,
            close_calls: None,
            reviewers: Vec::new(),
        }
    }
}

fn context() -> Vec<String> {
    CONTEXT.iter().map(|name| (*name).to_owned()).collect()
}

/// One reviewer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reviewer {
    /// Shown in `[…]`.
    pub name: String,
    /// How it is asked.
    pub kind: Kind,
    /// Program and arguments, in place of the kind's own. In an analyser's, `{files}` stands for the changed files that
    /// `only` leaves, each an argument of its own.
    #[serde(default)]
    pub command: Vec<String>,
    /// Added behind the command, before a last `-`.
    #[serde(default)]
    pub args: Vec<String>,
    /// Names of variables that it gets beyond the usual ones (`PATH`, `HOME`, …).
    #[serde(default)]
    pub env: Vec<String>,
    /// What it may take in all, retries included: `90s`, `45m`, `2h`.
    #[serde(default = "timeout", with = "span")]
    pub timeout: Duration,
    /// How often it is asked again after a rate limit.
    #[serde(default = "retries")]
    pub retries: u32,
    /// The pause before the first of them; each is twice the one before.
    #[serde(default = "backoff", with = "span")]
    pub backoff: Duration,
    /// What its review is written in.
    #[serde(default)]
    pub format: Format,
    /// How much of the repository it sees.
    #[serde(default)]
    pub worktree: Extent,
    /// Ends of file names (`.sh`, `Dockerfile`); asked only when the change has such a file. Empty: always.
    #[serde(default)]
    pub only: Vec<String>,
    /// Whether asking it runs code of the change (build scripts, configuration that is a program). `None`: as its
    /// program is known to do.
    #[serde(default)]
    pub executes: Option<bool>,
    /// What it may print, in bytes.
    #[serde(default = "output_limit")]
    pub output_limit: usize,
}

fn timeout() -> Duration {
    TIMEOUT
}
fn retries() -> u32 {
    RETRIES
}
fn backoff() -> Duration {
    BACKOFF
}
fn output_limit() -> usize {
    OUTPUT_LIMIT
}

impl Reviewer {
    /// A reviewer with the usual limits.
    #[must_use]
    pub fn new(name: &str, kind: Kind, command: &[&str]) -> Self {
        Reviewer {
            name: name.to_owned(),
            kind,
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            args: Vec::new(),
            env: Vec::new(),
            timeout: TIMEOUT,
            retries: RETRIES,
            backoff: BACKOFF,
            format: Format::Auto,
            worktree: Extent::Full,
            only: Vec::new(),
            executes: None,
            output_limit: OUTPUT_LIMIT,
        }
    }

    /// Program and arguments, `{files}` not yet replaced. Empty when the configuration is wrong, which
    /// [`Config::parse`] refuses.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        let mut argv = if self.command.is_empty() {
            let words = self.kind.adapter().command();
            words.iter().map(|word| (*word).to_owned()).collect()
        } else {
            self.command.clone()
        };
        let last = argv.pop_if(|word| word == "-");
        argv.extend(self.args.iter().cloned());
        argv.extend(last);
        argv
    }

    /// Whether it gets the changed files instead of a prompt: an analyser.
    #[must_use]
    pub fn looks_at_files(&self) -> bool {
        self.kind.adapter().asked_by() == AskedBy::Files
    }

    /// Whether it says the same every time. An analyser's output is a machine's also when its format is not named.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.format.is_exact() || (self.looks_at_files() && self.format == Format::Auto)
    }

    /// Whether asking it runs code of the change.
    #[must_use]
    pub fn executes(&self) -> bool {
        let program = self.command.first().map_or("", String::as_str);
        let name = program.rsplit(['/', '\\']).next().unwrap_or(program);
        let name = name.strip_suffix(".exe").unwrap_or(name);
        self.executes
            .unwrap_or(self.looks_at_files() && EXECUTE.contains(&name))
    }

    /// Whether a changed file is one of those it is asked about.
    #[must_use]
    pub fn wants(&self, path: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|end| path.ends_with(end.as_str()))
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("the configuration {path} is wrong: {reason}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::Read {
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(failed)?.len();
        if size > FILE_LIMIT {
            return Err(failed(std::io::Error::other(format!("{size} bytes"))));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text).map_err(|reason| ConfigError::Wrong {
            path: path.to_owned(),
            reason,
        })
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        for (at, reviewer) in config.reviewers.iter().enumerate() {
            let name = &reviewer.name;
            if name.trim().is_empty() || name.chars().any(char::is_control) {
                return Err(format!(
                    "the name {name:?} of a reviewer is empty or strange"
                ));
            }
            if reviewer.argv().is_empty() {
                return Err(format!("reviewer {name}: its kind needs a command"));
            }
            if config.reviewers[..at].iter().any(|r| r.name == *name) {
                return Err(format!("two reviewers are called {name}"));
            }
        }
        Ok(config)
    }
}

/// Spans of time as people write them.
pub mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// `500ms`, `90s`, `45m`, `2h`.
    pub fn parse(text: &str) -> Option<Duration> {
        let split = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().ok()?;
        match unit.trim() {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
            "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
            _ => None,
        }
    }

    /// For serde.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no span of time; write 90s, 45m or 2h"))
        })
    }

    /// For serde.
    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{}ms", span.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_with_little_in_it() {
        let config = Config::parse(
            "[[reviewer]]\nname = \"Codex\"\nkind = \"codex\"\nargs = [\"--model\", \"x\"]\ntimeout = \"2h\"\n",
        )
        .unwrap();
        let codex = &config.reviewers[0];
        assert_eq!(codex.timeout, Duration::from_secs(7200));
        assert_eq!(
            codex.argv(),
            [
                "codex",
                "exec",
                "--json",
                "--sandbox",
                "read-only",
                "--skip-git-repo-check",
                "-c",
                "project_doc_max_bytes=0",
                "--model",
                "x",
                "-"
            ]
        );
        assert_eq!(config.context[0], "AGENTS.md");
    }

    #[test]
    fn the_documented_example_is_right() {
        let example = include_str!("../../../../docs/deep-review.example.toml");
        let config = Config::parse(example).unwrap();
        assert_eq!(config.reviewers.len(), 7);
        assert_eq!(config.lead.as_deref(), Some("Claude"));
        assert_eq!(config.close_calls.as_deref(), Some("Codex"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, said) in [
            (
                "[[reviewer]]\nname = \"x\"\nkind = \"acp\"\n",
                "needs a command",
            ),
            ("[[reviewer]]\nname = \"\"\nkind = \"codex\"\n", "empty"),
            (
                "[[reviewer]]\nname = \"x\"\nkind = \"codex\"\ntimeout = \"5\"\n",
                "span",
            ),
            ("reviewers = 1\n", "unknown field"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
