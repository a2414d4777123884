//! Cross-validation: merges each target's reports with weights and a threshold that were learned on all others.
//!
//! The weights are a logistic regression over the parts of a likeness, fitted by Newton's method with a small penalty;
//! the threshold is the value of a fixed list with the best F1 on the training reports. So a measured report has no
//! influence on the rule it is measured by; only the choice of the parts themselves was made on all reports.

use std::collections::BTreeMap;

use super::pairs::{self, Score};
use super::truth::{self, Truth};
use review::merge::{self, PARTS, Rule, Weights};
use review::model::Finding;
use review::parse::markdown::{ReportText, report};

/// The parts of a likeness, in the order of the weights.
pub const PART_NAMES: [&str; PARTS] = [
    "always",
    "other file",
    "lines",
    "quote",
    "words",
    "names",
    "title",
];

/// Thresholds to choose from.
const THRESHOLDS: [f64; 7] = [0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60];

/// The penalty, which keeps weights small that few examples support.
const PENALTY: f64 = 0.05;

/// The most iterations; Newton's method converges in fewer.
const STEPS: usize = 30;

/// One target left out.
#[derive(Clone, Debug)]
pub struct Fold {
    /// Its name.
    pub target: String,
    /// The number of reports about it.
    pub reports: usize,
    /// The weights and the threshold learned without it.
    pub rule: Rule,
    /// Pairs "same defect" of its reports, by that rule.
    pub pairs: Score,
    /// Pairs of names in brackets, by that rule.
    pub bracket_pairs: Score,
}

