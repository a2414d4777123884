//! The command line: the only part that reads the environment and writes to the terminal.

mod checkout;
mod eval;
mod guard;
mod import;
mod progress;
mod resolve;
mod run;
mod stats;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Success.
pub const SUCCESS: u8 = 0;
/// `--fail-on`: a finding has that severity, or a worse one.
pub const FINDINGS: u8 = 1;
/// The command line or the configuration is wrong (2 is clap's own code).
pub const USAGE: u8 = 2;
/// The verdict may miss a finding: a reviewer failed, was cut off, or was not understood.
pub const INCOMPLETE: u8 = 3;
/// The review failed.
pub const FAILED: u8 = 4;
/// Stopped by Ctrl-C or SIGTERM; the same command resumes the round.
pub const INTERRUPTED: u8 = 130;

/// Merges the findings of several reviewers into one checked report.
#[derive(Debug, Parser)]
#[command(name = "deep-review", version, after_help = EXIT_CODES)]
struct Cli {
    /// Where to keep runs and their reports [default: deep-review in the user's state folder]
    #[arg(long, global = true, env = "DEEP_REVIEW_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    the review is complete
  1    --fail-on: a finding is as bad as that, or worse
  2    the command line or the configuration is wrong
  3    incomplete: the verdict may miss a finding, because a reviewer failed, was cut off or could not be read
  4    the review could not be carried out
  130  stopped; the same command goes on from there";

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask all reviewers about a change
    Run(Box<run::Args>),
    /// Answer a finding of the last review
    Resolve(resolve::Args),
    Import(import::Import),
    Stats(stats::Stats),
    Eval(eval::Eval),
    /// Wait for the end of a run, and clean up after it if it could not
    #[command(hide = true)]
    Guard(guard::Args),
    /// Hold the checkout that reviewers share
    #[command(hide = true)]
    HoldCheckout(checkout::Hold),
    /// Run a command that sees the shared checkout as its work tree
    #[command(hide = true)]
    InCheckout(checkout::Enter),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let state = match state_folder(cli.state) {
        Ok(state) => state,
        Err(error) => return fail(&error, USAGE),
    };
    let result = match cli.command {
        Command::Run(args) => run::main(&args, state),
        Command::Resolve(args) => resolve::main(args, &state),
        Command::Guard(args) => guard::main(&args),
        Command::HoldCheckout(args) => checkout::hold(&args),
        Command::InCheckout(args) => checkout::enter(&args),
        Command::Import(command) => printed(|out| command.run(out)),
        Command::Stats(command) => printed(|out| command.run(out)),
        Command::Eval(command) => printed(|out| command.run(out)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(Failure { error, code }) => fail(&error, code),
    }
}

/// Runs a command that prints. A closed pipe (`| head`) is no error.
fn printed(command: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> Result<u8, Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let result = command(&mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Err(error) if !is_broken_pipe(&error) => Err(error.into()),
        _ => Ok(SUCCESS),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// An error with the exit code it means.
struct Failure {
    error: anyhow::Error,
    code: u8,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure {
            error: error.into(),
            code: FAILED,
        }
    }
}

fn usage(error: impl Into<anyhow::Error>) -> Failure {
    Failure {
        error: error.into(),
        code: USAGE,
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    complain(&format!("deep-review: {}", describe(error)));
    ExitCode::from(code)
}

/// Formats an error with its causes. A cause that the error already contains is not repeated.
fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Writes a line to stderr. A closed stderr is no error.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// `$XDG_STATE_HOME/deep-review`, else `~/.local/state/deep-review`.
fn state_folder(given: Option<PathBuf>) -> Result<PathBuf, anyhow::Error> {
    if let Some(given) = given {
        return Ok(std::path::absolute(given)?);
    }
    let from = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    from("XDG_STATE_HOME")
        .or_else(|| {
            Some(
                from("HOME")
                    .or_else(|| from("USERPROFILE"))?
                    .join(".local/state"),
            )
        })
        .map(|folder| folder.join("deep-review"))
        .ok_or_else(|| anyhow::anyhow!("there is no home folder; name a folder with --state"))
}

/// The time of day, RFC 3339, in seconds.
fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
