//! The steps after the last reviewer answered: close calls, merge, earlier rounds, verdict, prose.

use std::time::Instant;

use review::merge::close;
use review::model::{Excerpt, Location, Report, ReviewerRun};
use review::rounds;

use super::open::earlier;
use super::reviewer::RunContext;
use super::{Request, RunError, judge};
use crate::adapters::config::Reviewer;
use crate::git::{Git, GitError};
use crate::state::{Plan, TargetFolder};

/// The number of lines of code that the report shows around a finding.
const EXCERPT_MARGIN: u32 = 4;

/// The most lines of code that it shows.
const EXCERPT_LIMIT: u32 = 40;

/// Returns the names of the deterministic reviewers.
pub(super) fn exact(reviewers: &[Reviewer]) -> Vec<String> {
    reviewers
        .iter()
        .filter(|reviewer| reviewer.is_exact())
        .map(|reviewer| reviewer.name.clone())
        .collect()
}

/// Asks the configured reviewer to decide pairs of findings that are nearly alike.
pub(super) async fn close_calls(
    context: &RunContext,
    request: &Request,
    runs: &[ReviewerRun],
) -> Option<Close> {
    let judge = request.close_calls.as_ref()?;
    let pairs = close::pairs(runs);
    if pairs.is_empty() {
        return None;
    }
    let question = close::question(runs, &pairs);
    let (answer, asked) = judge::ask(context, judge, "close calls", &question).await;
    let (decisions, calls) = close::decide(runs, &pairs, &judge.name, answer);
    Some(Close {
        decisions,
        calls,
        asked,
    })
}

/// The outcome of the close calls.
pub(super) struct Close {
    decisions: review::merge::Decisions,
    calls: review::model::CloseCalls,
    asked: review::model::Asked,
}

/// Asks the configured lead reviewer to write the prose. Without a usable review there is nothing to write about.
pub(super) async fn lead(context: &RunContext, request: &Request, mut report: Report) -> Report {
    let reviewed = report.reviewers.iter().any(|run| run.outcome.is_complete());
    if let Some(judge) = request.lead.as_ref().filter(|_| reviewed) {
        let question = review::lead::question(&report);
        let (answer, asked) = judge::ask(context, judge, "lead", &question).await;
        report.asked.push(asked);
        review::lead::take(&mut report, &judge.name, answer);
    }
    report
}

#[expect(
    clippy::too_many_arguments,
    reason = "the one place where everything comes together"
)]
pub(super) fn conclude(
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

/// Returns the code around each finding at the head.
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
