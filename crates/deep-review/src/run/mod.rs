//! One round: pin the target, ask all reviewers at once, check what they say, merge it, hold it against earlier rounds.
//!
//! ```text
//! lock → sweep → resume or pin → plan.json → reviewers (each: work tree, attempts, NAME.json)
//!      → verify → close calls → merge → rounds → lead → report.json → clean up
//! ```
//!
//! *Architecture invariant*: everything that must survive `kill -9` is a whole file of the state folder
//! ([`crate::state`]) before the next step begins; everything that must not survive is found by what is in that folder.

mod attempt;
mod judge;
pub mod progress;
pub mod redact;
mod reviewer;
pub mod sweep;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use process::tree::{Mark, Tree};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::adapters::config::Reviewer;
use crate::git::{Git, GitError};
use crate::pristine::{self, Starting};
use crate::prompt;
use crate::settings::Settings;
use crate::state::{
    self, Home, PLAN_VERSION, Plan, RoundFolder, StoreError, TargetFolder, answers,
};
use crate::target::{self, Pinned, Spec, TargetError};
use crate::verify;
use progress::{Progress, State};
use redact::Redactor;
use review::merge::close;
use review::model::{Excerpt, Location, Outcome, Report, ReviewerRun};
use review::rounds::{self, Earlier};
use reviewer::Desk;

/// How much code around a finding the report shows.
const EXCERPT_MARGIN: u32 = 4;

/// The longest piece of code that it shows.
const EXCERPT_LIMIT: u32 = 40;

/// What the user wants.
pub struct Request {
    /// A folder in the repository.
    pub folder: PathBuf,
    /// Where state is kept.
    pub state: PathBuf,
    /// What to review.
    pub spec: Spec,
    /// Who reviews; `None`: the analysers found on the machine.
    pub reviewers: Option<Vec<Reviewer>>,
    /// The search path for those.
    pub path: std::ffi::OsString,
    /// Whether code of the change may be run, whoever wrote it.
    pub trusted: bool,
    /// Names of context files.
    pub context: Vec<String>,
    /// What to look at most.
    pub brief: String,
    /// Which round; `None`: the one after the last, or the one that was interrupted.
    pub round: Option<u32>,
    /// Forget an interrupted round instead of going on with it.
    pub fresh: bool,
    /// Reports of earlier rounds that are not in the state folder, the oldest first.
    pub earlier: Vec<Report>,
    /// Who writes the prose of the report; `None`: it is composed from the data.
    pub lead: Option<Reviewer>,
    /// Who decides pairs of findings that are nearly alike; `None`: the likeness does.
    pub close_calls: Option<Reviewer>,
    /// What to check beyond the usual.
    pub checks: verify::Options,
    /// Blacks out tokens.
    pub redactor: Redactor,
    /// The value of the process tree variable in our own environment.
    pub above: Option<String>,
    /// RFC 3339.
    pub date: String,
    /// Who shows how it goes.
    pub progress: Arc<dyn Progress>,
    /// This program, which the holder of a shared checkout is another run of; `None`: nothing is shared.
    pub program: Option<PathBuf>,
}

/// A finished round.
#[derive(Debug)]
pub struct Finished {
    /// What came out.
    pub report: Report,
    /// Where it is kept.
    pub file: PathBuf,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is nothing to review.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody can review it.
    #[error(
        "no reviewer: none is configured, and no analyser for the files of this change is installed ({files}); write a configuration (see deep-review run --help) or install one of {known}"
    )]
    NoReviewer {
        /// What changed.
        files: String,
        /// What would be used.
        known: &'static str,
    },
    /// The round is there already.
    #[error("round {round} of {target} is finished already; its report is {file}")]
    Done {
        /// Which.
        round: u32,
        /// Of what.
        target: String,
        /// The report.
        file: PathBuf,
    },
    /// A part of the program died.
    #[error("a step of the run failed: {0}")]
    Lost(#[from] tokio::task::JoinError),
    /// The user stopped it.
    #[error("interrupted; what has been answered is kept, and the same command goes on from here")]
    Interrupted,
}

