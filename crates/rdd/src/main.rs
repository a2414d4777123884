//! `rdd`: the command line, and the daemon that it assembles from the other crates.
//!
//! The path of a command: `main` (environment, instance, log) → [`cli`] (what was asked) → [`commands`] (a
//! file a command) → [`service`] (the daemon, seen from outside) or [`daemon`] (the daemon itself).
//!
//! *Invariant*: the libraries below read no environment variables and write nothing to the terminal.

mod cli;
mod commands;
mod completion;
mod context;
mod daemon;
mod docs;
mod duration;
mod environment;
mod exit;
mod hint;
mod instance;
mod instance_flag;
mod log_file;
mod log_level;
mod logging;
mod output;
mod paths;
mod service;
mod tail;
mod version;

use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::Cli;
use crate::context::Context;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::logging::{LogFormat, Logging};

fn main() -> ExitCode {
    process::start_state::reset();
    // Errors are lines of text until the flags have been parsed.
    let mut logging = Logging {
        level: log_level::LogLevel::Warn,
        explicit: false,
        format: LogFormat::Text,
        command: false,
    };
    let exit = run(&mut logging).unwrap_or_else(|error| {
        output::print_error(&logging.fatal(&exit::message(&error)));
        Exit::of(&error)
    });
    ExitCode::from(exit.code())
}

fn run(logging: &mut Logging) -> anyhow::Result<Exit> {
    let (instance_flag, arguments) = instance_flag::take(std::env::args_os().collect());
    let environment = Environment::of_this_process()?;
    let matches = match cli::command(environment.developer_mode).try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    if let Some(value) = matches.get_one::<String>("version")
        && let Some(answer) = version::answer(value)
    {
        output::print(&answer)?;
        return Ok(Exit::Success);
    }
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    logging.format = cli.log_format;
    *logging = Logging::choose(
        cli.log_level,
        environment.log_level.as_deref(),
        environment.developer_mode,
        cli.log_format,
    )?;
    logging.command = matches!(cli.command, Some(cli::Command::Limavm(_)));
    logging.start();
    let context = Context::new(instance_flag.as_deref(), environment, *logging)?;
    match cli.command {
        Some(command) => commands::run(command, &context),
        // For example `rdd --log-level=info` or `rdd --version=false`: flags without a command.
        None => usage(&missing_command(&context)),
    }
}

/// Reports what is wrong with the command line, or prints the help that was asked for.
fn usage(error: &clap::Error) -> anyhow::Result<Exit> {
    if !error.use_stderr() {
        output::print(&error.render().to_string())?;
        return Ok(Exit::Success);
    }
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && flag.starts_with("--instance")
    {
        anyhow::bail!(
            "unknown flag: --instance; it belongs directly after `rdd`: rdd --instance NAME COMMAND"
        );
    }
    output::print_error(&error.render().to_string());
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(command)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(hint) = hint::of(command)
    {
        output::print_error(&format!("\n{hint}\n"));
    }
    Ok(Exit::Usage)
}

fn missing_command(context: &Context) -> clap::Error {
    cli::command(context.environment.developer_mode).error(
        ErrorKind::MissingSubcommand,
        "a command is missing; `rdd --help` lists them",
    )
}
