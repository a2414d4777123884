//! Whether the verdict can miss a finding, because a reviewer's answer is missing, incomplete or unread.

use super::count::with_reason;
use crate::model::{Outcome, Report, ReviewerRun};
use crate::parse::looks_like_a_finding;

/// Why the verdict may miss a finding, a sentence each; empty when it cannot.
#[must_use]
pub fn gaps(report: &Report) -> Vec<String> {
    if report.reviewers.is_empty() {
        return vec!["no reviewer was asked".to_owned()];
    }
    report.reviewers.iter().filter_map(gap).collect()
}

fn gap(run: &ReviewerRun) -> Option<String> {
    let name = &run.name;
    match &run.outcome {
        Outcome::Finished { .. } if is_unread(run) => Some(format!(
            "{name} wrote text that may hold a finding and could not be read"
        )),
        Outcome::Finished { .. } => None,
        Outcome::Partial { reason } => Some(format!("the answer of {name} is cut off: {reason}")),
        Outcome::Failed { .. } | Outcome::Missing { .. } => {
            Some(format!("no review from {name} ({})", with_reason(run)))
        }
    }
}

/// Whether unread text of a finished review may hold a finding.
fn is_unread(run: &ReviewerRun) -> bool {
    let review = &run.review;
    let unread = &review.unparsed;
    if review.findings.is_empty() {
        return !unread.is_empty() || !review.says_none && looks_like_a_finding(&review.summary);
    }
    unread.iter().any(|text| looks_like_a_finding(text))
}

/// The text of all reviewers that was not read, with their names.
pub(super) fn unread(report: &Report) -> Vec<(&str, &str)> {
    let all = report.reviewers.iter();
    all.flat_map(|run| {
        run.review
            .unparsed
            .iter()
            .map(|text| (run.name.as_str(), text.as_str()))
    })
    .collect()
}
