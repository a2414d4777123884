//! Log lines: `time=… level=info msg="…" key=value` for people, or one JSON object on each line for programs. They go to
//! standard error, except the answers of commands such as `svc status`, which go to standard output.

use std::fmt::{self, Write as _};

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

use crate::log_level::LogLevel;

/// The target of a command's results: shown unless the user chose a level above `info`.
pub(crate) const RESULT: &str = "rdd::result";
/// The target of answers, such as the lines of `svc status`: shown at every level.
pub(crate) const ANSWER: &str = "rdd::answer";

/// The project's crates. Other libraries log details that interest only their authors, so they log one level less.
const OURS: [&str; 13] = [
    "rdd",
    "api",
    "apiserver",
    "controller_kit",
    "driver",
    "guestagent",
    "guestimage",
    "hostagent",
    "lima",
    "lima_controllers",
    "process",
    "rdd_controllers",
    "store",
];

/// The form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// `time=… level=info msg="…"`
    #[default]
    Text,
    /// `{"level":"info","msg":"…","time":"…"}`
    Json,
}

impl LogFormat {
    /// The value of `--log-format`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// How this process logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logging {
    /// The least important level that is logged.
    pub(crate) level: LogLevel,
    /// The level was chosen by a flag or the environment.
    pub(crate) explicit: bool,
    /// The form of the lines.
    pub(crate) format: LogFormat,
    /// This process is a client of the control plane and not a part of it.
    pub(crate) command: bool,
}

impl Logging {
    /// Takes the level from the flag, else from the environment, else from the mode.
    pub(crate) fn choose(
        flag: Option<LogLevel>,
        variable: Option<&str>,
        developer_mode: bool,
        format: LogFormat,
    ) -> anyhow::Result<Self> {
        let named = match (flag, variable) {
            (Some(level), _) => Some(level),
            (None, Some(text)) if !text.trim().is_empty() => Some(
                text.parse()
                    .map_err(|error| anyhow::Error::new(error).context("RDD_LOG_LEVEL"))?,
            ),
            (None, _) => None,
        };
        let level = named.unwrap_or(if developer_mode {
            LogLevel::Debug
        } else {
            LogLevel::Warn
        });
        Ok(Self {
            level,
            explicit: named.is_some(),
            format,
            command: false,
        })
    }

    /// The events that are logged.
    fn targets(self) -> Targets {
        let level = self.level.filter();
        let libraries = match self.level {
            LogLevel::Trace => LevelFilter::DEBUG,
            LogLevel::Fatal => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            _ => LevelFilter::WARN,
        };
        let result = if self.explicit {
            level
        } else {
            level.max(LevelFilter::INFO)
        };
        // A command reports by itself that the control plane has gone. The client library repeats it in its own words,
        // which is useful only at the debug level.
        let client = match self.level {
            LogLevel::Debug | LogLevel::Trace => libraries,
            _ if self.command => LevelFilter::OFF,
            _ => libraries,
        };
        Targets::new()
            .with_default(libraries)
            .with_target("kube_client", client)
            .with_target("kube_runtime", client)
            .with_targets(OURS.map(|target| (target, level)))
            .with_target(RESULT, result)
            .with_target(ANSWER, LevelFilter::INFO)
    }

    /// Starts logging to standard error. Only the first call has an effect.
    pub(crate) fn start(self) {
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Line {
                format: self.format,
            })
            .with_ansi(false)
            // Answers are the command's output: `… 2>/dev/null | grep` must find them.
            .with_writer(
                std::io::stderr
                    .with_filter(|event| event.target() != ANSWER)
                    .or_else(std::io::stdout),
            );
        let subscriber = tracing_subscriber::registry()
            .with(self.targets())
            .with(layer);
        // It fails only if there is a subscriber already, which then logs.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }

    /// The log line for the error that ends the program.
    pub(crate) fn fatal(self, message: &str) -> String {
        let mut line = String::new();
        // Writing to a String cannot fail.
        let _ = write_line(
            &mut line,
            self.format,
            "fatal",
            &Fields {
                message: message.to_owned(),
                others: Vec::new(),
            },
        );
        line
    }
}

/// The formatter of one event.
struct Line {
    format: LogFormat,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            // In full, as logrus writes it.
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        write_line(&mut writer, self.format, level, &fields)
    }
}

/// An event's message and its other fields, in order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.others.push((field.name(), value.to_owned()));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.others.push((field.name(), text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.others.push((field.name(), text));
        }
    }
}

