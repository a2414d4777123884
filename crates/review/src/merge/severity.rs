//! The severity of merged findings, and the text about a disagreement.

use crate::model::{CheckKind, CheckResult, Finding, Severity, Voice};
use crate::standing::{Standing, standing_of};

/// The severity that is displayed: the highest one that is *backed*. A severity is backed when two reviewers give it or
/// a higher one, or when a reviewer that gives it has evidence (a repro that was run here, or a quote and a fix that both
/// hold). With one reviewer it is that reviewer's; nothing is ever averaged. An analyser's level is that of its rule,
/// whatever the defect does here, so analysers count only where no other reviewer raised the finding. A claim that a check
/// refuted counts only where all are refuted.
///
/// The verdict does not use it: [`crate::report::gate`] is never lowered by agreement.
pub(super) fn reconcile(voices: &[Voice]) -> Severity {
    let all: Vec<&Voice> = voices.iter().collect();
    let valid = all
        .iter()
        .copied()
        .filter(|voice| standing_of(&voice.finding) != Standing::Refuted)
        .collect();
    let valid = preferred(valid, all);
    let reviewers = valid.iter().copied().filter(|v| !v.analyser).collect();
    let judged = preferred(reviewers, valid);
    let mut by_reviewer: Vec<(&str, Severity)> = Vec::new();
    for voice in &judged {
        match by_reviewer.iter_mut().find(|(r, _)| *r == voice.reviewer) {
            Some((_, worst)) => *worst = (*worst).min(voice.finding.severity),
            None => by_reviewer.push((&voice.reviewer, voice.finding.severity)),
        }
    }
    let mut stated: Vec<Severity> = by_reviewer.iter().map(|(_, s)| *s).collect();
    stated.sort_unstable();
    let agreed = stated.get(1).or(stated.first()).copied();
    let shown = judged
        .iter()
        .filter(|v| is_shown(&v.finding))
        .map(|v| v.finding.severity)
        .min();
    match (agreed, shown) {
        (Some(a), Some(b)) => a.min(b),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => Severity::Suggestion,
    }
}

/// The preferred voices, or all of them if none is preferred.
fn preferred<'a>(some: Vec<&'a Voice>, all: Vec<&'a Voice>) -> Vec<&'a Voice> {
    if some.is_empty() { all } else { some }
}

/// Whether a check confirmed the claim itself, not only its place.
fn is_shown(finding: &Finding) -> bool {
    let holds = |kind: CheckKind| {
        finding.checks.iter().any(|c| {
            c.kind == kind && matches!(c.result, CheckResult::Confirmed | CheckResult::Corrected)
        })
    };
    holds(CheckKind::Repro) || holds(CheckKind::Quote) && holds(CheckKind::FixPasses)
}

/// The severity of each reviewer, if they disagree, and the result. `counting` is the highest severity that no check
/// refuted.
pub(super) fn disagreement(
    voices: &[Voice],
    shown: Severity,
    counting: Severity,
) -> Option<String> {
    if voices.iter().all(|v| v.finding.severity == shown) {
        return None;
    }
    let said: Vec<String> = voices
        .iter()
        .map(|v| format!("{} says {}", v.reviewer, name(v.finding.severity)))
        .collect();
    let mut text = format!("{}; shown as {}", said.join(", "), name(shown));
    if counting != shown {
        text.push_str(&format!(", counts as {}", name(counting)));
    }
    Some(text)
}

/// The severity as a word.
pub(super) fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Important => "important",
        Severity::Suggestion => "suggestion",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Check;

    fn voice(reviewer: &str, severity: Severity, checks: &[CheckKind]) -> Voice {
        let checks = checks
            .iter()
            .map(|kind| Check {
                kind: *kind,
                result: CheckResult::Confirmed,
                detail: String::new(),
            })
            .collect();
        Voice {
            reviewer: reviewer.to_owned(),
            analyser: false,
            finding: Finding {
                checks,
                ..Finding::new("1", severity, "t")
            },
        }
    }

    #[test]
    fn refuted_claim_raises_no_severity() {
        let mut refuted = voice("a", Severity::Critical, &[CheckKind::Quote]);
        refuted.finding.checks[0].result = CheckResult::Refuted;
        let valid = voice("a", Severity::Important, &[CheckKind::Quote]);
        let expected = Severity::Important;
        assert_eq!(reconcile(&[refuted.clone(), valid]), expected);
        assert_eq!(reconcile(&[refuted]), Severity::Critical);
    }

    #[test]
    fn severity_needs_two_reviewers_or_evidence() {
        use CheckKind::{FixPasses, Quote, Repro};
        use Severity::{Critical, Important, Suggestion};
        for (voices, expected) in [
            (vec![voice("a", Critical, &[])], Critical),
            (
                vec![voice("a", Critical, &[]), voice("b", Suggestion, &[])],
                Suggestion,
            ),
            (
                vec![
                    voice("a", Critical, &[]),
                    voice("b", Important, &[]),
                    voice("c", Suggestion, &[]),
                ],
                Important,
            ),
            (
                vec![voice("a", Critical, &[Repro]), voice("b", Suggestion, &[])],
                Critical,
            ),
            // A quote that is in the file shows the place, not the damage.
            (
                vec![voice("a", Critical, &[Quote]), voice("b", Important, &[])],
                Important,
            ),
            (
                vec![
                    voice("a", Critical, &[Quote, FixPasses]),
                    voice("b", Important, &[]),
                ],
                Critical,
            ),
            // Two passes of one reviewer are one reviewer.
            (
                vec![
                    voice("a", Critical, &[]),
                    voice("a", Critical, &[]),
                    voice("b", Important, &[]),
                ],
                Important,
            ),
        ] {
            assert_eq!(reconcile(&voices), expected, "{voices:?}");
        }
    }

    #[test]
    fn analyser_never_lowers_severity() {
        use Severity::{Critical, Important, Suggestion};
        let lint = |severity| Voice {
            analyser: true,
            ..voice("lint", severity, &[])
        };
        for (voices, expected) in [
            (
                vec![voice("a", Important, &[]), lint(Suggestion)],
                Important,
            ),
            (vec![voice("a", Critical, &[]), lint(Suggestion)], Critical),
            (
                vec![
                    voice("a", Critical, &[]),
                    lint(Suggestion),
                    lint(Suggestion),
                ],
                Critical,
            ),
            (vec![lint(Important)], Important),
        ] {
            assert_eq!(reconcile(&voices), expected, "{voices:?}");
        }
    }

    #[test]
    fn disagreement_names_all_severities() {
        let voices = [
            voice("a", Severity::Critical, &[]),
            voice("b", Severity::Important, &[]),
        ];
        assert_eq!(
            disagreement(&voices, Severity::Important, Severity::Critical).as_deref(),
            Some("a says critical, b says important; shown as important, counts as critical")
        );
        let one = &voices[..1];
        assert_eq!(
            disagreement(one, Severity::Critical, Severity::Critical),
            None
        );
    }
}
