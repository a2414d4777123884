//! The configuration of reviewers: the TOML that docs/deep-review-config.md describes.
//!
//! The configuration is read from the user's own file only, never from the repository: a change under review could
//! otherwise name commands that deep-review then runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AskedBy, Kind};
use crate::worktree::Extent;
use review::parse::Format;

/// The default time limit of a reviewer: the longest real review took half an hour.
const TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// The default number of retries after a rate limit.
const RETRIES: u32 = 4;

/// The default pause before the first retry; each later pause is twice the one before.
const BACKOFF: Duration = Duration::from_secs(15);

/// The default limit of a reviewer's output, with all its events.
const OUTPUT_LIMIT: usize = 64 * 1024 * 1024;

/// The limit of the configuration file's size; a larger file is a mistake.
const FILE_LIMIT: u64 = 1024 * 1024;

/// The default context files, which describe a repository to agents; every reviewer gets the first that exists.
const CONTEXT: &[&str] = &[
    "AGENTS.md",
    "CLAUDE.md",
    "GEMINI.md",
    ".github/copilot-instructions.md",
    "CONTRIBUTING.md",
];

/// Programs of analysers that run code of the repository that they analyse: build scripts, plugins, configuration that
/// is a program.
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
    /// Names of the repository's context files; the first that exists is used.
    #[serde(default = "context")]
    pub context: Vec<String>,
    /// What reviewers should look at most; part of every prompt.
    #[serde(default)]
    pub brief: String,
    /// Variables whose values are redacted, besides those passed on to reviewers.
    #[serde(default)]
    pub secret_variables: Vec<String>,
    /// The name of the reviewer that writes the report's prose; `None`: the prose is composed from the data.
    #[serde(default)]
    pub lead: Option<String>,
    /// The name of the reviewer that decides pairs of findings that are nearly alike; `None`: the likeness decides.
    #[serde(default, alias = "close_calls")]
    pub close_calls: Option<String>,
    /// The reviewers. Empty: the analysers found on the machine.
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
    /// The name, shown in `[…]`.
    pub name: String,
    /// The kind, which selects the adapter.
    pub kind: Kind,
    /// Program and arguments, in place of the kind's own. In an analyser's command, `{files}` is replaced by the
    /// changed files that `only` selects, each as an argument.
    #[serde(default)]
    pub command: Vec<String>,
    /// Arguments appended to the command, before a last `-`.
    #[serde(default)]
    pub args: Vec<String>,
    /// Names of variables that the reviewer gets besides the usual ones (`PATH`, `HOME`, …).
    #[serde(default)]
    pub env: Vec<String>,
    /// The time limit of all attempts together: `90s`, `45m`, `2h`.
    #[serde(default = "timeout", with = "span")]
    pub timeout: Duration,
    /// The number of retries after a rate limit.
    #[serde(default = "retries")]
    pub retries: u32,
    /// The pause before the first retry; each later pause is twice the one before.
    #[serde(default = "backoff", with = "span")]
    pub backoff: Duration,
    /// The format of the review.
    #[serde(default)]
    pub format: Format,
    /// The part of the repository that the reviewer sees.
    #[serde(default)]
    pub worktree: Extent,
    /// Suffixes of file names (`.sh`, `Dockerfile`); the reviewer runs only if the change has such a file. Empty:
    /// always.
    #[serde(default)]
    pub only: Vec<String>,
    /// Whether the reviewer runs code of the change (build scripts, configuration that is a program). `None`: decided
    /// by the name of its program.
    #[serde(default)]
    pub executes: Option<bool>,
    /// The limit of its output, in bytes.
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
    /// Creates a reviewer with the default limits.
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

    /// Returns program and arguments, with `{files}` not yet replaced. Empty when the configuration is wrong, which
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

    /// Returns whether the reviewer is an analyser: it gets the changed files instead of a prompt.
    #[must_use]
    pub fn looks_at_files(&self) -> bool {
        self.kind.adapter().asked_by() == AskedBy::Files
    }

    /// Returns whether the reviewer gives the same output every time, as an analyser does even if its format is not
    /// configured.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.format.is_exact() || (self.looks_at_files() && self.format == Format::Auto)
    }

    /// Returns whether the reviewer runs code of the change.
    #[must_use]
    pub fn executes(&self) -> bool {
        let program = self.command.first().map_or("", String::as_str);
        let name = program.rsplit(['/', '\\']).next().unwrap_or(program);
        let name = name.strip_suffix(".exe").unwrap_or(name);
        self.executes
            .unwrap_or(self.looks_at_files() && EXECUTE.contains(&name))
    }

    /// Returns whether `only` selects a changed file.
    #[must_use]
    pub fn wants(&self, path: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|end| path.ends_with(end.as_str()))
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not a valid configuration.
    #[error("the configuration {path} is wrong: {reason}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The place and the reason.
        reason: String,
    },
}

impl Config {
    /// Reads and parses a file.
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

    /// Parses the text of a file.
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

/// Durations as users write them.
pub mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Parses `500ms`, `90s`, `45m`, `2h`.
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

    /// Serialises a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no span of time; write 90s, 45m or 2h"))
        })
    }

    /// Deserialises a duration.
    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{}ms", span.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimal_configuration_gets_defaults() {
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
    fn documented_example_is_valid() {
        let example = include_str!("../../../../docs/deep-review.example.toml");
        let config = Config::parse(example).unwrap();
        assert_eq!(config.reviewers.len(), 7);
        assert_eq!(config.lead.as_deref(), Some("Claude"));
        assert_eq!(config.close_calls.as_deref(), Some("Codex"));
    }

    #[test]
    fn invalid_configuration_reports_the_reason() {
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
