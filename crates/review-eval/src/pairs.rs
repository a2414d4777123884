//! Measures how well the merger reproduces what people merged.

use std::collections::{BTreeMap, HashSet};

use super::truth::{Target, Truth, same_reviewer};
use review::merge;
use review::model::Finding;
use review::parse::markdown::ReportText;

/// The numbers of items in the truth, found, and in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// The number in the truth.
    pub truth: usize,
    /// The number found.
    pub found: usize,
    /// The number in both.
    pub both: usize,
}

impl Score {
    /// Returns the precision: the share of found items that are true; 1 if none was found.
    pub fn precision(&self) -> f64 {
        ratio(self.both, self.found)
    }

    /// Returns the recall: the share of true items that were found; 1 if there are none.
    pub fn recall(&self) -> f64 {
        ratio(self.both, self.truth)
    }

    /// Returns the harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        ratio(2 * self.both, self.truth + self.found)
    }

    /// Adds another score.
    pub fn add(&mut self, other: Score) {
        self.truth += other.truth;
        self.found += other.found;
        self.both += other.both;
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "precision {:.3}  recall {:.3}  F1 {:.3}  ({} true, {} found, {} both)",
            self.precision(),
            self.recall(),
            self.f1(),
            self.truth,
            self.found,
            self.both
        )
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

/// The merger's figures for one report.
#[derive(Clone, Debug, Default)]
pub struct Merging {
    /// Pairs of originals of two reviewers "same defect".
    pub pairs: Score,
    /// `(consolidated finding, reviewer)`.
    pub attribution: Score,
    /// `(consolidated finding, two reviewers)`, from the brackets alone: includes names whose original is no finding.
    pub bracket_pairs: Score,
    /// Names in brackets, and how many of them have an original.
    pub slots: (usize, usize),
    /// The causes of differing pairs of names in brackets, counted by class.
    pub classes: BTreeMap<&'static str, usize>,
    /// A line for each pair that differs.
    pub misses: Vec<String>,
}

pub(super) fn measure(report: &ReportText, truth: &Truth<'_>, rule: merge::Rule) -> Merging {
    let named: Vec<(&str, &Finding)> = truth
        .voices
        .iter()
        .map(|v| (v.reviewer.as_str(), v.finding))
        .collect();
    let groups = merge::group(&named, rule);
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
                // People dropped an original without a consolidated finding, so its finding is unknown.
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
        let members: Vec<usize> = group.into_iter().flatten().copied().collect();
        let found: HashSet<&str> = members
            .iter()
            .map(|i| truth.voices[*i].reviewer.as_str())
            .collect();
        classify(
            truth,
            number,
            &bracket,
            &explained,
            &members,
            &mut result.classes,
        );
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

/// Counts why pairs of names in brackets differ from those of the merger's group.
fn classify(
    truth: &Truth<'_>,
    number: usize,
    bracket: &HashSet<&str>,
    explained: &HashSet<&str>,
    members: &[usize],
    classes: &mut BTreeMap<&'static str, usize>,
) {
    let name = |i: &usize| truth.voices[*i].reviewer.as_str();
    let found: HashSet<&str> = members.iter().map(name).collect();
    let free = |reviewer: &str| {
        (0..truth.voices.len()).any(|i| name(&i) == reviewer && truth.targets[i].is_none())
    };
    let mut all: Vec<&str> = bracket.union(&found).copied().collect();
    all.sort_unstable();
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            let both = |set: &HashSet<&str>| set.contains(one) && set.contains(other);
            let class = match (both(bracket), both(&found)) {
                (true, false) => {
                    let without: Vec<&str> = [*one, *other]
                        .into_iter()
                        .filter(|r| !explained.contains(r))
                        .collect();
                    match without.iter().any(|r| !free(r)) {
                        _ if without.is_empty() => "missed: two originals that were not merged",
                        true => "missed: a name without an original",
                        false => "missed: a name whose originals are too unlike to be assigned",
                    }
                }
                (false, true) => {
                    let goals: Vec<Option<Target>> = members
                        .iter()
                        .filter(|i| !bracket.contains(name(i)))
                        .map(|i| truth.targets[*i])
                        .collect();
                    let elsewhere = |goal: &Option<Target>| matches!(goal, Some(Target::Finding(n)) if *n != number);
                    if goals.iter().any(elsewhere) {
                        "added: an original of another finding"
                    } else if goals.iter().any(Option::is_some) {
                        "added: an original of a design concern"
                    } else {
                        "added: an original that the report names nowhere"
                    }
                }
                _ => continue,
            };
            *classes.entry(class).or_default() += 1;
        }
    }
}
