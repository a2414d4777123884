//! Measures the parser and the merger against reports that people merged.
//!
//! Three truths: an independent count of the findings ([`count`]), the assignment of originals to consolidated findings
//! (`truth`), and the reviewers that a consolidated finding names. docs/deep-review.md says how reliable they are.

mod assign;
mod count;
pub mod cross;
mod pairs;
mod truth;

pub use count::{Counted, count};
pub use pairs::{Merging, Score};

use review::merge;
use review::model::{Finding, Severity};
use review::parse::markdown::{ReportText, report};

/// The figures of one report.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Consolidated findings, counted and extracted with title, severity and file.
    pub consolidated: Score,
    /// The same for the originals' findings.
    pub originals: Score,
    /// Names in the `Reviewers` row, and how many of them have an original text.
    pub reviewers: (usize, usize),
    /// Merging.
    pub merging: Merging,
    /// How often the severity rule gives the severity that people chose, of the groups of several reviewers.
    pub severity: Score,
    /// Findings that were missed or not counted, one line each.
    pub misses: Vec<String>,
}

impl Outcome {
    /// Adds another report's figures, without its misses.
    pub fn add(&mut self, other: &Outcome) {
        self.consolidated.add(other.consolidated);
        self.originals.add(other.originals);
        self.reviewers.0 += other.reviewers.0;
        self.reviewers.1 += other.reviewers.1;
        self.merging.pairs.add(other.merging.pairs);
        self.merging.attribution.add(other.merging.attribution);
        self.merging.bracket_pairs.add(other.merging.bracket_pairs);
        self.merging.slots.0 += other.merging.slots.0;
        self.merging.slots.1 += other.merging.slots.1;
        for (class, count) in &other.merging.classes {
            *self.merging.classes.entry(class).or_default() += count;
        }
        self.severity.add(other.severity);
    }
}

impl Outcome {
    /// Returns the figures, a line each, with the required values.
    pub fn totals(&self) -> String {
        let share = |name: &str, s: Score| {
            format!(
                "{name:<34} {:>5} of {:>5}  {:>6.1} %\n",
                s.both,
                s.truth,
                100.0 * s.recall()
            )
        };
        let f1 = |name: &str, s: Score| format!("{name:<34} {s}\n");
        let merging = &self.merging;
        let mut text = share("consolidated findings extracted", self.consolidated);
        text.push_str(&share("originals' findings extracted", self.originals));
        text.push_str(&format!(
            "{:<34} {:>5} of {:>5}\n",
            "reviewers with an original", self.reviewers.1, self.reviewers.0
        ));
        text.push_str(&f1("pairs \"same defect\"", merging.pairs));
        text.push_str(&f1("attribution (finding, reviewer)", merging.attribution));
        text.push_str(&f1("pairs of names in brackets", merging.bracket_pairs));
        for (class, count) in &merging.classes {
            text.push_str(&format!("    {class:<66} {count:>4}\n"));
        }
        text.push_str(&format!(
            "{:<34} {:>5} of {:>5}\n",
            "names in brackets with an original", merging.slots.1, merging.slots.0
        ));
        text.push_str(&share("severity as people chose it", self.severity));
        text
    }

    /// Returns the figures as JSON.
    pub fn as_json(&self, reports: usize) -> serde_json::Value {
        let score = |s: Score| {
            serde_json::json!({"true": s.truth, "found": s.found, "both": s.both,
                "precision": s.precision(), "recall": s.recall(), "f1": s.f1()})
        };
        serde_json::json!({
            "reports": reports,
            "consolidated": score(self.consolidated),
            "originals": score(self.originals),
            "pairs": score(self.merging.pairs),
            "attribution": score(self.merging.attribution),
            "bracket_pairs": score(self.merging.bracket_pairs),
            "severity": score(self.severity),
        })
    }
}

