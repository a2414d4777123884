//! Earlier rounds of the same target: which of their findings are fixed, still open, or declined.
//!
//! A finding is matched to an earlier one by fingerprint, else by likeness. A declined finding is not raised again while
//! the code around it is unchanged. A finding that is not raised again is fixed if its code has changed (for analysers
//! that ran again: if its file has changed). Otherwise it stays open, because a reviewer can miss it a second time.

//! A deferred finding is neither fixed nor declined: it stays open, is marked, and does not count for the verdict.

pub mod answers;
mod code;
mod pairing;

use std::collections::{BTreeMap, BTreeSet};

pub use code::Code;

use crate::model::{History, MergedFinding, Report, Round, Severity};
use answers::Answers;
use code::Seen;

/// The state of a target before a round.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// Every finding ever raised, as the last round left it and the author answered it.
    pub findings: Vec<Known>,
    /// The figures of the earlier rounds.
    pub rounds: Vec<Round>,
}

/// A finding of an earlier round.
#[derive(Clone, Debug)]
pub struct Known {
    /// As the last round had it.
    pub finding: MergedFinding,
    /// The round that raised it.
    pub since: u32,
    /// Its state, with the author's answer applied.
    pub history: History,
    /// The commit at which it was last seen.
    pub head: Option<String>,
    /// The round that saw it last.
    pub seen: u32,
}

/// What is known before round `round`: `reports` are those of the state folder, `given` those that the user gave. Of a
/// round that is in both, the one in the state folder is used, because it is the newer.
#[must_use]
pub fn earlier(round: u32, reports: Vec<Report>, given: &[Report], answers: &Answers) -> Earlier {
    let mut all = reports;
    all.retain(|report| report.round < round);
    let kept: Vec<u32> = all.iter().map(|report| report.round).collect();
    let before = |report: &&Report| report.round < round && !kept.contains(&report.round);
    all.extend(given.iter().filter(before).cloned());
    all.sort_by_key(|report| report.round);
    let mut earlier = after(&all);
    for known in &mut earlier.findings {
        let Some(answer) = answers.of(&known.finding.fingerprint) else {
            continue;
        };
        if !answer.holds(&known.history, known.seen) {
            continue;
        }
        known.history = answer.history(known.since);
        known.finding.deferred = answer.deferred();
        known.finding.reopened = None;
    }
    earlier
}

/// What reports, the oldest first, leave for the next. Ours carry everything on; those of people may not, so that a
/// finding that a later one does not name stays as it was.
#[must_use]
pub fn after(reports: &[Report]) -> Earlier {
    let mut earlier = Earlier {
        rounds: reports.iter().map(summary).collect(),
        ..Earlier::default()
    };
    for report in reports {
        let all: Vec<MergedFinding> = report
            .findings
            .iter()
            .chain(&report.closed)
            .cloned()
            .collect();
        let same: BTreeMap<usize, usize> = pairing::pair(&all, &earlier.findings)
            .into_iter()
            .map(|(known, current)| (current, known))
            .collect();
        for (at, finding) in all.into_iter().enumerate() {
            let before = same.get(&at).and_then(|at| earlier.findings.get_mut(*at));
            let since = match (&finding.history, &before) {
                (_, Some(known)) => known.since,
                (History::New, None) => report.round,
                (
                    History::Open { since }
                    | History::Fixed { since }
                    | History::Declined { since, .. },
                    None,
                ) => *since,
            };
            let known = Known {
                history: finding.history.clone(),
                finding,
                since,
                head: Some(report.target.head.clone()),
                seen: report.round,
            };
            match before {
                Some(before) => *before = known,
                None => earlier.findings.push(known),
            }
        }
    }
    earlier
}

fn summary(report: &Report) -> Round {
    let count = |severity| {
        u32::try_from(
            report
                .findings
                .iter()
                .filter(|f| f.severity == severity)
                .count(),
        )
        .unwrap_or(u32::MAX)
    };
    let closed = |wanted: fn(&History) -> bool| {
        u32::try_from(report.closed.iter().filter(|f| wanted(&f.history)).count())
            .unwrap_or(u32::MAX)
    };
    Round {
        number: report.round,
        date: report.date.clone(),
        head: report.target.head.clone(),
        critical: count(Severity::Critical),
        important: count(Severity::Important),
        suggestions: count(Severity::Suggestion),
        fixed: closed(|history| matches!(history, History::Fixed { .. })),
        declined: closed(|history| matches!(history, History::Declined { .. })),
    }
}

