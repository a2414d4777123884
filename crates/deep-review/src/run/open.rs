//! Everything before the first reviewer starts: lock, sweep, resume or pin, and the choice of reviewers.

use process::tree::Mark;

use super::{Request, RunError, prompt, sweep};
use crate::adapters::config::Reviewer;
use crate::git::Git;
use crate::pristine::{self, Starting};
use crate::settings::Settings;
use crate::state::{Home, PLAN_VERSION, Plan, RoundFolder, StoreError, TargetFolder, answers};
use crate::target::{self, Pinned, Spec};
use review::model::Report;
use review::rounds::{self, Earlier};

/// The state that a round starts from.
pub(super) struct Opened {
    pub(super) git: Git,
    pub(super) home: Home,
    pub(super) folder: TargetFolder,
    pub(super) round: RoundFolder,
    pub(super) plan: Plan,
    pub(super) pinned: Pinned,
    pub(super) reviewers: Vec<Reviewer>,
    pub(super) prompt: String,
    pub(super) checkout: Option<Starting>,
    pub(super) settings: Settings,
    /// Whether analysers that run code of the change take part.
    pub(super) trusted: bool,
    _lock: process::FileLock,
}

/// Does everything that comes before the first reviewer starts.
pub(super) fn open(request: &Request) -> Result<Opened, RunError> {
    let git = Git::open(&request.folder)?;
    let home = Home::open(&request.state, &git)?;
    let name = target::name(&git, &request.spec)?;
    let folder = home.target(&name)?;
    let lock = folder.lock()?;
    sweep::target(&git, &folder);
    sweep::others(&git, &home, &folder);
    let rounds = folder.rounds();
    let unfinished = match rounds.last() {
        Some((_, round)) if round.report()?.is_none() => round.plan()?.map(|plan| (plan, round)),
        _ => None,
    };
    let resumed = unfinished.filter(|(plan, _)| {
        !request.fresh
            && plan.version == PLAN_VERSION
            && plan.spec == request.spec
            && request.round.is_none_or(|round| round == plan.round)
    });
    if let Some((plan, round)) = resumed {
        let pinned = target::at_pin(&git, &plan.target)?;
        request.progress.say(&format!(
            "going on with round {} of {}, pinned at {}",
            plan.round,
            plan.target.name,
            target::abbreviated(&plan.target.head)
        ));
        // Processes of the killed run carry its mark, so this run takes another.
        let plan = Plan {
            mark: Mark::new(),
            ..plan
        };
        let prompt = round.prompt()?;
        round.begin(&plan, &prompt)?;
        let (settings, trusted) = trust(request, &git, &pinned)?;
        let reviewers = reviewers(request, &git, &pinned, trusted)?;
        let checkout = checkout(request, &git, round, &plan, &reviewers);
        return Ok(Opened {
            round: round.clone(),
            checkout,
            git,
            home,
            folder,
            plan,
            pinned,
            reviewers,
            prompt,
            settings,
            trusted,
            _lock: lock,
        });
    }
    let pinned = target::pin(&git, &request.spec)?;
    let (settings, trusted) = trust(request, &git, &pinned)?;
    let reviewers = reviewers(request, &git, &pinned, trusted)?;
    let given = request.earlier.iter().map(|report| report.round).max();
    let mut finished = given.unwrap_or(0);
    for (number, round) in &rounds {
        if round.report()?.is_some() {
            finished = finished.max(*number);
        }
    }
    let number = request.round.unwrap_or(finished + 1);
    let round = folder.round(number);
    if round.report()?.is_some() {
        return Err(RunError::Done {
            round: number,
            target: name,
            file: round.report_file(),
        });
    }
    // Answers to another pin or another question are not valid for this round.
    let _ = std::fs::remove_dir_all(round.path());
    let plan = Plan {
        version: PLAN_VERSION,
        spec: request.spec.clone(),
        target: pinned.target.clone(),
        round: number,
        mark: Mark::new(),
    };
    let earlier = earlier(&folder, number, &request.earlier)?;
    let prompt = prompt::build(&git, &pinned, request, &earlier)?;
    round.begin(&plan, &prompt)?;
    let checkout = checkout(request, &git, &round, &plan, &reviewers);
    process::crash::point("review.planned");
    request.progress.say(&format!(
        "round {number} of {}: {} at {}, {} files changed since {}",
        name,
        match plan.target.commits.len() {
            1 => "1 commit".to_owned(),
            count => format!("{count} commits"),
        },
        target::abbreviated(&plan.target.head),
        plan.target.files.len(),
        target::abbreviated(&plan.target.base),
    ));
    Ok(Opened {
        git,
        home,
        folder,
        round,
        plan,
        pinned,
        reviewers,
        prompt,
        checkout,
        settings,
        trusted,
        _lock: lock,
    })
}