/// Runs a round. When `stop` comes first, everything that was started is ended and what was answered is kept.
pub async fn run(
    request: Request,
    stop: impl Future<Output = ()>,
    begun: impl FnOnce(&TargetFolder),
) -> Result<Finished, RunError> {
    let started = Instant::now();
    let request = Arc::new(request);
    let mut stop = std::pin::pin!(stop);
    let opening = {
        let request = request.clone();
        tokio::task::spawn_blocking(move || open(&request))
    };
    let mut opened = tokio::select! {
        opened = opening => opened??,
        () = &mut stop => return Err(RunError::Interrupted),
    };
    begun(&opened.folder);
    let result = tokio::select! {
        result = review(&request, &mut opened, started) => result,
        () = &mut stop => Err(RunError::Interrupted),
    };
    let (git, round, mark) = (
        opened.git.clone(),
        opened.round.clone(),
        opened.plan.mark.clone(),
    );
    let cleaned = tokio::task::spawn_blocking(move || clean(&git, &round, mark)).await;
    if let Err(error) = cleaned {
        tracing::warn!(%error, "cannot clean up");
    }
    // Given back last: whoever takes it next finds nothing half done.
    drop(opened);
    result
}

struct Opened {
    git: Git,
    home: Home,
    folder: TargetFolder,
    round: RoundFolder,
    plan: Plan,
    pinned: Pinned,
    reviewers: Vec<Reviewer>,
    prompt: String,
    checkout: Option<Starting>,
    settings: Settings,
    /// Whether analysers that run code of the change are asked.
    trusted: bool,
    _lock: process::FileLock,
}

