//! Figures about each reviewer over many reports.
//!
//! Findings, whether the report contains them, whether another reviewer raised them, and their resolutions are counted in
//! the texts. False positives, downgrades, duration and cost come from the report's table of performance, because only
//! the report's authors know them.

mod cell;
mod plot;
mod table;

use std::collections::BTreeMap;

pub use cell::{count, seconds};
pub use plot::svg;
pub use table::table;

use crate::merge;
use crate::model::{History, Report};
use crate::parse::markdown::ReportText;

/// One reviewer's figures.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Stats {
    /// The name as it is in the reports, or the vendor alone.
    pub reviewer: String,
    /// Reports the reviewer took part in.
    pub reports: usize,
    /// Reports in which no usable review is.
    pub failed: usize,
    /// Findings in the reviewer's own texts.
    pub findings: usize,
    /// Findings of the reports that name the reviewer.
    pub reported: usize,
    /// Of these, those that name no other reviewer.
    pub unique: usize,
    /// Of the reported ones that were answered: fixed, tested, documented or commented.
    pub confirmed: usize,
    /// Of the reported ones that were answered: skipped or declined.
    pub declined: usize,
    /// As the reports' tables say; `None`: no table says anything.
    pub false_positives: Option<usize>,
    /// As the reports' tables say, or reported with a lower severity than the reviewer gave.
    pub downgraded: Option<usize>,
    /// US dollars, of the reports that say.
    pub cost_usd: Option<f64>,
    /// Wall-clock seconds of each report that says.
    pub seconds: Vec<f64>,
}

impl Stats {
    /// The middle one of the durations.
    pub fn median_seconds(&self) -> Option<f64> {
        let mut all = self.seconds.clone();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }
}

/// How reviewers' names are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `Claude Opus 4.6` and `Claude Opus 4.7` are `claude`.
    Vendor,
    /// Each name for itself.
    Name,
}

/// Collects figures over reports.
pub struct Collector {
    by: By,
    all: BTreeMap<String, Stats>,
}

impl Collector {
    /// Creates empty figures.
    pub fn new(by: By) -> Self {
        Self {
            by,
            all: BTreeMap::new(),
        }
    }

    fn key(&self, name: &str) -> String {
        let name = name.trim().trim_start_matches('[').trim_end_matches(']');
        match self.by {
            By::Name => name.to_owned(),
            By::Vendor => vendor(name),
        }
    }

    fn of(&mut self, name: &str) -> &mut Stats {
        let key = self.key(name);
        let stats = self.all.entry(key.clone()).or_default();
        stats.reviewer = key;
        stats
    }

    /// Adds a report in Markdown, as people and earlier tools wrote them.
    pub fn add_text(&mut self, text: &ReportText) {
        let known = text.reviewers();
        let full = |name: &str| {
            known
                .iter()
                .find(|k| k.eq_ignore_ascii_case(name))
                .or_else(|| {
                    let mut same = known.iter().filter(|k| vendor(k) == vendor(name));
                    same.next().filter(|_| same.next().is_none())
                })
                .cloned()
                .unwrap_or_else(|| name.to_owned())
        };
        let mut names: Vec<String> = known.clone();
        names.extend(text.originals.iter().map(|o| full(&o.reviewer)));
        let mut keys: Vec<String> = names.iter().map(|n| self.key(n)).collect();
        keys.sort();
        keys.dedup();
        for key in &keys {
            self.of(key).reports += 1;
        }
        for original in &text.originals {
            let stats = self.of(&full(&original.reviewer));
            stats.findings += original.review.findings.len();
        }
        for finding in &text.consolidated.findings {
            let mut behind: Vec<String> = finding
                .reviewers
                .iter()
                .map(|r| self.key(&full(r)))
                .filter(|k| keys.contains(k))
                .collect();
            behind.sort();
            behind.dedup();
            let answer = text
                .answers
                .iter()
                .find(|a| same_finding(&a.id, &a.title, finding));
            for key in &behind {
                let stats = self.of(key);
                stats.reported += 1;
                stats.unique += usize::from(behind.len() == 1);
                match answer.and_then(|a| answered(&a.action)) {
                    Some(true) => stats.confirmed += 1,
                    Some(false) => stats.declined += 1,
                    None => {}
                }
            }
        }
        for name in &known {
            let Some(column) = column(text, name) else {
                continue;
            };
            let stats = self.of(name);
            let sum = |into: &mut Option<usize>, row: &str| {
                if let Some(n) = column.get(row).and_then(|c| count(c)) {
                    *into = Some(into.unwrap_or(0) + n);
                }
            };
            sum(&mut stats.false_positives, "false positives");
            sum(&mut stats.downgraded, "downgraded");
            stats
                .seconds
                .extend(column.get("duration").and_then(|d| seconds(d)));
            if let Some(cost) = column.get("cost").and_then(|c| cell::dollars(c)) {
                stats.cost_usd = Some(stats.cost_usd.unwrap_or(0.0) + cost);
            }
        }
    }