/// Measures one report.
pub fn evaluate(text: &str, threshold: f64) -> Outcome {
    let rule = merge::Rule {
        threshold,
        ..merge::Rule::default()
    };
    let report = report(text);
    let mut outcome = Outcome::default();
    let counted = count(before_appendix(text));
    outcome.consolidated = extraction(
        "consolidated",
        &counted,
        &report.consolidated.findings,
        &mut outcome.misses,
    );
    for original in &report.originals {
        let counted = count(&original.text);
        outcome.originals.add(extraction(
            &original.reviewer,
            &counted,
            &original.review.findings,
            &mut outcome.misses,
        ));
    }
    let names = report.reviewers();
    outcome.reviewers = (
        names.len(),
        names
            .iter()
            .filter(|n| {
                report
                    .originals
                    .iter()
                    .any(|o| truth::same_reviewer(&o.reviewer, n, &names))
            })
            .count(),
    );
    let truth = truth::truth(&report);
    outcome.merging = pairs::measure(&report, &truth, rule);
    outcome.severity = severity(&report, &truth);
    outcome
}

/// Returns the text before the reviewers' originals.
fn before_appendix(text: &str) -> &str {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with('#')
            && line
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .starts_with("appendix")
        {
            return &text[..at];
        }
        at += line.len();
    }
    text
}

/// Returns how many of the counted findings the parser has with the same title, severity and file.
fn extraction(
    reviewer: &str,
    counted: &[Counted],
    parsed: &[Finding],
    misses: &mut Vec<String>,
) -> Score {
    let mut taken = vec![false; parsed.len()];
    let mut both = 0;
    for one in counted {
        let found = (0..parsed.len())
            .find(|i| !taken[*i] && count::same_title(&parsed[*i].title, &one.title));
        let Some(at) = found else {
            misses.push(format!(
                "not extracted: {reviewer} {} {:?}",
                one.id, one.title
            ));
            continue;
        };
        taken[at] = true;
        let finding = &parsed[at];
        if one.severity != '?' && one.severity != letter(finding.severity) {
            misses.push(format!(
                "another severity: {reviewer} {} {:?}: counted {}, extracted {:?}",
                one.id, one.title, one.severity, finding.severity
            ));
            continue;
        }
        if !one.file.is_empty() && !finding.locations.iter().any(|l| l.path == one.file) {
            misses.push(format!(
                "another file: {reviewer} {} {:?}: counted {}, extracted {:?}",
                one.id,
                one.title,
                one.file,
                finding.locations.first().map(|l| &l.path)
            ));
            continue;
        }
        both += 1;
    }
    for (at, finding) in parsed.iter().enumerate() {
        if !taken[at] {
            misses.push(format!(
                "not counted: {reviewer} {} {:?}",
                finding.id, finding.title
            ));
        }
    }
    Score {
        truth: counted.len(),
        found: parsed.len(),
        both,
    }
}

fn letter(severity: Severity) -> char {
    match severity {
        Severity::Critical => 'c',
        Severity::Important => 'i',
        Severity::Suggestion => 's',
    }
}

/// Joins the originals behind each consolidated finding of several reviewers, as the merger would, and compares the
/// severity with the one that people chose.
fn severity(report: &ReportText, truth: &truth::Truth<'_>) -> Score {
    let mut score = Score::default();
    for (number, finding) in report.consolidated.findings.iter().enumerate() {
        let voices: Vec<review::model::Voice> = (0..truth.voices.len())
            .filter(|i| truth.targets[*i] == Some(truth::Target::Finding(number)))
            .map(|i| review::model::Voice {
                reviewer: truth.voices[i].reviewer.clone(),
                analyser: false,
                finding: truth.voices[i].finding.clone(),
            })
            .collect();
        if voices.len() > 1 {
            score.truth += 1;
            score.found += 1;
            let merged = merge::join(voices);
            score.both += usize::from(merged.is_some_and(|m| m.severity == finding.severity));
        }
    }
    score
}
