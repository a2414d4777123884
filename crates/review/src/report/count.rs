//! Figures about a report: by severity, by reviewer, by file, by pair of reviewers, by round.

use std::collections::BTreeMap;

use crate::model::{
    Finding, History, MergedFinding, Note, Report, Review, ReviewerRun, Round, Severity,
};
use crate::standing::{Standing, counts, gate, is_open, standing, standing_of};

/// The three severities in the order of the report.
pub(super) const SEVERITIES: [Severity; 3] = [
    Severity::Critical,
    Severity::Important,
    Severity::Suggestion,
];

/// A severity as a word.
pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Important => "important",
        Severity::Suggestion => "suggestion",
    }
}

/// `1 finding`, `2 findings`.
pub(super) fn plural(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

/// How many findings of a severity count for the verdict.
pub(super) fn counting(report: &Report, severity: Severity) -> usize {
    report
        .findings
        .iter()
        .filter(|f| gate(f) == severity && counts(f))
        .count()
}

/// How many findings of a severity are open, refuted ones included.
pub(super) fn open(report: &Report, severity: Severity) -> usize {
    report
        .findings
        .iter()
        .filter(|f| f.severity == severity && is_open(f))
        .count()
}

/// `1 critical`, `3 important`, `2 suggestions`: the open findings of each severity that has any.
pub(super) fn by_severity(report: &Report) -> Vec<String> {
    SEVERITIES
        .into_iter()
        .filter(|s| open(report, *s) > 0)
        .map(|s| match s {
            Severity::Suggestion => plural(open(report, s), word(s)),
            _ => format!("{} {}", open(report, s), word(s)),
        })
        .collect()
}

/// The reviewers with a usable review.
pub(super) fn finished(report: &Report) -> Vec<&ReviewerRun> {
    report
        .reviewers
        .iter()
        .filter(|r| r.outcome.is_answer())
        .collect()
}

/// The reviewers without one, with the reason: `failed: …`, `missing: …`.
pub(super) fn absent(report: &Report) -> Vec<(&str, String)> {
    report
        .reviewers
        .iter()
        .filter(|r| !r.outcome.is_answer())
        .map(|r| (r.name.as_str(), with_reason(r)))
        .collect()
}

/// The outcome with its reason: `failed: …`.
pub(super) fn with_reason(run: &ReviewerRun) -> String {
    match run.outcome.trouble() {
        Some(reason) => format!("{}: {reason}", run.outcome.word()),
        None => run.outcome.word().to_owned(),
    }
}

/// What one reviewer came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Critical, important, suggestions as the reviewer judged.
    pub(super) by_severity: [usize; 3],
    /// Merged findings that no other reviewer raised and no check refuted.
    pub(super) unique: usize,
    /// What they said and a check refuted; `None`: nothing they said was checked.
    pub(super) false_positives: Option<usize>,
    /// What they judged worse than the report does.
    pub(super) downgraded: usize,
    /// Changed files they say they read; `None`: they say nothing of files, or the changed files are unknown.
    pub(super) files_covered: Option<usize>,
    /// Of these, files where only others found something.
    pub(super) missed_files: Option<usize>,
    /// Strengths and concerns.
    pub(super) observations: usize,
}

impl Figures {
    /// `1C 2I 3S`, or `none`.
    pub(super) fn short(&self) -> String {
        let parts: Vec<String> = self
            .by_severity
            .iter()
            .zip(["C", "I", "S"])
            .filter(|(n, _)| **n > 0)
            .map(|(n, letter)| format!("{n}{letter}"))
            .collect();
        if parts.is_empty() {
            "none".to_owned()
        } else {
            parts.join(" ")
        }
    }
}

/// The figures of one reviewer.
pub(super) fn figures(report: &Report, run: &ReviewerRun) -> Figures {
    let mut result = Figures::default();
    for finding in &report.findings {
        let own: Vec<&Finding> = voices_of(finding, &run.name);
        if own.is_empty() {
            continue;
        }
        for said in &own {
            result.by_severity[said.severity as usize] += 1;
            if !said.checks.is_empty() {
                let refuted = usize::from(standing_of(said) == Standing::Refuted);
                *result.false_positives.get_or_insert(0) += refuted;
            }
            result.downgraded += usize::from(said.severity < finding.severity);
        }
        let alone = finding.reviewers().len() == 1;
        result.unique += usize::from(alone && standing(finding) != Standing::Refuted);
    }
    let known = !run.review.coverage.is_empty() && !report.target.files.is_empty();
    let (mut covered, mut missed) = (0, 0);
    for path in &report.target.files {
        let Some(status) = status(&run.review, path) else {
            continue;
        };
        if is_unread(status) {
            continue;
        }
        covered += 1;
        let others = report
            .findings
            .iter()
            .any(|f| counts(f) && names(f, path) && !f.reviewers().contains(&run.name.as_str()));
        let own = report
            .findings
            .iter()
            .any(|f| names(f, path) && f.reviewers().contains(&run.name.as_str()));
        missed += usize::from(others && !own);
    }
    (result.files_covered, result.missed_files) =
        (known.then_some(covered), known.then_some(missed));
    result.observations = run.review.strengths.len() + run.review.concerns.len();
    result
}

