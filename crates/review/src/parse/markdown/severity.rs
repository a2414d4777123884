//! The severities that words name.

use crate::model::Severity;

/// The severity that a word names, in the words of several tools.
pub fn severity(word: &str) -> Option<Severity> {
    match word.trim().to_lowercase().as_str() {
        "critical" | "blocker" | "blocking" | "showstopper" | "severe" | "must fix"
        | "must-fix" | "p0" => Some(Severity::Critical),
        "important" | "major" | "high" | "medium" | "moderate" | "serious" | "warning"
        | "should fix" | "should-fix" | "p1" => Some(Severity::Important),
        "suggestion" | "minor" | "nit" | "nitpick" | "nit-pick" | "low" | "info"
        | "informational" | "trivial" | "optional" | "nice to have" | "nice-to-have" | "p2"
        | "p3" | "p4" => Some(Severity::Suggestion),
        _ => None,
    }
}

/// The severity at the beginning of a few words, such as what a label or a cell of a table holds: `🔴 High`,
/// `Major (security)`, `P1 – data loss`.
pub(in crate::parse) fn leading_severity(text: &str) -> Option<Severity> {
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '-')
        .unwrap_or(text.len());
    let two = text[end..]
        .strip_prefix(' ')
        .and_then(|rest| rest.split(|c: char| !c.is_alphanumeric()).next())
        .map(|second| format!("{} {second}", &text[..end]));
    severity(&text[..end]).or_else(|| severity(&two?))
}
