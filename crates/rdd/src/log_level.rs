//! The names of log levels: one parser for the command line, the daemon, hostagents and external controllers.

use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// Only what ends the program.
    Fatal,
    /// What failed.
    Error,
    /// What may need attention.
    Warn,
    /// What was done.
    Info,
    /// How it was done.
    Debug,
    /// Everything.
    Trace,
}

/// All levels with their names, from the least to the most talkative.
const NAMES: [(LogLevel, &str); 6] = [
    (LogLevel::Fatal, "fatal"),
    (LogLevel::Error, "error"),
    (LogLevel::Warn, "warn"),
    (LogLevel::Info, "info"),
    (LogLevel::Debug, "debug"),
    (LogLevel::Trace, "trace"),
];

/// A name that no level has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown log level {name:?}: use one of fatal, error, warn (or warning), info, debug, trace"
)]
pub(crate) struct UnknownLevel {
    name: String,
}

impl FromStr for LogLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let name = text.trim();
        let name = if name.eq_ignore_ascii_case("warning") {
            "warn"
        } else {
            name
        };
        NAMES
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(level, _)| *level)
            .ok_or_else(|| UnknownLevel {
                name: text.to_owned(),
            })
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            NAMES
                .iter()
                .find(|(level, _)| level == self)
                .map_or("", |(_, name)| name),
        )
    }
}

impl LogLevel {
    /// The events that pass. `tracing` has no fatal events: what ends a program is written by `main`.
    pub(crate) fn filter(self) -> LevelFilter {
        match self {
            Self::Fatal => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_accepted_and_printed() {
        for (level, name) in NAMES {
            assert_eq!(name.parse(), Ok(level));
            assert_eq!(level.to_string(), name);
        }
        assert_eq!("warning".parse(), Ok(LogLevel::Warn));
        assert_eq!(" Info ".parse(), Ok(LogLevel::Info));
    }

    #[test]
    fn an_unknown_level_names_the_valid_ones() {
        let error = "loud".parse::<LogLevel>().unwrap_err().to_string();
        for (_, name) in NAMES {
            assert!(error.contains(name), "{error}");
        }
        assert!(
            error.contains("\"loud\"") && error.contains("warning"),
            "{error}"
        );
    }
}