    /// Adds one of our own reports.
    pub fn add_report(&mut self, report: &Report) {
        for run in &report.reviewers {
            let stats = self.of(&run.name);
            stats.reports += 1;
            stats.failed += usize::from(!run.outcome.is_answer());
            stats.findings += run.review.findings.len();
            stats.seconds.extend(run.performance.seconds);
            if let Some(cost) = run.performance.cost_usd {
                stats.cost_usd = Some(stats.cost_usd.unwrap_or(0.0) + cost);
            }
        }
        for finding in report.findings.iter().chain(&report.closed) {
            let behind: Vec<String> = finding.reviewers().into_iter().map(str::to_owned).collect();
            for name in &behind {
                let refuted = merge::is_refuted(finding);
                let stats = self.of(name);
                stats.reported += 1;
                stats.unique += usize::from(behind.len() == 1);
                *stats.false_positives.get_or_insert(0) += usize::from(refuted);
                match finding.history {
                    History::Fixed { .. } => stats.confirmed += 1,
                    History::Declined { .. } => stats.declined += 1,
                    History::New | History::Open { .. } => {}
                }
            }
            for voice in &finding.voices {
                let down = voice.finding.severity < finding.severity;
                *self.of(&voice.reviewer).downgraded.get_or_insert(0) += usize::from(down);
            }
        }
    }

    /// The figures, the reviewer with the most reported findings first.
    pub fn finish(self) -> Vec<Stats> {
        let mut all: Vec<Stats> = self.all.into_values().collect();
        all.sort_by(|a, b| {
            b.reported
                .cmp(&a.reported)
                .then(a.reviewer.cmp(&b.reviewer))
        });
        all
    }
}

/// The first word of a name, in lower case.
fn vendor(name: &str) -> String {
    name.split(|c: char| !c.is_alphabetic())
        .find(|w| !w.is_empty())
        .unwrap_or(name)
        .to_lowercase()
}

/// A reviewer's column in the report's tables of performance: the rows' names in lower case, and the cells.
pub fn column(text: &ReportText, reviewer: &str) -> Option<BTreeMap<String, String>> {
    let mut result = BTreeMap::new();
    for table in &text.performance {
        let named = |exact: bool| {
            table.header.iter().position(|h| {
                let h = h.trim_matches(['[', ']']);
                if exact {
                    h.eq_ignore_ascii_case(reviewer)
                } else {
                    !h.is_empty() && vendor(h) == vendor(reviewer)
                }
            })
        };
        let Some(at) = named(true).or_else(|| named(false)) else {
            continue;
        };
        for row in &table.rows {
            if let (Some(name), Some(cell)) = (row.first(), row.get(at)) {
                result
                    .entry(name.to_lowercase())
                    .or_insert_with(|| cell.clone());
            }
        }
    }
    (!result.is_empty()).then_some(result)
}

fn same_finding(id: &str, title: &str, finding: &crate::model::Finding) -> bool {
    let letters = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .take(30)
            .collect()
    };
    if !title.is_empty() && letters(title) == letters(&finding.title) {
        return true;
    }
    // In the numbered dialect the table says `Important #1`, the finding only `1`.
    let number = id.trim_start_matches(['C', 'I', 'S']);
    let letter = match finding.severity {
        crate::model::Severity::Critical => "C",
        crate::model::Severity::Important => "I",
        crate::model::Severity::Suggestion => "S",
    };
    !number.is_empty()
        && id.starts_with(letter)
        && finding.id.trim_start_matches(['C', 'I', 'S']) == number
}

/// `Some(true)`: something was done; `Some(false)`: nothing will be.
pub(crate) fn answered(action: &str) -> Option<bool> {
    let action = action.to_lowercase();
    let starts = |words: &[&str]| words.iter().any(|w| action.starts_with(w));
    if starts(&[
        "fixed",
        "test written",
        "commented",
        "documentation",
        "documented",
        "done",
        "addressed",
        "partially",
    ]) {
        Some(true)
    } else if starts(&[
        "skipped",
        "declined",
        "won't",
        "wontfix",
        "rejected",
        "false positive",
        "not ",
    ]) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::markdown::report;

    #[test]
    fn figures_of_a_report() {
        let text = report(
            "\
# Deep Review: x

| | |
|---|---|
| **Reviewers** | Claude Opus 4 (effort: high), Codex GPT 5 |

## Important Issues

I1. **One** — `a.rs:1` [Claude Opus 4] [Codex GPT 5]

I2. **Two** — `a.rs:9` [Codex GPT 5]

## Agent Performance Retro

| | Claude Opus 4 | Codex GPT 5 |
|---|---|---|
| Duration | 10:30 | 4m 20s |
| False positives | 0 | 1 (severity) |
| Downgraded | 2 (I→S) | — |
| Cost | $1.50 | |

## Appendix: Original Reviews

### [Claude] — Pass 1

## Important Issues

I1. **One** — `a.rs:1`

### [Codex] — Pass 1

## Important Issues

I1. **One** — `a.rs:1`

I2. **Two** — `a.rs:9`

## Resolution

| # | Finding | Action | Reason |
|---|---|---|---|
| 1 | Important #1: One | Fixed | |
| 2 | I2 | Skipped — later | |
",
        );
        let mut collector = Collector::new(By::Vendor);
        collector.add_text(&text);
        let all = collector.finish();
        let codex = &all[0];
        assert_eq!(codex.reviewer, "codex");
        assert_eq!((codex.reports, codex.findings, codex.reported), (1, 2, 2));
        assert_eq!((codex.unique, codex.confirmed, codex.declined), (1, 1, 1));
        assert_eq!((codex.false_positives, codex.downgraded), (Some(1), None));
        assert_eq!(codex.median_seconds(), Some(260.0));
        let claude = &all[1];
        assert_eq!((claude.findings, claude.reported, claude.unique), (1, 1, 0));
        assert_eq!((claude.downgraded, claude.cost_usd), (Some(2), Some(1.5)));
        assert_eq!(claude.median_seconds(), Some(630.0));
        let svg = svg(&all);
        assert!(svg.starts_with("<svg") && svg.contains("codex"));
        assert!(table(&all).contains("codex"));
    }
}
