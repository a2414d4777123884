//! Findings of different reviewers about the same defect become one; no finding is dropped.
//!
//! *Architecture invariant*: the merge calls no model and reads only the findings (and the decisions about close
//! calls), so the same reviews always give the same report.

pub mod close;
mod cluster;
mod fingerprint;
mod lead;
mod severity;
mod similarity;
mod words;

use std::collections::HashMap;

pub use cluster::{Decisions, Rule, THRESHOLD};
pub use fingerprint::base as fingerprint_base;
pub use similarity::{Likeness, PARTS, Weights};

use crate::model::{CheckResult, Finding, History, MergedFinding, ReviewerRun, Severity, Voice};
use crate::standing::highest;

/// Merges what the reviewers said. The result is in the order of the report: by severity, then by number of
/// reviewers, then by place; numbered `C1`, `I1`, `S1`. Every finding of every reviewer is in exactly one
/// group.
pub fn merge(runs: &[ReviewerRun]) -> Vec<MergedFinding> {
    merge_with(runs, &Decisions::default())
}

/// Merges with decisions about some pairs; see [`close`].
pub fn merge_with(runs: &[ReviewerRun], decisions: &Decisions) -> Vec<MergedFinding> {
    let all = flat(runs);
    let features = similarity::features(all.iter().map(|(_, f)| *f));
    let names: Vec<&str> = all.iter().map(|(run, _)| run.name.as_str()).collect();
    let mut merged: Vec<MergedFinding> =
        cluster::cluster(&features, &names, Rule::default(), decisions)
            .into_iter()
            .filter_map(|members| {
                let voices: Vec<Voice> = members
                    .into_iter()
                    .map(|i| Voice {
                        reviewer: all[i].0.name.clone(),
                        finding: all[i].1.clone(),
                        analyser: all[i].0.review.analyser,
                    })
                    .collect();
                join(voices)
            })
            .collect();
    merged.sort_by_cached_key(order);
    number(&mut merged);
    merged
}

/// All findings with the runs that raised them.
fn flat(runs: &[ReviewerRun]) -> Vec<(&ReviewerRun, &Finding)> {
    runs.iter()
        .flat_map(|run| run.review.findings.iter().map(move |f| (run, f)))
        .collect()
}

/// Makes one finding of those that are about one defect. `None` without any.
pub fn join(voices: Vec<Voice>) -> Option<MergedFinding> {
    let lead = lead::lead(&voices)?.clone();
    let severity = severity::reconcile(&voices);
    Some(MergedFinding {
        id: String::new(),
        fingerprint: fingerprint::fingerprint(&voices, None),
        severity,
        disagreement: severity::disagreement(&voices, severity, highest(&voices, severity)),
        lead,
        voices,
        history: History::New,
        deferred: None,
        reopened: None,
    })
}

type Order = (Severity, std::cmp::Reverse<usize>, String, u32, String);

fn order(finding: &MergedFinding) -> Order {
    let place = finding.lead.locations.first();
    (
        finding.severity,
        std::cmp::Reverse(finding.reviewers().len()),
        place.map_or(String::new(), |p| p.path.clone()),
        place.and_then(|p| p.start).unwrap_or(0),
        finding.lead.title.clone(),
    )
}

/// Whether checks refute what every voice says, and confirm nothing of it.
pub fn is_refuted(finding: &MergedFinding) -> bool {
    finding.voices.iter().all(|v| {
        let has = |result: CheckResult| v.finding.checks.iter().any(|c| c.result == result);
        has(CheckResult::Refuted) && !has(CheckResult::Confirmed)
    })
}

/// Computes fingerprints from the code of the findings: `text` returns the file at the head of the review. Without the
/// file a finding keeps the fingerprint from its quotes.
pub fn anchor<'a>(
    findings: &mut [MergedFinding],
    text: impl Fn(&str) -> Option<std::borrow::Cow<'a, str>>,
) {
    for finding in findings.iter_mut() {
        let file = fingerprint::path(&finding.voices).and_then(&text);
        finding.fingerprint = fingerprint::fingerprint(&finding.voices, file.as_deref());
    }
    number(findings);
}

/// Numbers the ordered findings, and makes equal fingerprints unique.
fn number(findings: &mut [MergedFinding]) {
    let mut counts: HashMap<char, usize> = HashMap::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for finding in findings {
        let letter = match finding.severity {
            Severity::Critical => 'C',
            Severity::Important => 'I',
            Severity::Suggestion => 'S',
        };
        let count = counts.entry(letter).or_default();
        *count += 1;
        finding.id = format!("{letter}{count}");
        let times = seen.entry(finding.fingerprint.clone()).or_default();
        *times += 1;
        if *times > 1 {
            finding.fingerprint = format!("{}-{times}", finding.fingerprint);
        }
    }
}

/// Groups findings by defect; the result holds indices into `findings`.
pub fn group(findings: &[(&str, &Finding)], rule: Rule) -> Vec<Vec<usize>> {
    let features = similarity::features(findings.iter().map(|(_, f)| *f));
    let reviewers: Vec<&str> = findings.iter().map(|(r, _)| *r).collect();
    cluster::cluster(&features, &reviewers, rule, &Decisions::default())
}

/// How alike findings are among themselves: each pair once, by their numbers.
pub fn among(findings: &[&Finding]) -> Vec<(usize, usize, Likeness)> {
    let features = similarity::features(findings.iter().copied());
    let mut result = Vec::new();
    for (a, one) in features.iter().enumerate() {
        for (b, other) in features.iter().enumerate().skip(a + 1) {
            result.push((a, b, similarity::likeness(one, other)));
        }
    }
    result
}

/// How alike each of `a` is to each of `b`.
pub fn compare(a: &[&Finding], b: &[&Finding]) -> Vec<Vec<Likeness>> {
    let all = similarity::features(a.iter().chain(b).copied());
    let (left, right) = all.split_at(a.len());
    left.iter()
        .map(|x| right.iter().map(|y| similarity::likeness(x, y)).collect())
        .collect()
}
