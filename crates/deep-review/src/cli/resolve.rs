//! `deep-review resolve`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Failure, SUCCESS, usage};
use crate::git::Git;
use crate::state::Home;
use crate::state::answers;
use crate::target::{self, Spec};
use review::rounds::answers::{Answer, Resolution};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The finding: its id in the last report (I2), or its fingerprint
    id: String,
    /// The answer
    #[arg(long = "as", value_name = "ANSWER")]
    answer: Word,
    /// The reason; required for every answer but fixed and open
    #[arg(long)]
    reason: Option<String>,
    /// The target's name, as in its report [default: the current branch]
    #[arg(long)]
    target: Option<String>,
    /// A folder in the repository
    #[arg(short = 'C', long, default_value = ".", value_name = "DIR")]
    repository: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Word {
    /// It was a defect and is fixed
    Fixed,
    /// It is not a defect, or not worth a change
    Declined,
    /// It is a defect, and will not be fixed
    Wontfix,
    /// The reviewer is wrong
    Invalid,
    /// It is deferred to a later change
    Deferred,
    /// Take an answer back
    Open,
}

pub(super) fn main(args: Args, state: &Path) -> Result<u8, Failure> {
    let resolution = match args.answer {
        Word::Fixed => Resolution::Fixed,
        Word::Declined => Resolution::Declined,
        Word::Wontfix => Resolution::Wontfix,
        Word::Invalid => Resolution::Invalid,
        Word::Deferred => Resolution::Deferred,
        Word::Open => Resolution::Open,
    };
    let reason = args.reason.unwrap_or_default();
    if reason.trim().is_empty() && !matches!(resolution, Resolution::Fixed | Resolution::Open) {
        let why =
            "say why with --reason: later reviewers see the reason, and do not raise it again";
        return Err(usage(anyhow::anyhow!(why)));
    }
    let git = Git::open(&args.repository)?;
    let home = Home::open(state, &git)?;
    let name = match args.target {
        Some(name) => name,
        None => target::name(
            &git,
            &Spec::Revisions {
                base: None,
                head: None,
            },
        )?,
    };
    let known: Vec<String> = home
        .targets()
        .iter()
        .filter_map(|folder| Some(folder.reports().ok()?.pop()?.target.name))
        .collect();
    let answer = Answer {
        resolution,
        reason,
        date: super::now(),
        title: String::new(),
        round: 0,
    };
    let finding = answers::resolve(&home.target(&name)?, &name, &known, &args.id, answer)?;
    writeln!(
        std::io::stdout().lock(),
        "{} of {name} is answered: {}",
        finding.id,
        finding.lead.title
    )?;
    Ok(SUCCESS)
}
