//! `deep-review run`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use super::progress::Shown;
use super::{FAILED, FINDINGS, Failure, INCOMPLETE, INTERRUPTED, SUCCESS, USAGE, guard, usage};
use crate::adapters::config::{Config, Reviewer};
use crate::input;
use crate::run::redact::Redactor;
use crate::run::{self, Request, RunError};
use crate::target::Spec;
use crate::verify;
use review::import;
use review::model::{Report, Severity};
use review::plain::one_line;
use review::report;

/// The interval at which the progress display updates by itself.
const TICK: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The branch that the change will land on [default: the remote's default branch, else main or master]
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// What to review [default: the current checkout]
    #[arg(long, value_name = "REV", conflicts_with_all = ["pr", "patch"])]
    head: Option<String>,
    /// Review a pull request: fetches refs/pull/N/head from the remote
    #[arg(long, value_name = "N", conflicts_with = "patch")]
    pr: Option<u64>,
    /// Review a patch file, applied to the base [default base: the current checkout]
    #[arg(long, value_name = "FILE")]
    patch: Option<PathBuf>,
    /// The remote of --pr
    #[arg(long, default_value = "origin", value_name = "NAME")]
    remote: String,
    /// Ask only this reviewer of the configuration, or this analyser; can be repeated
    #[arg(long = "reviewer", value_name = "NAME")]
    reviewers: Vec<String>,
    /// The configuration [default: deep-review/config.toml in the user's configuration folder, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which round this is: a number, or auto
    #[arg(long, default_value = "auto", value_parser = round)]
    round: Round,
    /// Earlier reports of the same target that are not in the state folder: JSON from deep-review or Markdown, or
    /// folders of them
    #[arg(long, value_name = "FILE|DIR")]
    earlier: Vec<PathBuf>,
    /// Discard an interrupted round instead of resuming it
    #[arg(long)]
    fresh: bool,
    /// Formats of the report, comma separated
    #[arg(long, value_delimiter = ',', default_value = "markdown")]
    format: Vec<OutputFormat>,
    /// The output: a file for one format, a folder for several [default: standard output]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Exit with 1 if a finding has this severity, or a worse one
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<Threshold>,
    /// A command that must pass with a proposed fix applied; split at blanks, no shell
    #[arg(long, value_name = "COMMAND")]
    check_fix: Option<String>,
    /// Run the commands with which reviewers show their findings. They are as trustworthy as the reviewers and the
    /// change
    #[arg(long)]
    allow_repro: bool,
    /// Also use analysers that run code of the change, such as clippy (build scripts), if it has commits that were not
    /// made in this repository
    #[arg(long)]
    trust_change: bool,
    /// The reviewer that writes the report's prose from the merged data, against which its text is checked
    #[arg(long, value_name = "NAME")]
    lead: Option<String>,
    /// The reviewer that decides whether findings that are nearly alike are one defect
    #[arg(long, value_name = "NAME")]
    close_calls: Option<String>,
    /// What reviewers should look at most
    #[arg(long, value_name = "TEXT")]
    brief: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// A folder in the repository
    #[arg(short = 'C', long, default_value = ".", value_name = "DIR")]
    repository: PathBuf,
}

#[derive(Clone, Copy, Debug)]
enum Round {
    Auto,
    Number(u32),
}

