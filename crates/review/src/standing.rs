//! The standing of a finding: the overall result of its checks.

use crate::model::{
    Check, CheckKind, CheckResult, Finding, History, MergedFinding, Scope, Severity, Voice,
};

/// The overall result of a finding's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The claim itself was confirmed: the repro shows it, or the quote is there and the fix passes.
    Shown,
    /// The place exists as the reviewer says (perhaps some lines further); the claim was not checked.
    Located,
    /// Nothing was checked.
    Unchecked,
    /// The subject of the claim does not exist: the file, the quoted code, or what the repro should show.
    Refuted,
}

impl Standing {
    /// For the reader.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shown => "shown by a check",
            Self::Located => "place confirmed",
            Self::Unchecked => "not checked",
            Self::Refuted => "refuted by a check",
        }
    }
}

/// The standing of a merged finding: the best that any voice has, and refuted only when each voice is.
pub fn standing(finding: &MergedFinding) -> Standing {
    let of_voices = finding.voices.iter().map(|v| standing_of(&v.finding));
    // The lead is one of the voices; a report made by hand may have none.
    let all: Vec<Standing> = if finding.voices.is_empty() {
        vec![standing_of(&finding.lead)]
    } else {
        of_voices.collect()
    };
    [Standing::Shown, Standing::Located, Standing::Unchecked]
        .into_iter()
        .find(|s| all.contains(s))
        .unwrap_or(Standing::Refuted)
}

/// The standing of what one reviewer said.
///
/// A fix that does not apply, lines that moved and a place outside the diff say nothing against the claim, so they
/// refute nothing.
pub fn standing_of(finding: &Finding) -> Standing {
    let has = |kind: CheckKind, wanted: fn(CheckResult) -> bool| {
        finding
            .checks
            .iter()
            .any(|c: &Check| c.kind == kind && wanted(c.result))
    };
    let held = |r| matches!(r, CheckResult::Confirmed | CheckResult::Corrected);
    let refuted = |r| r == CheckResult::Refuted;
    if has(CheckKind::Repro, held) || has(CheckKind::Quote, held) && has(CheckKind::FixPasses, held)
    {
        return Standing::Shown;
    }
    if [CheckKind::File, CheckKind::Quote, CheckKind::Repro]
        .into_iter()
        .any(|kind| has(kind, refuted))
    {
        return Standing::Refuted;
    }
    if has(CheckKind::Quote, held) || has(CheckKind::Lines, held) || has(CheckKind::File, held) {
        return Standing::Located;
    }
    Standing::Unchecked
}

/// The severity that counts for the verdict and for `--fail-on`: the highest that a reviewer gave and no check refuted.
/// Agreement of others never lowers it. [`MergedFinding::severity`] is the one that is displayed.
pub fn gate(finding: &MergedFinding) -> Severity {
    highest(&finding.voices, finding.severity)
}

/// The highest severity of what is not refuted, at least `shown`.
pub(crate) fn highest(voices: &[Voice], shown: Severity) -> Severity {
    voices
        .iter()
        .map(|voice| &voice.finding)
        .filter(|said| standing_of(said) != Standing::Refuted)
        .map(|said| said.severity)
        .fold(shown, Severity::min)
}

/// Whether the finding still waits for an answer.
pub fn is_open(finding: &MergedFinding) -> bool {
    matches!(finding.history, History::New | History::Open { .. })
}

/// Whether it counts for the verdict: open, not refuted, and not deferred to a later change by the author or by every
/// reviewer that raised it.
pub fn counts(finding: &MergedFinding) -> bool {
    let later = |f: &Finding| f.scope == Some(Scope::Future);
    let put_off = if finding.voices.is_empty() {
        later(&finding.lead)
    } else {
        finding.voices.iter().all(|v| later(&v.finding))
    };
    is_open(finding)
        && finding.deferred.is_none()
        && !put_off
        && standing(finding) != Standing::Refuted
}