/// Everything before the first reviewer is started.
fn open(request: &Request) -> Result<Opened, RunError> {
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
        // Processes of the killed run carry its mark; ours get another.
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
    // Answers to another pin, or to another question, are no answers to this one.
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

/// What is known before a round.
fn earlier(folder: &TargetFolder, round: u32, given: &[Report]) -> Result<Earlier, StoreError> {
    let answers = answers::read(&folder.answers())?;
    Ok(rounds::earlier(round, folder.reports()?, given, &answers))
}

/// Begins the checkout that reviewers share, so that it is on its way while they are started.
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

/// The configuration of analysers that the change edits, and whether code of the change may be run: if the user says so,
/// or made all its commits here.
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
    let is_there = |path: &str| {
        git.bytes([
            "cat-file",
            "-e",
            "--end-of-options",
            &format!("{}:{path}", pinned.target.head),
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

async fn review(
    request: &Arc<Request>,
    opened: &mut Opened,
    started: Instant,
) -> Result<Finished, RunError> {
    let checkout = opened.checkout.take();
    let opened = &*opened;
    let desk = Arc::new(Desk {
        git: opened.git.clone(),
        pinned: opened.pinned.clone(),
        round: opened.round.clone(),
        prompt: opened.prompt.clone(),
        mark: opened.plan.mark.clone(),
        above: request.above.clone(),
        cache: opened.home.cache(),
        redactor: request.redactor.clone(),
        progress: request.progress.clone(),
        settings: opened.settings.clone(),
        checkout: Mutex::new(checkout),
        pristine: OnceCell::new(),
    });
    // In the order of the configuration, whoever begins first.
    for reviewer in &opened.reviewers {
        request.progress.show(&reviewer.name, State::Preparing, "");
    }
    let mut runs = Vec::new();
    let mut asked: JoinSet<Result<ReviewerRun, RunError>> = JoinSet::new();
    for reviewer in &opened.reviewers {
        // Who failed before is asked again: a second run may have a remedy.
        if let Some(run) = opened.round.recorded(&reviewer.name)?
            && run.outcome.is_complete()
        {
            let said = progress::counted(run.review.findings.len());
            request.progress.show(&reviewer.name, State::Resumed, &said);
            runs.push(run);
            continue;
        }
        if reviewer.executes() && !opened.trusted {
            let run = untrusted(&reviewer.name);
            let why = run.outcome.trouble().unwrap_or_default();
            request.progress.show(&reviewer.name, State::Missing, why);
            runs.push(run);
            continue;
        }
        let (desk, reviewer) = (desk.clone(), reviewer.clone());
        asked.spawn(async move {
            let run = reviewer::ask(desk.clone(), reviewer).await;
            tokio::task::spawn_blocking(move || {
                desk.round.record(&run)?;
                process::crash::point("review.recorded");
                let work = desk.round.work(&run.name);
                let layer = desk.round.layers().join(state::slug(&run.name));
                // While others are still at work, so that the end of the run is not kept waiting.
                let trash = desk.round.trash_of(&run.name);
                for removed in [
                    crate::worktree::remove(&desk.git, &work, &trash),
                    crate::worktree::discard(&layer, &trash),
                ] {
                    if let Err(error) = removed {
                        tracing::warn!(%error, "cannot remove a work tree");
                    }
                }
                Ok(run)
            })
            .await?
        });
    }
    // Deleting a large work tree takes a while: begun as soon as its reviewer is done, not at the end.
    let mut emptying = JoinSet::new();
    while let Some(run) = asked.join_next().await {
        let run = run??;
        let trash = opened.round.trash_of(&run.name);
        emptying.spawn_blocking(move || crate::worktree::empty(&trash));
        runs.push(run);
    }
    let questions = desk.for_questions();
    // Nobody sees the checkout any more: its memory is given back while the findings are checked.
    emptying.spawn_blocking(move || {
        drop(desk);
        Ok(())
    });
    let place = |run: &ReviewerRun| opened.reviewers.iter().position(|r| r.name == run.name);
    runs.sort_by_key(place);
    let (request, git) = (request.clone(), opened.git.clone());
    let (pinned, round, folder) = (
        opened.pinned.clone(),
        opened.round.clone(),
        opened.folder.clone(),
    );
    let (plan, exact) = (opened.plan.clone(), exact(&opened.reviewers));
    let verified = {
        let (request, git, round) = (request.clone(), git.clone(), round.clone());
        tokio::task::spawn_blocking(move || {
            verify::verify(&git, &pinned, &round, &mut runs, &request.checks)?;
            Ok::<_, RunError>(runs)
        })
        .await??
    };
    let close = close_calls(&questions, &request, &verified).await;
    let concluded = {
        let (request, git) = (request.clone(), git.clone());
        tokio::task::spawn_blocking(move || {
            conclude(
                &request, &git, &folder, &plan, verified, close, &exact, started,
            )
        })
        .await??
    };
    let report = lead(&questions, &request, concluded).await;
    let report = tokio::task::spawn_blocking(move || {
        round.finish(&report)?;
        process::crash::point("review.finished");
        Ok::<_, RunError>(report)
    })
    .await??;
    while let Some(emptied) = emptying.join_next().await {
        if let Ok(Err(error)) = emptied {
            tracing::warn!(%error, "cannot remove a work tree");
        }
    }
    Ok(Finished {
        report,
        file: opened.round.report_file(),
    })
}

/// The part of a reviewer that is not asked, because asking it runs code that the user did not write.
fn untrusted(name: &str) -> ReviewerRun {
    ReviewerRun {
        name: name.to_owned(),
        outcome: Outcome::Missing {
            reason: "asking it runs code of the change, which has commits that were not made in this repository; \
                     --trust-change allows it"
                .to_owned(),
        },
        review: review::model::Review {
            reviewer: name.to_owned(),
            ..Default::default()
        },
        original: String::new(),
        performance: Default::default(),
    }
}

/// The names of those who say the same every time.
fn exact(reviewers: &[Reviewer]) -> Vec<String> {
    reviewers
        .iter()
        .filter(|reviewer| reviewer.is_exact())
        .map(|reviewer| reviewer.name.clone())
        .collect()
}

/// Has pairs of findings that are nearly alike decided by the reviewer who is configured for it.
async fn close_calls(desk: &Desk, request: &Request, runs: &[ReviewerRun]) -> Option<Close> {
    let judge = request.close_calls.as_ref()?;
    let pairs = close::pairs(runs);
    if pairs.is_empty() {
        return None;
    }
    let question = close::question(runs, &pairs);
    let (answer, asked) = judge::ask(desk, judge, "close calls", &question).await;
    let (decisions, calls) = close::decide(runs, &pairs, &judge.name, answer);
    Some(Close {
        decisions,
        calls,
        asked,
    })
}

/// What came of the close calls.
struct Close {
    decisions: review::merge::Decisions,
    calls: review::model::CloseCalls,
    asked: review::model::Asked,
}

/// Has the prose written by the lead reviewer who is configured for it. Without a usable review there is nothing to
/// write about.
async fn lead(desk: &Desk, request: &Request, mut report: Report) -> Report {
    let reviewed = report.reviewers.iter().any(|run| run.outcome.is_complete());
    if let Some(judge) = request.lead.as_ref().filter(|_| reviewed) {
        let question = review::lead::question(&report);
        let (answer, asked) = judge::ask(desk, judge, "lead", &question).await;
        report.asked.push(asked);
        review::lead::take(&mut report, &judge.name, answer);
    }
    report
}

#[expect(
    clippy::too_many_arguments,
    reason = "the one place where everything comes together"
)]
fn conclude(
    request: &Request,
    git: &Git,
    folder: &TargetFolder,
    plan: &Plan,
    runs: Vec<ReviewerRun>,
    close: Option<Close>,
    exact: &[String],
    started: Instant,
) -> Result<Report, RunError> {
    let decisions = close.as_ref().map(|close| &close.decisions);
    let findings = review::merge::merge_with(&runs, decisions.unwrap_or(&Default::default()));
    let mut report = Report {
        version: review::report::FORMAT_VERSION,
        date: request.date.clone(),
        target: plan.target.clone(),
        round: plan.round,
        reviewers: runs,
        findings,
        ..Report::default()
    };
    let named: Vec<String> = report
        .findings
        .iter()
        .flat_map(|finding| &finding.voices)
        .filter_map(|voice| Some(voice.finding.locations.first()?.path.clone()))
        .collect();
    let files = git.files(&plan.target.head, named.iter().map(String::as_str))?;
    review::merge::anchor(&mut report.findings, |path| files.text(path));
    let earlier = earlier(folder, plan.round, &request.earlier)?;
    let code = rounds::Code::read(&plan.target.head, &earlier, |commit, paths| {
        git.files(commit, paths.iter().copied())
    })?;
    rounds::reconcile(&code, &mut report, &earlier, exact);
    excerpts(git, &mut report)?;
    report.seconds = started.elapsed().as_secs_f64();
    report.verdict = review::report::verdict(&report);
    report.recommendations = review::report::recommend(&report);
    report.prose = review::report::compose(&report);
    if let Some(close) = close {
        report.asked.push(close.asked);
        report.close_calls = Some(close.calls);
    }
    Ok(report)
}

/// The code around each finding, as it is at the head.
fn excerpts(git: &Git, report: &mut Report) -> Result<(), GitError> {
    let places: Vec<(String, Location)> = report
        .findings
        .iter()
        .filter_map(|finding| Some((finding.id.clone(), finding.lead.locations.first()?.clone())))
        .collect();
    let paths = places.iter().map(|(_, place)| place.path.as_str());
    let files = git.files(&report.target.head, paths)?;
    for (id, place) in places {
        let (Some(text), Some(start)) = (files.text(&place.path), place.start) else {
            continue;
        };
        let focus = (start, place.end.unwrap_or(start).max(start));
        let excerpt = Excerpt::cut(&place.path, &text, focus, EXCERPT_MARGIN, EXCERPT_LIMIT);
        report.excerpts.extend(excerpt.map(|excerpt| (id, excerpt)));
    }
    Ok(())
}

/// Ends everything of the round that runs, and removes its work trees and scratch folders.
fn clean(git: &Git, round: &RoundFolder, mark: Mark) {
    if let Err(error) = process::tree::kill_tree(&Tree::marked(mark), Duration::ZERO) {
        tracing::warn!(%error, "what reviewers started cannot be killed");
    }
    sweep::folders(git, round);
}
