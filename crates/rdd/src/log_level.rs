//! The names of log levels: one parser for the command line, the daemon, hostagents and external controllers.

use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

/// The least important messages that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogLevel {
    /// Errors that end the program.
    Fatal,
    /// Errors.
    Error,
    /// Warnings: what may need attention.
    Warn,
    /// What the program does.
    Info,
    /// How the program does it.
    Debug,
    /// Everything.
    Trace,
}

/// All levels with their names, from the fewest messages to the most.
const NAMES: [(LogLevel, &str); 6] = [
    (LogLevel::Fatal, "fatal"),
    (LogLevel::Error, "error"),
    (LogLevel::Warn, "warn"),
    (LogLevel::Info, "info"),
    (LogLevel::Debug, "debug"),
    (LogLevel::Trace, "trace"),
];

/// The error for an unknown level.
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
    /// The events that pass. `tracing` has no fatal events: `main` writes the error that ends the program.
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
    fn every_level_is_parsed_and_printed() {
        for (level, name) in NAMES {
            assert_eq!(name.parse(), Ok(level));
            assert_eq!(level.to_string(), name);
        }
        assert_eq!("warning".parse(), Ok(LogLevel::Warn));
        assert_eq!(" Info ".parse(), Ok(LogLevel::Info));
    }

    #[test]
    fn unknown_level_names_the_valid_ones() {
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