/// What the pin needs before the round begins.
pub(super) fn earlier(
    folder: &TargetFolder,
    round: u32,
    given: &[Report],
) -> Result<Earlier, StoreError> {
    let answers = answers::read(&folder.answers())?;
    Ok(rounds::earlier(round, folder.reports()?, given, &answers))
}

/// Starts the checkout that reviewers share, so that it proceeds while the reviewers are started.
fn checkout(
    request: &Request,
    git: &Git,
    round: &RoundFolder,
    plan: &Plan,
    reviewers: &[Reviewer],
) -> Option<Starting> {
    let asked = |reviewer: &&Reviewer| {
        let answered = round.recorded(&reviewer.name).ok().flatten();
        !answered.is_some_and(|run| run.outcome.is_complete())
    };
    let sharers = pristine::sharers(reviewers.iter().filter(asked).map(|r| &r.worktree));
    let mark = plan.mark.below(request.above.as_deref());
    let program = request.program.as_deref()?;
    pristine::begin(git, round, &plan.target.head, program, &mark, sharers)
}

/// Returns the configuration of analysers that the change edits, and whether code of the change may be run: if the user
/// allows it, or made all its commits here.
fn trust(request: &Request, git: &Git, pinned: &Pinned) -> Result<(Settings, bool), RunError> {
    let target = &pinned.target;
    let settings = Settings::read(git, &target.base, &target.head, &pinned.diff)?;
    let revisions = matches!(request.spec, Spec::Revisions { .. });
    let trusted = request.trusted || revisions && git.is_own_work(&target.base, &target.head)?;
    Ok((settings, trusted))
}

fn reviewers(
    request: &Request,
    git: &Git,
    pinned: &Pinned,
    trusted: bool,
) -> Result<Vec<Reviewer>, RunError> {
    let files: Vec<&str> = pinned
        .diff
        .files
        .iter()
        .filter(|file| file.is_file())
        .map(|file| file.path.as_str())
        .collect();
    if let Some(reviewers) = &request.reviewers {
        return Ok(reviewers
            .iter()
            .filter(|reviewer| {
                let asked = reviewer.only.is_empty() || files.iter().any(|f| reviewer.wants(f));
                if !asked {
                    let what = format!("{} is not asked: no changed file is for it", reviewer.name);
                    request.progress.say(&what);
                }
                asked
            })
            .cloned()
            .collect());
    }
    // Analysers see their configuration as at the merge base.
    let is_there = |path: &str| {
        let revision = match review::settings::configures(path) {
            true => &pinned.target.base,
            false => &pinned.target.head,
        };
        git.bytes([
            "cat-file",
            "-e",
            "--end-of-options",
            &format!("{revision}:{path}"),
        ])
        .is_ok()
    };
    let found = crate::adapters::detect::analysers(&files, &request.path, is_there, trusted);
    if found.is_empty() {
        return Err(RunError::NoReviewer {
            files: pinned
                .target
                .files
                .iter()
                .take(5)
                .cloned()
                .collect::<Vec<_>>()
                .join(", "),
            known: "clippy, shellcheck, ruff, hadolint, semgrep",
        });
    }
    Ok(found)
}
