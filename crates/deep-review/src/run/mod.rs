//! One round: pins the target, asks all reviewers at once, checks their findings, merges them, and compares them with
//! earlier rounds.
//!
//! ```text
//! lock → sweep → resume or pin → plan.json → reviewers (each: work tree, attempts, NAME.json)
//!      → verify → close calls → merge → rounds → lead → report.json → clean up
//! ```
//!
//! *Architecture invariant*: everything that must survive `kill -9` is a whole file of the state folder
//! ([`crate::state`]) before the next step begins; whatever must not survive can be found from that folder.

mod attempt;
mod conclude;
mod judge;
mod open;
pub mod progress;
mod prompt;
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
use crate::state::{self, RoundFolder, StoreError, TargetFolder};
use crate::target::{Spec, TargetError};
use crate::verify;
use open::Opened;
use progress::{Progress, State};
use redact::Redactor;
use review::model::{Outcome, Report, ReviewerRun};
use reviewer::RunContext;

/// A user's request for a review.
pub struct Request {
    /// A folder in the repository.
    pub folder: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// The target.
    pub spec: Spec,
    /// The reviewers; `None`: the analysers found on the machine.
    pub reviewers: Option<Vec<Reviewer>>,
    /// The search path for these analysers.
    pub path: std::ffi::OsString,
    /// Whether code of the change may be run, regardless of its author.
    pub trusted: bool,
    /// Names of context files.
    pub context: Vec<String>,
    /// What reviewers should look at most.
    pub brief: String,
    /// The round; `None`: the interrupted one, else the one after the last.
    pub round: Option<u32>,
    /// Discard an interrupted round instead of resuming it.
    pub fresh: bool,
    /// Reports of earlier rounds that are not in the state folder, the oldest first.
    pub earlier: Vec<Report>,
    /// The reviewer that writes the prose of the report; `None`: it is composed from the data.
    pub lead: Option<Reviewer>,
    /// The reviewer that decides pairs of findings that are nearly alike; `None`: the likeness decides.
    pub close_calls: Option<Reviewer>,
    /// The optional checks.
    pub checks: verify::Options,
    /// Redacts tokens.
    pub redactor: Redactor,
    /// The value of the process tree variable in this process's environment.
    pub above: Option<String>,
    /// The current time, RFC 3339.
    pub date: String,
    /// Receives the progress.
    pub progress: Arc<dyn Progress>,
    /// This program, which is started again as the holder of a shared checkout; `None`: nothing is shared.
    pub program: Option<PathBuf>,
}

/// The result of a finished round.
#[derive(Debug)]
pub struct Finished {
    /// The report.
    pub report: Report,
    /// The folder with the round's files.
    pub file: PathBuf,
}

/// Why a run has no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no change to review.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The state folder is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No reviewer is configured, and no analyser is installed.
    #[error(
        "no reviewer: none is configured, and no analyser for the files of this change is installed ({files}); write a configuration (see deep-review run --help) or install one of {known}"
    )]
    NoReviewer {
        /// The change.
        files: String,
        /// The analysers that would be used.
        known: &'static str,
    },
    /// The round exists already.
    #[error("round {round} of {target} is finished already; its report is {file}")]
    Done {
        /// The round's number.
        round: u32,
        /// The target's name.
        target: String,
        /// The path of the report.
        file: PathBuf,
    },
    /// A task of the program panicked or failed.
    #[error("a step of the run failed: {0}")]
    Lost(#[from] tokio::task::JoinError),
    /// The user stopped the run.
    #[error("interrupted; what has been answered is kept, and the same command goes on from here")]
    Interrupted,
}

/// Runs a round. When `stop` completes first, kills everything that the run started and keeps the answers so far.
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
        tokio::task::spawn_blocking(move || open::open(&request))
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
    // Release the lock last, so that the next holder finds a clean state.
    drop(opened);
    result
}

async fn review(
    request: &Arc<Request>,
    opened: &mut Opened,
    started: Instant,
) -> Result<Finished, RunError> {
    let checkout = opened.checkout.take();
    let opened = &*opened;
    let context = Arc::new(RunContext {
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
    // Shown in the order of the configuration, whichever reviewer starts first.
    for reviewer in &opened.reviewers {
        request.progress.show(&reviewer.name, State::Preparing, "");
    }
    let mut runs = Vec::new();
    let mut asked: JoinSet<Result<ReviewerRun, RunError>> = JoinSet::new();
    for reviewer in &opened.reviewers {
        // Reviewers that failed in an earlier run are retried: the cause may be gone.
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
        let (context, reviewer) = (context.clone(), reviewer.clone());
        asked.spawn(async move {
            let run = reviewer::ask(context.clone(), reviewer).await;
            tokio::task::spawn_blocking(move || {
                context.round.record(&run)?;
                process::crash::point("review.recorded");
                let work = context.round.work(&run.name);
                let layer = context.round.layers().join(state::slug(&run.name));
                // Removed while other reviewers are still at work, so that it does not delay the end of the run.
                let trash = context.round.trash_of(&run.name);
                for removed in [
                    crate::worktree::remove(&context.git, &work, &trash),
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
    // Deleting a large work tree takes a while, so it begins as soon as the reviewer is done.
    let mut emptying = JoinSet::new();
    while let Some(run) = asked.join_next().await {
        let run = run??;
        let trash = opened.round.trash_of(&run.name);
        emptying.spawn_blocking(move || crate::worktree::empty(&trash));
        runs.push(run);
    }
    let questions = context.for_questions();
    // No reviewer uses the checkout any more, so its memory is freed while the findings are checked.
    emptying.spawn_blocking(move || {
        drop(context);
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
    let (plan, exact) = (opened.plan.clone(), conclude::exact(&opened.reviewers));
    let verified = {
        let (request, git, round) = (request.clone(), git.clone(), round.clone());
        tokio::task::spawn_blocking(move || {
            verify::verify(&git, &pinned, &round, &mut runs, &request.checks)?;
            Ok::<_, RunError>(runs)
        })
        .await??
    };
    let close = conclude::close_calls(&questions, &request, &verified).await;
    let concluded = {
        let (request, git) = (request.clone(), git.clone());
        tokio::task::spawn_blocking(move || {
            conclude::conclude(
                &request, &git, &folder, &plan, verified, close, &exact, started,
            )
        })
        .await??
    };
    let report = conclude::lead(&questions, &request, concluded).await;
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

/// The result of a reviewer that is skipped, because it would run code that the user did not write.
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

/// Kills every process of the round, and removes its work trees and scratch folders.
fn clean(git: &Git, round: &RoundFolder, mark: Mark) {
    if let Err(error) = process::tree::kill_tree(&Tree::marked(mark), Duration::ZERO) {
        tracing::warn!(%error, "what reviewers started cannot be killed");
    }
    sweep::folders(git, round);
}
