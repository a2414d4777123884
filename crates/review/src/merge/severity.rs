//! The severity of findings that were merged, and how a disagreement is told.

use crate::model::{CheckKind, CheckResult, Finding, Severity, Voice};

/// The severity of a merged finding: the highest one that is *backed*. A severity is backed when two reviewers say
/// it or worse, or when a reviewer who says it has shown it (a repro that was run here, or a quote and a fix that
/// both hold). With one reviewer it is what they say; nothing is ever averaged.
pub(super) fn reconcile(voices: &[Voice]) -> Severity {
    let mut by_reviewer: Vec<(&str, Severity)> = Vec::new();
    for voice in voices {
        match by_reviewer.iter_mut().find(|(r, _)| *r == voice.reviewer) {
            Some((_, worst)) => *worst = (*worst).min(voice.finding.severity),
            None => by_reviewer.push((&voice.reviewer, voice.finding.severity)),
        }
    }
    let mut stated: Vec<Severity> = by_reviewer.iter().map(|(_, s)| *s).collect();
    stated.sort_unstable();
    let agreed = stated.get(1).or(stated.first()).copied();
    let shown = voices
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

/// Whether a machine has seen the claim itself hold, not only the place.
fn is_shown(finding: &Finding) -> bool {
    let holds = |kind: CheckKind| {
        finding.checks.iter().any(|c| {
            c.kind == kind && matches!(c.result, CheckResult::Confirmed | CheckResult::Corrected)
        })
    };
    holds(CheckKind::Repro) || holds(CheckKind::Quote) && holds(CheckKind::FixPasses)
}

/// Who says what, when they do not say the same.
pub(super) fn disagreement(voices: &[Voice], merged: Severity) -> Option<String> {
    if voices.iter().all(|v| v.finding.severity == merged) {
        return None;
    }
    let said: Vec<String> = voices
        .iter()
        .map(|v| format!("{} says {}", v.reviewer, name(v.finding.severity)))
        .collect();
    Some(format!("{}; shown as {}", said.join(", "), name(merged)))
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
            finding: Finding {
                checks,
                ..Finding::new("1", severity, "t")
            },
        }
    }

    #[test]
    fn what_two_say_or_what_is_shown() {
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
            // A quote that stands in the file shows the place, not the damage.
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
    fn disagreement_is_told() {
        let voices = [
            voice("a", Severity::Critical, &[]),
            voice("b", Severity::Important, &[]),
        ];
        assert_eq!(
            disagreement(&voices, Severity::Important).as_deref(),
            Some("a says critical, b says important; shown as important")
        );
        assert_eq!(disagreement(&voices[..1], Severity::Critical), None);
    }
}
