//! How well the merger does what the people who merged did.

use std::collections::HashSet;

use super::truth::{Target, Truth, same_reviewer};
use crate::merge;
use crate::model::Finding;
use crate::parse::markdown::ReportText;

/// How much there is, how much was found, how much of both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// In the truth.
    pub truth: usize,
    /// Found.
    pub found: usize,
    /// In both.
    pub both: usize,
}

impl Score {
    /// Share of what was found that is true; 1 when nothing was found.
    pub fn precision(&self) -> f64 {
        ratio(self.both, self.found)
    }

    /// Share of the truth that was found; 1 when there is none.
    pub fn recall(&self) -> f64 {
        ratio(self.both, self.truth)
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        ratio(2 * self.both, self.truth + self.found)
    }

    pub(super) fn add(&mut self, other: Score) {
        self.truth += other.truth;
        self.found += other.found;
        self.both += other.both;
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

/// What the merger did to one report.
#[derive(Clone, Debug, Default)]
pub struct Merging {
    /// Pairs of originals of two reviewers "same defect".
    pub pairs: Score,
    /// `(consolidated finding, reviewer)`.
    pub attribution: Score,
    /// `(consolidated finding, two reviewers)`, straight from the brackets: also those whose original is no finding.
    pub bracket_pairs: Score,
    /// Names in brackets; how many of them have an original behind them.
    pub slots: (usize, usize),
    /// A line for each pair that differs.
    pub misses: Vec<String>,
}

pub(super) fn measure(report: &ReportText, truth: &Truth<'_>, threshold: f64) -> Merging {
    let named: Vec<(&str, &Finding)> = truth
        .voices
        .iter()
        .map(|v| (v.reviewer.as_str(), v.finding))
        .collect();
    let groups = merge::group(&named, threshold);
    let mut result = pairs(truth, &groups, &named);
    attribution(report, truth, &groups, &mut result);
    result
}

fn pairs(truth: &Truth<'_>, groups: &[Vec<usize>], named: &[(&str, &Finding)]) -> Merging {
    let mut expected: HashSet<(usize, usize)> = HashSet::new();
    for a in 0..named.len() {
        for b in a + 1..named.len() {
            if named[a].0 != named[b].0
                && truth.targets[a].is_some()
                && truth.targets[a] == truth.targets[b]
            {
                expected.insert((a, b));
            }
        }
    }
    let mut merged: HashSet<(usize, usize)> = HashSet::new();
    for group in groups {
        for (i, a) in group.iter().enumerate() {
            for b in &group[i + 1..] {
                // An original behind nothing was dropped by the people who merged: nobody knows what it belongs to.
                let known = truth.targets[*a].is_some() && truth.targets[*b].is_some();
                if named[*a].0 != named[*b].0 && known {
                    merged.insert((*a, *b));
                }
            }
        }
    }
    let mut differ: Vec<&(usize, usize)> = expected.symmetric_difference(&merged).collect();
    differ.sort();
    let misses = differ
        .into_iter()
        .map(|(a, b)| {
            let kind = if expected.contains(&(*a, *b)) {
                "not merged"
            } else {
                "wrongly merged"
            };
            let alike = merge::compare(&[named[*a].1], &[named[*b].1]);
            let score = alike
                .first()
                .and_then(|r| r.first())
                .map_or(0.0, merge::Likeness::score);
            format!(
                "{kind}: {} {} {:?} | {} {} {:?} | score {score:.2}, evidence {:.2} {:.2}",
                named[*a].0,
                named[*a].1.id,
                named[*a].1.title,
                named[*b].0,
                named[*b].1.id,
                named[*b].1.title,
                truth.evidence[*a],
                truth.evidence[*b],
            )
        })
        .collect();
    Merging {
        pairs: Score {
            truth: expected.len(),
            found: merged.len(),
            both: expected.intersection(&merged).count(),
        },
        misses,
        ..Merging::default()
    }
}

/// Compares the reviewers in the brackets with those of the group that has most of the finding's originals.
fn attribution(
    report: &ReportText,
    truth: &Truth<'_>,
    groups: &[Vec<usize>],
    result: &mut Merging,
) {
    let known = report.reviewers();
    let mut names: Vec<&str> = truth.voices.iter().map(|v| v.reviewer.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for (number, finding) in report.consolidated.findings.iter().enumerate() {
        let bracket: HashSet<&str> = names
            .iter()
            .copied()
            .filter(|n| {
                finding
                    .reviewers
                    .iter()
                    .any(|r| same_reviewer(n, r, &known))
            })
            .collect();
        if bracket.is_empty() {
            continue;
        }
        let behind = |i: &usize| truth.targets[*i] == Some(Target::Finding(number));
        let explained: HashSet<&str> = (0..truth.voices.len())
            .filter(behind)
            .map(|i| truth.voices[i].reviewer.as_str())
            .collect();
        result.slots.0 += bracket.len();
        result.slots.1 += bracket.intersection(&explained).count();
        let group = groups
            .iter()
            .max_by_key(|g| g.iter().filter(|i| behind(i)).count())
            .filter(|g| g.iter().any(|i| behind(&i.clone())));
        let found: HashSet<&str> = group
            .into_iter()
            .flatten()
            .map(|i| truth.voices[*i].reviewer.as_str())
            .collect();
        result.attribution.add(Score {
            truth: bracket.len(),
            found: found.len(),
            both: bracket.intersection(&found).count(),
        });
        let two = |n: usize| n * n.saturating_sub(1) / 2;
        result.bracket_pairs.add(Score {
            truth: two(bracket.len()),
            found: two(found.len()),
            both: two(bracket.intersection(&found).count()),
        });
    }
}
