//! What the repository's context file should say, composed from facts: what reviewers raise again and again, what the
//! author declined, and which files no reviewer read.

use std::collections::BTreeMap;

use super::count::{finished, plural, status};
use super::markdown::inline;
use crate::model::{History, MergedFinding, Note, Report, Severity};
use crate::plain::place;

/// The maximum number of recommendations of one kind; people do not read a long context file.
const MOST: usize = 8;

/// From this number of places on, a title counts as a habit of the code.
const HABIT: usize = 3;

/// How many rounds a finding is open before it is worth a line.
const ROUNDS: u32 = 2;

/// How many files are named in one line.
const FILES: usize = 12;

/// Generates recommendations from the findings. No reviewer is named; each recommendation says which facts it is based on.
pub fn recommend(report: &Report) -> Vec<Note> {
    let mut texts = declined(report);
    texts.extend(put_off(report));
    texts.extend(lasting(report));
    texts.extend(habits(report));
    texts.extend(unseen(report));
    texts
        .into_iter()
        .map(|text| Note {
            text,
            reviewers: Vec::new(),
        })
        .collect()
}

fn named(finding: &MergedFinding) -> String {
    let at = finding
        .lead
        .locations
        .first()
        .map(|l| format!(" (`{}`)", place(l)))
        .unwrap_or_default();
    format!("“{}”{at}", inline(&finding.lead.title))
}

/// Declined findings, because reviewers raise them again with the next change near them.
fn declined(report: &Report) -> Vec<String> {
    let note = |finding: &MergedFinding| match &finding.history {
        History::Declined { since, reason } if !reason.trim().is_empty() => Some(format!(
            "Declined in round {since}, say it where reviewers read it: {}: {}",
            named(finding),
            inline(reason)
        )),
        _ => None,
    };
    report.closed.iter().filter_map(note).take(MOST).collect()
}

/// Deferred findings, so that reviewers know them.
fn put_off(report: &Report) -> Vec<String> {
    let note = |finding: &MergedFinding| {
        let reason = finding.deferred.as_ref()?;
        Some(format!(
            "Put off, name it as a known limitation: {}: {}",
            named(finding),
            inline(reason)
        ))
    };
    report.findings.iter().filter_map(note).take(MOST).collect()
}

/// Findings that stay open over several rounds, because they need a decision.
fn lasting(report: &Report) -> Vec<String> {
    let note = |finding: &MergedFinding| match finding.history {
        History::Open { since }
            if finding.deferred.is_none()
                && finding.severity != Severity::Suggestion
                && report.round.saturating_sub(since) >= ROUNDS =>
        {
            Some(format!(
                "Open since round {since}, decide it and write the decision down: {}",
                named(finding)
            ))
        }
        _ => None,
    };
    report.findings.iter().filter_map(note).take(MOST).collect()
}

/// Titles that occur at many places: the repository breaks a rule, or does not want it.
fn habits(report: &Report) -> Vec<String> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in &report.findings {
        *places.entry(finding.lead.title.as_str()).or_default() += 1;
    }
    let mut often: Vec<(&str, usize)> = places.into_iter().filter(|(_, n)| *n >= HABIT).collect();
    often.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    often
        .into_iter()
        .take(MOST)
        .map(|(title, count)| {
            format!(
                "Raised at {} in this change, say whether the rule holds here: “{}”",
                plural(count, "place"),
                inline(title)
            )
        })
        .collect()
}

/// Files that no reviewer says it read. Only if a reviewer says so of any file: analysers never do.
fn unseen(report: &Report) -> Option<String> {
    let done = finished(report);
    if done.iter().all(|run| run.review.coverage.is_empty()) {
        return None;
    }
    let files: Vec<&str> = report
        .target
        .files
        .iter()
        .map(String::as_str)
        .filter(|path| done.iter().all(|run| status(&run.review, path).is_none()))
        .collect();
    if files.is_empty() {
        return None;
    }
    let mut names: Vec<String> = files
        .iter()
        .take(FILES)
        .map(|f| format!("`{}`", inline(f).replace('`', "'")))
        .collect();
    if files.len() > FILES {
        names.push(format!("{} more", files.len() - FILES));
    }
    Some(format!(
        "No reviewer says of {} that they read it, say what it is for or that it needs no review: {}",
        plural(files.len(), "changed file"),
        names.join(", ")
    ))
}
