//! Earlier rounds of the same target: which of their findings are fixed, still open, or declined.
//!
//! A finding is known again by its fingerprint, else by its likeness to an earlier one. What was declined is not raised
//! again as long as the code around it is the same. What nobody raised again is fixed when its code has changed, or
//! when it came from analysers that looked again; else it stays open: silence of a reviewer is no repair.

pub mod answers;

use std::collections::BTreeMap;

use crate::git::{Blobs, Git, GitError};
use crate::model::{History, MergedFinding, Outcome, Report, Round, Severity};
use crate::run::store::{StoreError, TargetFolder};
use answers::Answers;

/// How many lines around a finding count as the code around it.
const MARGIN: usize = 2;

/// What is known before a round.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// Every finding ever raised, as the last round left it and the author answered it.
    pub findings: Vec<Known>,
    /// What the rounds came to.
    pub rounds: Vec<Round>,
    /// The head of the last round.
    pub head: Option<String>,
}

/// A finding of an earlier round.
#[derive(Clone, Debug)]
pub struct Known {
    /// As the last round had it.
    pub finding: MergedFinding,
    /// The round that raised it.
    pub since: u32,
    /// Where it stands, the author's answer included.
    pub history: History,
}

/// Reads what the rounds before `round` left.
pub fn earlier(folder: &TargetFolder, round: u32) -> Result<Earlier, StoreError> {
    let mut reports = folder.reports()?;
    reports.retain(|report| report.round < round);
    let answers = Answers::read(&folder.answers())?;
    let mut earlier = Earlier {
        rounds: reports.iter().map(summary).collect(),
        ..Earlier::default()
    };
    let Some(last) = reports.pop() else {
        return Ok(earlier);
    };
    earlier.head = Some(last.target.head.clone());
    for finding in last.findings.into_iter().chain(last.closed) {
        let since = match &finding.history {
            History::New => last.round,
            History::Open { since }
            | History::Fixed { since }
            | History::Declined { since, .. } => *since,
        };
        let history = answers
            .of(&finding.fingerprint)
            .map_or_else(|| finding.history.clone(), |answer| answer.history(since));
        earlier.findings.push(Known {
            finding,
            since,
            history,
        });
    }
    Ok(earlier)
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

/// Holds a report against what is known. `exact` names the reviewers that say the same every time.
pub fn reconcile(
    git: &Git,
    report: &mut Report,
    earlier: &Earlier,
    exact: &[String],
) -> Result<(), GitError> {
    report.rounds.clone_from(&earlier.rounds);
    let Some(last_head) = &earlier.head else {
        return Ok(());
    };
    let pairs = pair(&report.findings, &earlier.findings);
    let paths = || {
        earlier
            .findings
            .iter()
            .filter_map(|known| Some(known.finding.lead.locations.first()?.path.as_str()))
    };
    let code = Code {
        before: Blobs::read(git, last_head, paths())?,
        now: Blobs::read(git, &report.target.head, paths())?,
    };
    let looked_again: Vec<&str> = report
        .reviewers
        .iter()
        .filter(|run| matches!(run.outcome, Outcome::Finished { .. }) && exact.contains(&run.name))
        .map(|run| run.name.as_str())
        .collect();
    let mut closed = Vec::new();
    let mut carried = Vec::new();
    let mut settled: Vec<usize> = Vec::new();
    for (at, known) in earlier.findings.iter().enumerate() {
        let since = known.since;
        let seen = code.see(&known.finding);
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
            (Some(current), _) => {
                let finding = &mut report.findings[*current];
                finding.history = History::Open { since };
                finding.fingerprint.clone_from(&known.finding.fingerprint);
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
                if analysed || !seen.is_same() {
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
    // Stable: within a severity the order of the merge stays, and what was carried over stands behind it.
    report.findings.sort_by_key(|finding| finding.severity);
    renumber(&mut report.findings);
    report.closed = closed;
    Ok(())
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

/// Which current finding each known one is: index of the known one → index of the current one.
fn pair(current: &[MergedFinding], known: &[Known]) -> BTreeMap<usize, usize> {
    let mut pairs = BTreeMap::new();
    let mut taken = vec![false; current.len()];
    for (at, known) in known.iter().enumerate() {
        let same = current.iter().zip(&taken).position(|(finding, taken)| {
            !taken && finding.fingerprint == known.finding.fingerprint
        });
        if let Some(same) = same {
            taken[same] = true;
            pairs.insert(at, same);
        }
    }
    let old: Vec<&crate::model::Finding> = known.iter().map(|known| &known.finding.lead).collect();
    let new: Vec<&crate::model::Finding> = current.iter().map(|finding| &finding.lead).collect();
    let likenesses = crate::merge::compare(&old, &new);
    let mut candidates: Vec<(f64, usize, usize)> = Vec::new();
    for (at, row) in likenesses.iter().enumerate() {
        for (to, likeness) in row.iter().enumerate() {
            let score = likeness.score();
            if !pairs.contains_key(&at) && !taken[to] && score >= crate::merge::THRESHOLD {
                candidates.push((score, at, to));
            }
        }
    }
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    for (_, at, to) in candidates {
        if !pairs.contains_key(&at) && !taken[to] {
            taken[to] = true;
            pairs.insert(at, to);
        }
    }
    pairs
}

/// The files of earlier findings, then and now.
struct Code {
    before: Blobs,
    now: Blobs,
}

/// What became of a finding's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It stands as it stood, `shift` lines further down.
    Same { shift: i64 },
    /// It does not.
    Changed,
}

impl Seen {
    fn is_same(self) -> bool {
        matches!(self, Seen::Same { .. })
    }
}

impl Code {
    fn see(&self, finding: &MergedFinding) -> Seen {
        let Some(place) = finding.lead.locations.first() else {
            // A finding about no file: nothing says that it is gone.
            return Seen::Same { shift: 0 };
        };
        let Some(now) = self.now.text(&place.path) else {
            return Seen::Changed;
        };
        match (self.before.text(&place.path), place.start) {
            (Some(before), Some(start)) => {
                let end = place.end.unwrap_or(start).max(start);
                stands(&before, start as usize, end as usize, &now)
            }
            (Some(before), None) if before == now => Seen::Same { shift: 0 },
            (Some(_), None) => Seen::Changed,
            // The commit is gone: a rebased branch, collected.
            (None, _) => match &finding.lead.quote {
                Some(quote) => {
                    match crate::verify::quote::check_quote(quote, &now, place.start, place.end) {
                        crate::verify::quote::Found::At {
                            wrong: 0, first, ..
                        } => Seen::Same {
                            shift: place
                                .start
                                .map_or(0, |start| i64::from(first) - i64::from(start)),
                        },
                        _ => Seen::Changed,
                    }
                }
                None => Seen::Same { shift: 0 },
            },
        }
    }
}

/// Whether lines `start` to `end` of `before`, with those around them, stand in `now`.
fn stands(before: &str, start: usize, end: usize, now: &str) -> Seen {
    let flat = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    let (before, now) = (flat(before), flat(now));
    let first = start.saturating_sub(1 + MARGIN).min(before.len());
    let last = (end + MARGIN).min(before.len()).max(first);
    let wanted = &before[first..last];
    if wanted.is_empty() {
        return Seen::Changed;
    }
    let shift = |at: usize| i64::try_from(at).unwrap_or(0) - i64::try_from(first).unwrap_or(0);
    now.windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| *window == wanted)
        .map(|(at, _)| shift(at))
        .min_by_key(|shift| shift.abs())
        .map_or(Seen::Changed, |shift| Seen::Same { shift })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_moved_is_the_same_and_code_that_changed_is_not() {
        let before = "a\nb\nc\nd\ne\nf\ng\n";
        assert_eq!(stands(before, 4, 4, before), Seen::Same { shift: 0 });
        assert_eq!(
            stands(before, 4, 4, "x\ny\na\n b\nc\nd\ne\nf\n"),
            Seen::Same { shift: 2 }
        );
        assert_eq!(stands(before, 4, 4, "a\nb\nc\nD\ne\nf\ng\n"), Seen::Changed);
        assert_eq!(stands(before, 4, 4, "a\nb\nc\nd\nE\nf\ng\n"), Seen::Changed);
        assert_eq!(stands(before, 40, 41, before), Seen::Changed);
    }
}