/// Writes one line. Control characters are escaped, so that no message can forge a line.
fn write_line(
    to: &mut dyn fmt::Write,
    format: LogFormat,
    level: &str,
    fields: &Fields,
) -> fmt::Result {
    let time = jiff::Timestamp::now();
    match format {
        LogFormat::Text => {
            write!(
                to,
                "time=\"{time:.3}\" level={level} msg={}",
                Quoted(&fields.message)
            )?;
            for (key, value) in &fields.others {
                if value.is_empty()
                    || value
                        .contains(|c: char| !c.is_ascii_graphic() || matches!(c, '"' | '=' | '\\'))
                {
                    write!(to, " {key}={}", Quoted(value))?;
                } else {
                    write!(to, " {key}={value}")?;
                }
            }
            writeln!(to)
        }
        LogFormat::Json => {
            let mut object = serde_json::Map::new();
            for (key, value) in &fields.others {
                object.insert((*key).to_owned(), value.as_str().into());
            }
            object.insert("level".to_owned(), level.into());
            object.insert("msg".to_owned(), fields.message.as_str().into());
            object.insert("time".to_owned(), format!("{time:.3}").into());
            writeln!(to, "{}", serde_json::Value::Object(object))
        }
    }
}

/// A quoted string with `"`, `\` and control characters escaped; other characters stay readable.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, message: &str) -> String {
        let fields = Fields {
            message: message.to_owned(),
            others: vec![("vm", "a b".into()), ("port", "22".into())],
        };
        let mut text = String::new();
        write_line(&mut text, format, "info", &fields).unwrap();
        text
    }

    #[test]
    fn text_line_is_logfmt() {
        let text = line(LogFormat::Text, "it said \"no\"\nlevel=fatal");
        let (time, rest) = text.split_once(" level=").unwrap();
        assert!(
            time.starts_with("time=\"2") && time.ends_with("Z\""),
            "{time}"
        );
        assert_eq!(
            rest,
            "info msg=\"it said \\\"no\\\"\\nlevel=fatal\" vm=\"a b\" port=22\n"
        );
    }

    #[test]
    fn json_line_is_one_object() {
        let text = line(LogFormat::Json, "two\nlines");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["msg"], "two\nlines");
        assert_eq!(value["level"], "info");
        assert_eq!(value["vm"], "a b");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn flag_overrides_the_variable_and_the_mode() {
        let choose = |flag, variable, developer| {
            Logging::choose(flag, variable, developer, LogFormat::Text).map(|logging| logging.level)
        };
        assert_eq!(choose(None, None, false).unwrap(), LogLevel::Warn);
        assert_eq!(choose(None, None, true).unwrap(), LogLevel::Debug);
        assert_eq!(choose(None, Some("error"), true).unwrap(), LogLevel::Error);
        assert_eq!(
            choose(Some(LogLevel::Trace), Some("nonsense"), true).unwrap(),
            LogLevel::Trace
        );
        let error = format!("{:#}", choose(None, Some("loud"), false).unwrap_err());
        assert!(
            error.contains("RDD_LOG_LEVEL") && error.contains("unknown log level \"loud\""),
            "{error}"
        );
    }

    #[test]
    fn results_are_shown_unless_a_higher_level_was_chosen() {
        let shows = |level, explicit, target| {
            Logging {
                level,
                explicit,
                format: LogFormat::Text,
                command: false,
            }
            .targets()
            .would_enable(target, &Level::INFO)
        };
        assert!(shows(LogLevel::Warn, false, RESULT));
        assert!(!shows(LogLevel::Warn, true, RESULT));
        assert!(shows(LogLevel::Fatal, true, ANSWER));
        assert!(!shows(LogLevel::Warn, false, "rdd::service"));
        assert!(shows(LogLevel::Debug, true, "store::sqlite"));
        assert!(!shows(LogLevel::Debug, true, "hyper::client"));
    }

    #[test]
    fn messages_of_the_client_library_are_hidden_in_commands_below_debug() {
        let shows = |level, command| {
            Logging {
                level,
                explicit: true,
                format: LogFormat::Text,
                command,
            }
            .targets()
            .would_enable("kube_client::client", &Level::ERROR)
        };
        assert!(!shows(LogLevel::Warn, true) && !shows(LogLevel::Info, true));
        assert!(shows(LogLevel::Debug, true), "asked for");
        assert!(shows(LogLevel::Warn, false), "in the daemon");
    }
}