fn voices_of<'a>(finding: &'a MergedFinding, name: &str) -> Vec<&'a Finding> {
    finding
        .voices
        .iter()
        .filter(|v| v.reviewer == name)
        .map(|v| &v.finding)
        .collect()
}

/// What a review says of a file.
pub(super) fn status<'a>(review: &'a Review, path: &str) -> Option<&'a str> {
    review
        .coverage
        .iter()
        .find(|c| c.path == path)
        .map(|c| c.status.as_str())
}

fn is_unread(status: &str) -> bool {
    let status = status.to_lowercase();
    ["not reviewed", "unreviewed", "skipped", "not read"]
        .iter()
        .any(|s| status.starts_with(s))
}

/// Whether one of the finding's places is in the file.
pub(super) fn names(finding: &MergedFinding, path: &str) -> bool {
    finding.lead.locations.iter().any(|l| l.path == path)
}

/// Shared findings for each pair of reviewers, in the order of `names`; on the diagonal what each raised at all.
pub(super) fn agreement(report: &Report, names: &[&str]) -> Vec<Vec<usize>> {
    let mut result = vec![vec![0; names.len()]; names.len()];
    for finding in &report.findings {
        let behind = finding.reviewers();
        let behind: Vec<bool> = names.iter().map(|n| behind.contains(n)).collect();
        for (a, row) in result.iter_mut().enumerate() {
            for (b, cell) in row.iter_mut().enumerate() {
                *cell += usize::from(behind[a] && behind[b]);
            }
        }
    }
    result
}

/// Earlier rounds and this one, oldest first.
pub(super) fn rounds(report: &Report) -> Vec<Round> {
    let mut all: BTreeMap<u32, Round> = report
        .rounds
        .iter()
        .filter(|r| r.number < report.round)
        .map(|r| (r.number, r.clone()))
        .collect();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let closed = |wanted: fn(&History) -> bool| {
        number(
            report
                .closed
                .iter()
                .chain(&report.findings)
                .filter(|f| wanted(&f.history))
                .count(),
        )
    };
    all.insert(
        report.round,
        Round {
            number: report.round,
            date: report.date.clone(),
            head: report.target.head.clone(),
            critical: number(open(report, Severity::Critical)),
            important: number(open(report, Severity::Important)),
            suggestions: number(open(report, Severity::Suggestion)),
            fixed: closed(|h| matches!(h, History::Fixed { .. })),
            declined: closed(|h| matches!(h, History::Declined { .. })),
        },
    );
    all.into_values().collect()
}

/// One kind of note from every reviewer, each text once, with the reviewers that said it.
pub(super) fn notes(report: &Report, of: fn(&Review) -> &Vec<Note>) -> Vec<Note> {
    let mut result: Vec<Note> = Vec::new();
    for run in &report.reviewers {
        for note in of(&run.review) {
            let mut names = note.reviewers.clone();
            if names.is_empty() {
                names.push(run.name.clone());
            }
            match result.iter_mut().find(|n| n.text == note.text) {
                Some(same) => {
                    for name in names {
                        if !same.reviewers.contains(&name) {
                            same.reviewers.push(name);
                        }
                    }
                }
                None => result.push(Note {
                    text: note.text.clone(),
                    reviewers: names,
                }),
            }
        }
    }
    result
}

/// Every file the report knows of: the changed ones first, then those that only findings name.
pub(super) fn files(report: &Report) -> Vec<&str> {
    let changed = report.target.files.iter().map(String::as_str);
    let of_changes = report.target.changes.iter().map(|c| c.path.as_str());
    let named = report
        .findings
        .iter()
        .flat_map(|f| &f.lead.locations)
        .map(|l| l.path.as_str());
    let mut result: Vec<&str> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for path in changed.chain(of_changes).chain(named) {
        if seen.insert(path) {
            result.push(path);
        }
    }
    result
}

/// `1 h 2 min`, `3 min 20 s`, `4.2 s`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_owned();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    // Whole seconds of a run fit.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite and positive, and a cast of a float saturates"
    )]
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, m) => format!("{m} min {rest} s"),
        (h, m) => format!("{h} h {m} min"),
    }
}

/// `12.3 k`, `1.2 M`, `950`.
pub(super) fn tokens(number: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let n = number as f64;
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{:.1} k", n / 1e3),
        _ => format!("{:.1} M", n / 1e6),
    }
}