fn round(text: &str) -> Result<Round, String> {
    match (text, text.parse::<u32>()) {
        ("auto", _) => Ok(Round::Auto),
        (_, Ok(number)) if number > 0 => Ok(Round::Number(number)),
        _ => Err("a number from 1 on, or auto".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    Markdown,
    Html,
    Json,
    Sarif,
    /// A pending review, for `gh api`
    Github,
    /// A code quality report
    Gitlab,
}

impl OutputFormat {
    pub(super) fn file(self) -> &'static str {
        match self {
            OutputFormat::Markdown => "review.md",
            OutputFormat::Html => "review.html",
            OutputFormat::Json => "review.json",
            OutputFormat::Sarif => "review.sarif",
            OutputFormat::Github => "github-review.json",
            OutputFormat::Gitlab => "gl-code-quality-report.json",
        }
    }

    pub(super) fn render(self, from: &Report) -> Result<String, serde_json::Error> {
        let value = match self {
            OutputFormat::Markdown => return Ok(report::markdown(from)),
            OutputFormat::Html => return Ok(report::html(from)),
            OutputFormat::Json => report::json(from),
            OutputFormat::Sarif => report::sarif(from),
            OutputFormat::Github => report::github(from),
            OutputFormat::Gitlab => report::gitlab(from),
        };
        let mut text = serde_json::to_string_pretty(&value)?;
        text.push('\n');
        Ok(text)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Threshold {
    Critical,
    Important,
    Suggestion,
}

pub(super) fn main(args: &Args, state: PathBuf) -> Result<u8, Failure> {
    if args.format.len() > 1 && args.output.is_none() {
        return Err(usage(anyhow::anyhow!(
            "several formats need a folder to be written to: --output DIR"
        )));
    }
    let progress = Arc::new(Shown::new(args.quiet));
    let request = request(args, state, progress.clone())?;
    let repository = request.folder.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut guard = None;
    let result = runtime.block_on(async {
        let mut stops = process::stop::StopRequests::listen()?;
        let stop = async move {
            stops.next().await;
        };
        let ticking = {
            let progress = progress.clone();
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(TICK);
                loop {
                    ticks.tick().await;
                    progress.tick();
                }
            })
        };
        let result = run::run(request, stop, |folder| {
            guard = Some(guard::start(&repository, folder.path()));
        })
        .await;
        ticking.abort();
        progress.end();
        Ok::<_, std::io::Error>(result)
    })?;
    // Exit even if a step hangs in a system call; the guard removes what it leaves.
    runtime.shutdown_timeout(Duration::from_secs(2));
    drop(guard);
    let finished = result.map_err(|error| Failure {
        code: match &error {
            RunError::Interrupted => INTERRUPTED,
            RunError::NoReviewer { .. } | RunError::Done { .. } => USAGE,
            _ => FAILED,
        },
        error: error.into(),
    })?;
    write(args, &finished.report)?;
    let report = &finished.report;
    if !args.quiet {
        for gap in &report.verdict.incomplete {
            super::complain(&format!("incomplete: {}", one_line(gap, 800)));
        }
        super::complain(&format!(
            "{}: {}; kept in {}",
            report.verdict.decision,
            one_line(&report.verdict.reason, 800),
            finished.file.display()
        ));
    }
    if !report.verdict.incomplete.is_empty() {
        return Ok(INCOMPLETE);
    }
    let fails = args.fail_on.and_then(|on| {
        let severity = match on {
            Threshold::Critical => Severity::Critical,
            Threshold::Important => Severity::Important,
            Threshold::Suggestion => Severity::Suggestion,
        };
        report::fails(report, severity)
    });
    Ok(match fails {
        Some(reason) => {
            super::complain(&format!("deep-review: --fail-on: {reason}"));
            FINDINGS
        }
        None => SUCCESS,
    })
}

fn request(args: &Args, state: PathBuf, progress: Arc<Shown>) -> Result<Request, Failure> {
    let config = configuration(args)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let spec = spec(args)?;
    let judge = |named: &Option<String>, configured: &Option<String>| {
        let name = named.as_ref().or(configured.as_ref());
        name.map(|name| judge(name, &config.reviewers)).transpose()
    };
    let lead = judge(&args.lead, &config.lead)?;
    let close_calls = judge(&args.close_calls, &config.close_calls)?;
    let mut reviewers = (!config.reviewers.is_empty()).then_some(config.reviewers);
    if !args.reviewers.is_empty() {
        reviewers = Some(chosen(&args.reviewers, &reviewers.unwrap_or_default())?);
    }
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    });
    Ok(Request {
        folder: std::path::absolute(&args.repository)?,
        state,
        spec,
        reviewers,
        path,
        trusted: args.trust_change,
        context: config.context,
        brief: args.brief.clone().unwrap_or(config.brief),
        round: match args.round {
            Round::Auto => None,
            Round::Number(number) => Some(number),
        },
        fresh: args.fresh,
        earlier: import::earlier(&input::all(&args.earlier).map_err(usage)?).map_err(usage)?,
        lead,
        close_calls,
        checks: verify::Options {
            check_fix: args
                .check_fix
                .as_deref()
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            allow_repro: args.allow_repro,
        },
        redactor: Redactor::new(variables, &config.secret_variables),
        above: std::env::var(process::tree::VARIABLE).ok(),
        date: super::now(),
        progress,
        program: std::env::current_exe().ok(),
    })
}

