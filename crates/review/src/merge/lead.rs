//! Which of several findings about one defect is shown.

use crate::model::{CheckResult, Finding, Severity, Voice};

/// The best-supported finding: confirmed checks count first, then completeness (quote, fix, place,
/// explanation). Between equals the first one.
pub(super) fn lead(voices: &[Voice]) -> Option<&Finding> {
    let mut best: Option<&Finding> = None;
    for voice in voices {
        if best.is_none_or(|b| support(&voice.finding) > support(b)) {
            best = Some(&voice.finding);
        }
    }
    best
}

type Support = (i32, bool, i32, std::cmp::Reverse<Severity>, usize);

fn support(finding: &Finding) -> Support {
    let checks: i32 = finding
        .checks
        .iter()
        .map(|c| match c.result {
            CheckResult::Confirmed => 2,
            CheckResult::Corrected => 1,
            CheckResult::Refuted => -3,
            CheckResult::Unchecked => 0,
        })
        .sum();
    let diff = finding
        .fix
        .as_deref()
        .is_some_and(|f| f.lines().any(|l| l.starts_with('+')));
    let parts = i32::from(finding.quote.is_some())
        + i32::from(finding.fix.is_some())
        + i32::from(diff)
        + i32::from(!finding.evidence.is_empty());
    let placed = finding.locations.iter().any(|l| l.start.is_some());
    (
        checks,
        placed,
        parts,
        std::cmp::Reverse(finding.severity),
        // A longer explanation is better, up to a limit.
        finding.explanation.len().min(ENOUGH_EXPLANATION),
    )
}

/// Bytes of explanation; more do not make a finding better.
const ENOUGH_EXPLANATION: usize = 800;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Check, CheckKind, Location};

    #[test]
    fn confirmed_beats_eloquent() {
        let voice = |title: &str, explanation: &str, result: CheckResult| Voice {
            reviewer: "r".to_owned(),
            analyser: false,
            finding: Finding {
                explanation: explanation.to_owned(),
                locations: vec![Location {
                    path: "a".to_owned(),
                    start: Some(1),
                    end: None,
                }],
                checks: vec![Check {
                    kind: CheckKind::Quote,
                    result,
                    detail: String::new(),
                }],
                ..Finding::new("1", Severity::Important, title)
            },
        };
        let voices = [
            voice(
                "eloquent",
                "many words of explanation",
                CheckResult::Refuted,
            ),
            voice("right", "few", CheckResult::Confirmed),
            voice("right too", "few", CheckResult::Confirmed),
        ];
        assert_eq!(lead(&voices).unwrap().title, "right");
    }
}
