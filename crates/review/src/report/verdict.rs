//! The report's recommendation, and whether CI fails.

use super::complete::gaps;
use super::count::{counting, plural, word};
use crate::model::{Report, Severity, Verdict};
use crate::standing::{counts, gate};

/// The recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Nothing that counts is critical or important.
    Merge,
    /// Something that counts is important, nothing critical.
    MergeWithFixes,
    /// Something that counts is critical.
    Rework,
    /// The verdict may miss a finding.
    Incomplete,
}

impl Decision {
    /// As it is in [`Verdict::decision`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::MergeWithFixes => "merge with fixes",
            Self::Rework => "rework",
            Self::Incomplete => "incomplete",
        }
    }
}

/// The verdict by rule. A finding counts when it is open, no check refuted it, and not every reviewer that raised it puts
/// it off to a later change; it counts with the highest severity that was not refuted ([`gate`]). In this order:
///
/// 1. a critical finding counts → `rework`
/// 2. the verdict may miss a finding ([`gaps`]) → `incomplete`
/// 3. an important finding counts → `merge with fixes`
/// 4. else → `merge`
///
/// The reasons why a finding may be missing are in [`Verdict::incomplete`], for a `rework` too.
pub fn verdict(report: &Report) -> Verdict {
    let incomplete = gaps(report);
    let (decision, reason) = decide(report);
    let (decision, reason) = match (decision, incomplete.is_empty()) {
        (_, true) => (decision, reason),
        (Decision::Rework, false) => (decision, format!("{reason}; {}", incomplete.join("; "))),
        (_, false) => (
            Decision::Incomplete,
            format!("{}; so far {reason}", incomplete.join("; ")),
        ),
    };
    Verdict {
        decision: decision.as_str().to_owned(),
        reason,
        incomplete,
    }
}

/// The decision on the findings that are there.
fn decide(report: &Report) -> (Decision, String) {
    for (severity, decision) in [
        (Severity::Critical, Decision::Rework),
        (Severity::Important, Decision::MergeWithFixes),
    ] {
        let number = counting(report, severity);
        if number > 0 {
            let what = format!("{} finding", word(severity));
            return (
                decision,
                format!(
                    "{} to answer: {}",
                    plural(number, &what),
                    ids(report, severity)
                ),
            );
        }
    }
    let number = counting(report, Severity::Suggestion);
    let reason = match number {
        0 => "no finding to answer".to_owned(),
        n => format!("nothing but {}", plural(n, "suggestion")),
    };
    (Decision::Merge, reason)
}

/// How many ids are listed before `…`.
const MOST_IDS: usize = 8;

fn ids(report: &Report, severity: Severity) -> String {
    let all: Vec<&str> = report
        .findings
        .iter()
        .filter(|f| gate(f) == severity && counts(f))
        .map(|f| f.id.as_str())
        .collect();
    let shown = all.len().min(MOST_IDS);
    let mut text = all[..shown].join(", ");
    if shown < all.len() {
        text.push_str(", …");
    }
    text
}

/// `--fail-on SEVERITY`: why CI has to fail, or `None`. It fails when a finding of that severity or worse counts (as
/// for [`verdict`]), and when the verdict may miss a finding.
pub fn fails(report: &Report, on: Severity) -> Option<String> {
    let mut reasons = gaps(report);
    reasons.extend(
        super::count::SEVERITIES
            .into_iter()
            .filter(|s| *s <= on && counting(report, *s) > 0)
            .map(|s| {
                let what = format!("{} finding", word(s));
                format!(
                    "{} ({})",
                    plural(counting(report, s), &what),
                    ids(report, s)
                )
            }),
    );
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::join;
    use crate::model::{
        Check, CheckKind, CheckResult, Finding, History, MergedFinding, Outcome, Review,
        ReviewerRun, Scope, Voice,
    };

    fn run(outcome: Outcome) -> ReviewerRun {
        ReviewerRun {
            name: "r".to_owned(),
            outcome,
            review: Review::default(),
            original: String::new(),
            performance: Default::default(),
        }
    }

    fn found(severity: Severity, change: fn(&mut MergedFinding)) -> MergedFinding {
        let voice = Voice {
            reviewer: "r".to_owned(),
            analyser: false,
            finding: Finding::new("1", severity, "t"),
        };
        let mut merged = join(vec![voice]).unwrap();
        merged.id = "X1".to_owned();
        change(&mut merged);
        merged
    }

    #[test]
    fn verdict_follows_the_rule() {
        use Severity::{Critical, Important, Suggestion};
        let ok = || Outcome::Finished { warning: None };
        let failed = || Outcome::Failed {
            reason: "crashed".to_owned(),
        };
        let cut = || Outcome::Partial {
            reason: "killed".to_owned(),
        };
        let refute = |f: &mut MergedFinding| {
            f.voices[0].finding.checks.push(Check {
                kind: CheckKind::Quote,
                result: CheckResult::Refuted,
                detail: String::new(),
            });
        };
        let bad_fix = |f: &mut MergedFinding| {
            f.voices[0].finding.checks.push(Check {
                kind: CheckKind::FixApplies,
                result: CheckResult::Refuted,
                detail: String::new(),
            });
        };
        let later = |f: &mut MergedFinding| f.voices[0].finding.scope = Some(Scope::Future);
        let declined = |f: &mut MergedFinding| {
            f.history = History::Declined {
                since: 1,
                reason: String::new(),
            };
        };
        let plain = |_: &mut MergedFinding| {};
        for (outcomes, findings, decision, stops_on_important) in [
            (vec![], vec![], "incomplete", true),
            (vec![failed()], vec![], "incomplete", true),
            (vec![ok(), failed()], vec![], "incomplete", true),
            (vec![ok(), cut()], vec![], "incomplete", true),
            (
                vec![ok(), cut()],
                vec![found(Important, plain)],
                "incomplete",
                true,
            ),
            (
                vec![ok(), cut()],
                vec![found(Critical, plain)],
                "rework",
                true,
            ),
            (vec![ok()], vec![found(Critical, plain)], "rework", true),
            (vec![ok()], vec![found(Critical, refute)], "merge", false),
            (vec![ok()], vec![found(Critical, bad_fix)], "rework", true),
            (vec![ok()], vec![found(Critical, declined)], "merge", false),
            (vec![ok()], vec![found(Important, later)], "merge", false),
            (
                vec![ok()],
                vec![found(Important, plain)],
                "merge with fixes",
                true,
            ),
            (vec![ok()], vec![found(Suggestion, plain)], "merge", false),
        ] {
            let report = Report {
                reviewers: outcomes.into_iter().map(run).collect(),
                findings,
                ..Report::default()
            };
            let got = verdict(&report);
            assert_eq!(got.decision, decision, "{got:?}");
            assert_eq!(fails(&report, Important).is_some(), stops_on_important);
        }
    }

    #[test]
    fn reason_names_reviewers_without_a_review() {
        let report = Report {
            reviewers: vec![
                run(Outcome::Finished { warning: None }),
                ReviewerRun {
                    name: "Gemini".to_owned(),
                    ..run(Outcome::Missing {
                        reason: "no `gemini` in PATH".to_owned(),
                    })
                },
            ],
            ..Report::default()
        };
        let verdict = verdict(&report);
        let gap = "no review from Gemini (missing: no `gemini` in PATH)";
        assert_eq!(verdict.incomplete, [gap]);
        assert_eq!(
            verdict.reason,
            format!("{gap}; so far no finding to answer")
        );
    }
}
