//! What the report recommends, and whether CI stops.

use super::count::{absent, counting, finished, plural, word};
use super::standing::counts;
use crate::model::{Report, Severity, Verdict};

/// What can be recommended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Nothing that counts is critical or important.
    Merge,
    /// Something that counts is important, nothing critical.
    MergeWithFixes,
    /// Something that counts is critical.
    Rework,
    /// Nobody gave a usable review, so nothing is known.
    Incomplete,
}

impl Decision {
    /// As it stands in [`Verdict::decision`].
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::MergeWithFixes => "merge with fixes",
            Self::Rework => "rework",
            Self::Incomplete => "incomplete",
        }
    }
}

/// The verdict by rule. A finding counts when it is open, no check refuted it, and not everybody who raised it puts
/// it off to a later change. In this order:
///
/// 1. no reviewer gave a usable review → `incomplete`
/// 2. a critical finding counts → `rework`
/// 3. an important finding counts → `merge with fixes`
/// 4. else → `merge`
///
/// A reviewer that failed beside others that did not changes nothing but the reason, which names them.
pub fn verdict(report: &Report) -> Verdict {
    let (decision, mut reason) = decide(report);
    let absent: Vec<String> = absent(report)
        .into_iter()
        .map(|(name, why)| format!("{name} ({why})"))
        .collect();
    if decision != Decision::Incomplete && !absent.is_empty() {
        reason.push_str(&format!("; no review from {}", absent.join(", ")));
    }
    Verdict {
        decision: decision.as_str().to_owned(),
        reason,
    }
}

fn decide(report: &Report) -> (Decision, String) {
    if finished(report).is_empty() {
        let why: Vec<String> = absent(report)
            .into_iter()
            .map(|(name, why)| format!("{name} {why}"))
            .collect();
        let reason = if why.is_empty() {
            "nobody was asked to review".to_owned()
        } else {
            format!("nobody gave a usable review: {}", why.join("; "))
        };
        return (Decision::Incomplete, reason);
    }
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
        .filter(|f| f.severity == severity && counts(f))
        .map(|f| f.id.as_str())
        .collect();
    let shown = all.len().min(MOST_IDS);
    let mut text = all[..shown].join(", ");
    if shown < all.len() {
        text.push_str(", …");
    }
    text
}

/// `--fail-on SEVERITY`: why CI has to stop, or `None`. It stops when a finding of that severity or worse counts (as
/// for [`verdict`]), and when nobody gave a usable review, because then nothing is known.
pub fn fails(report: &Report, on: Severity) -> Option<String> {
    let (decision, reason) = decide(report);
    if decision == Decision::Incomplete {
        return Some(reason);
    }
    let found: Vec<String> = super::count::SEVERITIES
        .into_iter()
        .filter(|s| *s <= on && counting(report, *s) > 0)
        .map(|s| {
            let what = format!("{} finding", word(s));
            format!(
                "{} ({})",
                plural(counting(report, s), &what),
                ids(report, s)
            )
        })
        .collect();
    (!found.is_empty()).then(|| found.join(", "))
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
            finding: Finding::new("1", severity, "t"),
        };
        let mut merged = join(vec![voice]).unwrap();
        merged.id = "X1".to_owned();
        change(&mut merged);
        merged
    }

    #[test]
    fn the_rule_as_a_table() {
        use Severity::{Critical, Important, Suggestion};
        let ok = || Outcome::Finished { warning: None };
        let failed = || Outcome::Failed {
            reason: "crashed".to_owned(),
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
            (vec![ok(), failed()], vec![], "merge", false),
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
    fn the_reason_names_who_gave_nothing() {
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
        assert_eq!(
            verdict(&report).reason,
            "no finding to answer; no review from Gemini (missing: no `gemini` in PATH)"
        );
    }
}
