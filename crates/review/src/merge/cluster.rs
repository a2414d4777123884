//! Which findings are about one defect.

use std::collections::HashMap;

use super::similarity::{Features, LEARNED, NEAR, Weights, likeness};

/// Two findings with at least this score are about one defect. Learned: `deep-review eval` changes little between 0.35
/// and 0.5.
pub const THRESHOLD: f64 = 0.45;

/// The score from which two findings of the same reviewer are merged. It is high, because a reviewer lists two findings
/// for two defects, unless they are nearly identical (two passes of a reviewer, one rule in two versions of an analyser).
const SAME_REVIEWER: f64 = 0.98;

/// How much below the threshold the average between two groups may be. A larger value merges different defects over one
/// accidental likeness; a smaller one separates three reviewers if two of them word the defect differently.
const SLACK: f64 = 0.15;

/// Up to so many findings, each is compared with each. Agents find dozens; only analysers find more, and those can
/// only meet others in the same file.
const ALL_PAIRS: usize = 800;

/// In a file with many findings, each is compared with so many that follow it.
const NEXT_IN_FILE: usize = 64;

/// Scores below this are not kept.
const NOTHING: f64 = 0.01;

/// What makes two findings one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Of the parts of a likeness.
    pub weights: Weights,
    /// The score from which two findings are one.
    pub threshold: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            weights: LEARNED,
            threshold: THRESHOLD,
        }
    }
}

/// Decisions about pairs of findings, by their numbers, the smaller first: whether they are one defect.
pub type Decisions = HashMap<(usize, usize), bool>;

/// Groups findings by defect. `reviewers[i]` is the reviewer of finding `i`; the result contains indices. Each group and
/// the list of groups keep the order of the input.
///
/// Takes the pairs in descending order of score and merges two groups if their members are alike on average, so that one
/// accidental likeness between members does not merge two defects.
pub(crate) fn cluster(
    features: &[Features],
    reviewers: &[&str],
    Rule { weights, threshold }: Rule,
    decisions: &Decisions,
) -> Vec<Vec<usize>> {
    let mut scores: HashMap<(usize, usize), f64> = HashMap::new();
    for (a, b) in candidates(features) {
        let score = likeness(&features[a], &features[b]).score_by(&weights);
        if score >= NOTHING {
            scores.insert((a, b), score);
        }
    }
    for (pair, same) in decisions {
        scores.insert(*pair, f64::from(u8::from(*same)));
    }
    let needed = |a: usize, b: usize| {
        if other_rule(features, reviewers, a, b) {
            f64::INFINITY
        } else if reviewers[a] == reviewers[b] {
            SAME_REVIEWER
        } else {
            threshold
        }
    };
    let mut pairs: Vec<(f64, usize, usize)> = scores
        .iter()
        .filter(|((a, b), score)| **score >= needed(*a, *b))
        .map(|((a, b), score)| (*score, *a, *b))
        .collect();
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));

    let may_join = |a: &[usize], b: &[usize]| {
        let mut sum = 0.0;
        for x in a {
            for y in b {
                let pair = (*x.min(y), *x.max(y));
                let score = scores.get(&pair).copied().unwrap_or_default();
                // Decided to be two defects: no third finding makes them one.
                if decisions.get(&pair) == Some(&false) {
                    return false;
                }
                let needs_more = reviewers[*x] == reviewers[*y] && score < SAME_REVIEWER;
                if needs_more || other_rule(features, reviewers, *x, *y) {
                    return false;
                }
                sum += score;
            }
        }
        sum / (a.len() * b.len()) as f64 >= threshold - SLACK
    };
    let count = features.len();
    let mut group_of: Vec<usize> = (0..count).collect();
    let mut groups: Vec<Vec<usize>> = (0..count).map(|i| vec![i]).collect();
    for (_, a, b) in pairs {
        let (ga, gb) = (group_of[a], group_of[b]);
        if ga == gb || !may_join(&groups[ga], &groups[gb]) {
            continue;
        }
        let moved = std::mem::take(&mut groups[gb]);
        for member in &moved {
            group_of[*member] = ga;
        }
        groups[ga].extend(moved);
    }
    let mut result: Vec<Vec<usize>> = groups.into_iter().filter(|g| !g.is_empty()).collect();
    for group in &mut result {
        group.sort_unstable();
    }
    result.sort_by_key(|g| g[0]);
    result
}

/// Whether two rules of one analyser fired: two defects, even if the texts are alike.
fn other_rule(features: &[Features], reviewers: &[&str], a: usize, b: usize) -> bool {
    reviewers[a] == reviewers[b]
        && matches!((&features[a].rule, &features[b].rule), (Some(one), Some(other)) if one != other)
}

/// The pairs worth comparing, the smaller index first.
fn candidates(features: &[Features]) -> Vec<(usize, usize)> {
    let count = features.len();
    if count <= ALL_PAIRS {
        return (0..count)
            .flat_map(|a| (a + 1..count).map(move |b| (a, b)))
            .collect();
    }
    // By the last part of the path, since one reviewer may leave out the first folders; those without a place meet
    // each other.
    let mut by_file: HashMap<&str, Vec<(u32, usize)>> = HashMap::new();
    for (number, feature) in features.iter().enumerate() {
        if feature.locations.is_empty() {
            by_file.entry("").or_default().push((0, number));
        }
        for location in &feature.locations {
            let name = location.path.rsplit('/').next().unwrap_or("");
            let line = location.start.unwrap_or(0);
            by_file.entry(name).or_default().push((line, number));
        }
    }
    let mut pairs = Vec::new();
    for members in by_file.values_mut() {
        members.sort_unstable();
        for (at, (line, a)) in members.iter().enumerate() {
            for (other, b) in members.iter().skip(at + 1).take(NEXT_IN_FILE) {
                if *line > 0 && *other > line.saturating_add(4 * NEAR) {
                    break;
                }
                if a != b {
                    pairs.push((*a.min(b), *a.max(b)));
                }
            }
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}