fn configuration(args: &Args) -> Result<Config, Failure> {
    if let Some(file) = &args.config {
        return Config::read(file).map_err(usage);
    }
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let file = from("XDG_CONFIG_HOME")
        .or_else(|| Some(from("HOME")?.join(".config")))
        .map(|folder| folder.join("deep-review/config.toml"))
        .filter(|file| file.exists());
    match file {
        Some(file) => Config::read(&file).map_err(usage),
        None => Ok(Config::default()),
    }
}

fn spec(args: &Args) -> Result<Spec, Failure> {
    let base = args.base.clone();
    if let Some(number) = args.pr {
        let remote = args.remote.clone();
        return Ok(Spec::Pull {
            number,
            remote,
            base,
        });
    }
    if let Some(file) = &args.patch {
        let file = std::path::absolute(file)?;
        return Ok(Spec::Patch { file, base });
    }
    let head = args.head.clone();
    Ok(Spec::Revisions { base, head })
}

/// Returns the reviewers named on the command line: from the configuration, else a known analyser or agent.
fn chosen(names: &[String], configured: &[Reviewer]) -> Result<Vec<Reviewer>, Failure> {
    let known = crate::adapters::detect::known();
    let mut result: Vec<Reviewer> = Vec::new();
    for name in names {
        let found = configured
            .iter()
            .chain(&known)
            .find(|reviewer| reviewer.name.eq_ignore_ascii_case(name));
        match found {
            Some(reviewer) if result.iter().any(|r| r.name == reviewer.name) => {}
            Some(reviewer) => result.push(reviewer.clone()),
            None => {
                let all: Vec<&str> = configured
                    .iter()
                    .chain(&known)
                    .map(|r| r.name.as_str())
                    .collect();
                return Err(usage(anyhow::anyhow!(
                    "no reviewer is called {name}; there are {}",
                    all.join(", ")
                )));
            }
        }
    }
    Ok(result)
}

/// Returns a reviewer that can answer questions other than a review.
fn judge(name: &str, configured: &[Reviewer]) -> Result<Reviewer, Failure> {
    let name = name.to_owned();
    let found = chosen(std::slice::from_ref(&name), configured)?;
    found
        .into_iter()
        .find(|reviewer| !reviewer.looks_at_files())
        .ok_or_else(|| {
            usage(anyhow::anyhow!(
                "{name} is an analyser and cannot answer questions; name an agent as lead and for close calls"
            ))
        })
}

fn write(args: &Args, from: &Report) -> Result<(), Failure> {
    match (&args.output, args.format.as_slice()) {
        (None, formats) => {
            for format in formats {
                std::io::stdout()
                    .lock()
                    .write_all(format.render(from)?.as_bytes())?;
            }
        }
        (Some(path), [format]) if !path.is_dir() => write_file(path, &format.render(from)?)?,
        (Some(folder), formats) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
            for format in formats {
                write_file(&folder.join(format.file()), &format.render(from)?)?;
            }
        }
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    /// Files that the user asks for get the permissions that the umask allows.
    const MODE: u32 = 0o644;
    process::file::write_atomic(path, text.as_bytes(), MODE)?;
    Ok(())
}