/// Leaves out each target in turn. `texts` are reports with the names of their files, which count only where a report
/// does not say what it is about.
#[must_use]
pub fn validate(texts: &[(String, String)]) -> Vec<Fold> {
    let reports: Vec<(String, ReportText)> = texts
        .iter()
        .map(|(name, text)| {
            let report = report(text);
            (target(&report, name), report)
        })
        .collect();
    let mut by_target: BTreeMap<&str, Vec<(&ReportText, Truth<'_>)>> = BTreeMap::new();
    for (target, report) in &reports {
        let truth = truth::truth(report);
        by_target.entry(target).or_default().push((report, truth));
    }
    let examples: BTreeMap<&str, Vec<Example>> = by_target
        .iter()
        .map(|(target, all)| {
            let examples = all.iter().flat_map(|(_, truth)| examples(truth));
            (*target, examples.collect())
        })
        .collect();
    by_target
        .iter()
        .map(|(left_out, mine)| {
            let others = || by_target.iter().filter(|(t, _)| t != &left_out);
            let learned: Vec<Example> = examples
                .iter()
                .filter(|(t, _)| t != &left_out)
                .flat_map(|(_, all)| all.iter().copied())
                .collect();
            let weights = fit(&learned);
            let rule = |threshold| Rule { weights, threshold };
            let threshold = THRESHOLDS
                .into_iter()
                .map(|threshold| {
                    let all = others().flat_map(|(_, reports)| reports);
                    (measure(all, rule(threshold)).0.f1(), threshold)
                })
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map_or(merge::THRESHOLD, |(_, threshold)| threshold);
            let (pairs, bracket_pairs) = measure(mine, rule(threshold));
            Fold {
                target: (*left_out).to_owned(),
                reports: mine.len(),
                rule: rule(threshold),
                pairs,
                bracket_pairs,
            }
        })
        .collect()
}

/// Returns the target of a report: the name after its round (`1 (of pr-10617)`), else the part of its file's name after
/// the time. `PR #242` and `pr-242` are the same pull request; without the repository, which some reports omit, two
/// requests of the same number count as one target, so that cross-validation only leaves more out.
fn target(report: &ReportText, file: &str) -> String {
    let round = report.field("Round").unwrap_or_default();
    let said = round
        .split_once("(of ")
        .map(|(_, name)| name.split(')').next().unwrap_or_default().trim())
        // The name in a report that did not know its target.
        .filter(|name| !name.is_empty() && *name != "target");
    let name =
        said.unwrap_or_else(|| file.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-'));
    let name = name.to_lowercase();
    match name.strip_prefix("pr") {
        Some(rest) if rest.chars().any(|c| c.is_ascii_digit()) => {
            let number: String = rest.chars().filter(char::is_ascii_digit).collect();
            format!("pr-{number}")
        }
        _ => name,
    }
}

fn measure<'a>(
    reports: impl IntoIterator<Item = &'a (&'a ReportText, Truth<'a>)>,
    rule: Rule,
) -> (Score, Score) {
    let (mut pairs, mut brackets) = (Score::default(), Score::default());
    for (report, truth) in reports {
        let merging = pairs::measure(report, truth, rule);
        pairs.add(merging.pairs);
        brackets.add(merging.bracket_pairs);
    }
    (pairs, brackets)
}

type Example = ([f64; PARTS], bool);

/// Returns the pairs of one report whose truth is known.
fn examples(truth: &Truth<'_>) -> Vec<Example> {
    let findings: Vec<&Finding> = truth.voices.iter().map(|v| v.finding).collect();
    let alike = merge::among(&findings);
    let mut result = Vec::new();
    for (one, other, likeness) in alike {
        let (a, b) = (truth.targets[one], truth.targets[other]);
        let strangers = truth.voices[one].reviewer != truth.voices[other].reviewer;
        if strangers && !likeness.apart && a.is_some() && b.is_some() {
            result.push((likeness.parts(), a == b));
        }
    }
    result
}

/// Fits the weights.
fn fit(examples: &[Example]) -> Weights {
    let mut weights = [0.0; PARTS];
    let count = examples.len().max(1) as f64;
    for _ in 0..STEPS {
        let mut gradient = weights.map(|w| -PENALTY * w / count);
        let mut curve = [[0.0; PARTS]; PARTS];
        for (at, row) in curve.iter_mut().enumerate() {
            row[at] = PENALTY / count;
        }
        for (parts, same) in examples {
            let odds: f64 = parts.iter().zip(&weights).map(|(p, w)| p * w).sum();
            let chance = 1.0 / (1.0 + (-odds).exp());
            let wrong = f64::from(u8::from(*same)) - chance;
            for (i, part) in parts.iter().enumerate() {
                gradient[i] += wrong * part / count;
                for (j, other) in parts.iter().enumerate() {
                    curve[i][j] += chance * (1.0 - chance) * part * other / count;
                }
            }
        }
        let step = solve(curve, gradient);
        for (weight, change) in weights.iter_mut().zip(step) {
            *weight += change;
        }
        if step.iter().all(|change| change.abs() < 1e-6) {
            break;
        }
    }
    Weights(weights)
}

/// Solves a small system of linear equations by elimination. The penalty keeps it from being singular.
fn solve(mut matrix: [[f64; PARTS]; PARTS], mut right: [f64; PARTS]) -> [f64; PARTS] {
    for column in 0..PARTS {
        let pivot = (column..PARTS)
            .max_by(|a, b| {
                matrix[*a][column]
                    .abs()
                    .total_cmp(&matrix[*b][column].abs())
            })
            .unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (top, value) = (matrix[column], right[column]);
        if top[column] == 0.0 {
            continue;
        }
        for row in column + 1..PARTS {
            let factor = matrix[row][column] / top[column];
            for (cell, above) in matrix[row].iter_mut().zip(top) {
                *cell -= factor * above;
            }
            right[row] -= factor * value;
        }
    }
    let mut result = [0.0; PARTS];
    for row in (0..PARTS).rev() {
        let known: f64 = (row + 1..PARTS).map(|c| matrix[row][c] * result[c]).sum();
        if matrix[row][row] != 0.0 {
            result[row] = (right[row] - known) / matrix[row][row];
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_names_are_normalised() {
        let named = |round: &str, file: &str| {
            let text =
                format!("# R\n\n| | |\n|---|---|\n| **Round** | {round} |\n\n## Suggestions\n");
            target(&report(&text), file)
        };
        for (round, file, name) in [
            ("2 (of PR #242)", "20260101-000000-x", "pr-242"),
            ("2 (of pr-242)", "20260101-000000-x", "pr-242"),
            ("1 (of target)", "20260101-000000-pr-242", "pr-242"),
            ("1", "20260101-000000-stats-tab", "stats-tab"),
            ("1 (of Print-all)", "y", "print-all"),
        ] {
            assert_eq!(named(round, file), name);
        }
    }

    #[test]
    fn linear_equations_are_solved() {
        let mut matrix = [[0.0; PARTS]; PARTS];
        for (at, row) in matrix.iter_mut().enumerate() {
            row[at] = 2.0;
            row[(at + 1) % PARTS] = 1.0;
        }
        let wanted = [1.0, -2.0, 3.0, 0.5, 0.0, 4.0, -1.0];
        let right = matrix.map(|row| row.iter().zip(wanted).map(|(m, x)| m * x).sum());
        for (found, wanted) in solve(matrix, right).into_iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
    }

    #[test]
    fn deciding_part_gets_the_weight() {
        // The words decide, the lines do not; one example in ten is reversed.
        let examples: Vec<Example> = (0..400)
            .map(|n: u32| {
                let words = f64::from(n % 2);
                let lines = f64::from(n / 2 % 2);
                let same = (words > 0.5) != n.is_multiple_of(10);
                ([1.0, 0.0, lines, 0.0, words, 0.0, 0.0], same)
            })
            .collect();
        let Weights(weights) = fit(&examples);
        assert!(weights[4] > 2.0, "{weights:?}");
        assert!(weights[2].abs() < 0.5, "{weights:?}");
        assert!(weights[0] < -1.0, "{weights:?}");
    }
}