/// Compares a report with the earlier rounds. `exact` names the reviewers whose output is deterministic.
pub fn reconcile(code: &Code, report: &mut Report, earlier: &Earlier, exact: &[String]) {
    report.rounds.clone_from(&earlier.rounds);
    if earlier.findings.is_empty() {
        return;
    }
    let pairs = pairing::pair(&report.findings, &earlier.findings);
    let looked_again: Vec<&str> = report
        .reviewers
        .iter()
        .filter(|run| run.outcome.is_complete() && exact.contains(&run.name))
        .map(|run| run.name.as_str())
        .collect();
    let mut closed = Vec::new();
    let mut carried = Vec::new();
    let mut settled: Vec<usize> = Vec::new();
    for (at, known) in earlier.findings.iter().enumerate() {
        let since = known.since;
        let current = pairs.get(&at).and_then(|at| report.findings.get(*at));
        let seen = code.see(&known.finding, known.head.as_deref(), current);
        match (pairs.get(&at), &known.history) {
            (Some(current), History::Declined { reason, .. }) if seen.is_same() => {
                let mut finding = report.findings[*current].clone();
                finding.id = old_id(known);
                finding.fingerprint.clone_from(&known.finding.fingerprint);
                finding.history = History::Declined {
                    since,
                    reason: reason.clone(),
                };
                closed.push(finding);
                settled.push(*current);
            }
            (Some(current), history) => {
                let finding = &mut report.findings[*current];
                finding.reopened = match history {
                    History::Declined { reason, .. } => Some(reason.clone()),
                    _ => known.finding.reopened.clone(),
                };
                finding.history = History::Open { since };
                finding.fingerprint.clone_from(&known.finding.fingerprint);
                finding.deferred.clone_from(&known.finding.deferred);
            }
            (None, history @ (History::Declined { .. } | History::Fixed { .. })) => {
                closed.push(moved(known, &seen, history.clone(), old_id(known)));
            }
            (None, History::New | History::Open { .. }) => {
                let analysed = known
                    .finding
                    .voices
                    .iter()
                    .all(|voice| looked_again.contains(&voice.reviewer.as_str()));
                // The analyser's rule may have been switched off, so only changed code is evidence.
                let head = known.head.as_deref();
                if analysed && code.file_changed(&known.finding, head) || !seen.is_same() {
                    closed.push(moved(known, &seen, History::Fixed { since }, old_id(known)));
                } else {
                    let id = known.finding.id.clone();
                    carried.push(moved(known, &seen, History::Open { since }, id));
                }
            }
        }
    }
    let mut at = 0;
    report.findings.retain(|_| {
        at += 1;
        !settled.contains(&(at - 1))
    });
    report.findings.extend(carried);
    // Stable: within a severity the order of the merge stays, and what was carried over is behind it.
    report.findings.sort_by_key(|finding| finding.severity);
    renumber(&mut report.findings);
    rename_new(&mut report.findings, earlier);
    report.closed = closed;
}

/// A new finding at the code of an earlier one has a fingerprint of its own: answers go by it.
fn rename_new(findings: &mut [MergedFinding], earlier: &Earlier) {
    let mut taken: BTreeSet<String> = earlier
        .findings
        .iter()
        .map(|known| known.finding.fingerprint.clone())
        .collect();
    for finding in findings {
        if !matches!(finding.history, History::New) {
            continue;
        }
        let base = crate::merge::fingerprint_base(&finding.fingerprint).to_owned();
        let mut times = 1;
        while !taken.insert(finding.fingerprint.clone()) {
            times += 1;
            finding.fingerprint = format!("{base}-{times}");
        }
    }
}

/// `I2` of round 1 is `R1-I2` from then on, since the new round has an `I2` of its own.
fn old_id(known: &Known) -> String {
    let id = &known.finding.id;
    if id.starts_with('R') {
        id.clone()
    } else {
        format!("R{}-{id}", known.since)
    }
}

fn renumber(findings: &mut [MergedFinding]) {
    let mut counts = BTreeMap::new();
    for finding in findings {
        let count: &mut u32 = counts.entry(finding.severity).or_default();
        *count += 1;
        let letter = match finding.severity {
            Severity::Critical => 'C',
            Severity::Important => 'I',
            Severity::Suggestion => 'S',
        };
        finding.id = format!("{letter}{count}");
    }
}

fn moved(known: &Known, seen: &Seen, history: History, id: String) -> MergedFinding {
    let mut finding = known.finding.clone();
    finding.history = history;
    finding.id = id;
    if let Seen::Same { shift } = seen
        && let Some(place) = finding.lead.locations.first_mut()
    {
        let shifted = |line: u32| u32::try_from(i64::from(line) + shift).unwrap_or(line);
        place.start = place.start.map(shifted);
        place.end = place.end.map(shifted);
    }
    finding
}
