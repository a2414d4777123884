//! One finding, from its headline to its fix.

use super::text::{block, fenced, inline, language, name};
use crate::model::{Check, CheckKind, CheckResult, Class, Finding, History, MergedFinding, Scope};
use crate::plain::place;
use crate::report::count::word;
use crate::standing::{Standing, standing};

/// ``I1. **Title** — `path:lines` (important, regression) [A] [B]``, and what is under it.
pub(in crate::report) fn finding_text(finding: &MergedFinding) -> String {
    let mut parts = vec![headline(finding)];
    parts.extend(status_line(finding));
    let lead = &finding.lead;
    if let Some(quote) = lead.quote.as_deref().filter(|q| !q.trim().is_empty()) {
        let path = lead.locations.first().map_or("", |l| l.path.as_str());
        parts.push(fenced(&language(path), quote));
    }
    if !lead.explanation.trim().is_empty() {
        parts.push(block(&lead.explanation));
    }
    if let Some(disagreement) = &finding.disagreement {
        parts.push(format!("Severity: {}.", inline(disagreement)));
    }
    parts.extend(others(finding));
    parts.extend(checks(&lead.checks));
    parts.extend(evidence(lead));
    parts.extend(fix(lead));
    parts.join("\n\n")
}

pub(super) fn headline(finding: &MergedFinding) -> String {
    let lead = &finding.lead;
    let mut text = format!("{}. **{}**", finding.id, title(&lead.title));
    let places: Vec<String> = lead
        .locations
        .iter()
        .map(|l| format!("`{}`", place(l)))
        .collect();
    if !places.is_empty() {
        text.push_str(&format!(" — {}", places.join(", ")));
    }
    let mut tags = vec![word(finding.severity)];
    tags.extend(lead.class.map(class));
    tags.extend(lead.scope.map(scope));
    text.push_str(&format!(" ({})", tags.join(", ")));
    for reviewer in finding.reviewers() {
        text.push_str(&format!(" [{}]", name(reviewer)));
    }
    text
}

/// The title for a headline. Some reviewers write the place into it, behind or before a dash, so a dash between words
/// and what may be nothing but a path is made a hyphen: the place of the headline is the one behind the bold text.
fn title(text: &str) -> String {
    let text = inline(text);
    let words: Vec<&str> = text.split(' ').collect();
    let is_dash = |w: &&str| matches!(*w, "—" | "–");
    let may_be_paths = |words: &[&str]| {
        !words.is_empty() && words.iter().all(|w| w.contains(['.', '/', ':', '`']))
    };
    let first = words.iter().position(is_dash);
    let last = words.iter().rposition(is_dash);
    words
        .iter()
        .enumerate()
        .map(|(at, word)| {
            let before = Some(at) == first && may_be_paths(&words[..at]);
            let behind = Some(at) == last && may_be_paths(&words[at + 1..]);
            if before || behind { "-" } else { word }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

pub(in crate::report) fn class(class: Class) -> &'static str {
    match class {
        Class::Regression => "regression",
        Class::Gap => "gap",
        Class::Enhancement => "enhancement",
    }
}

pub(in crate::report) fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::InScope => "in-scope",
        Scope::Future => "future",
    }
}

/// What a reader must know before the rest: refuted, or not new.
fn status_line(finding: &MergedFinding) -> Option<String> {
    let mut parts = Vec::new();
    if standing(finding) == Standing::Refuted {
        parts.push("_Refuted by a check, so it does not count for the verdict._".to_owned());
    }
    match &finding.history {
        History::New => {}
        History::Open { since } => parts.push(format!("_Open since round {since}._")),
        History::Fixed { since } => parts.push(format!("_Raised in round {since}, fixed._")),
        History::Declined { since, reason } => parts.push(format!(
            "_Raised in round {since}, declined:_ {}",
            inline(reason)
        )),
    }
    if let Some(reason) = &finding.deferred {
        parts.push(format!(
            "_Put off by the author, so it does not count for the verdict:_ {}",
            inline(reason)
        ));
    }
    if let Some(reason) = &finding.reopened {
        parts.push(format!(
            "_Was declined; the code around it has changed since:_ {}",
            inline(reason)
        ));
    }
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// What the other reviewers add, when they say it in other words.
fn others(finding: &MergedFinding) -> Option<String> {
    let lines: Vec<String> = finding
        .voices
        .iter()
        .filter(|v| {
            v.finding.explanation != finding.lead.explanation
                || v.finding.title != finding.lead.title
        })
        .map(|v| {
            let at = v
                .finding
                .locations
                .first()
                .map(|l| format!(", `{}`", place(l)))
                .unwrap_or_default();
            format!(
                "- {} ({}{at}): {}",
                inline(&v.reviewer),
                word(v.finding.severity),
                inline(&v.finding.title)
            )
        })
        .collect();
    (!lines.is_empty()).then(|| format!("Also raised as:\n\n{}", lines.join("\n")))
}

pub(in crate::report) fn check_name(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::File => "file exists",
        CheckKind::Lines => "lines exist",
        CheckKind::Quote => "quote is in the file",
        CheckKind::Diff => "place is in the diff",
        CheckKind::FixApplies => "fix applies",
        CheckKind::FixPasses => "fix passes the command",
        CheckKind::Repro => "repro shows it",
    }
}

pub(in crate::report) fn result_name(result: CheckResult) -> &'static str {
    match result {
        CheckResult::Confirmed => "confirmed",
        CheckResult::Corrected => "corrected",
        CheckResult::Refuted => "refuted",
        CheckResult::Unchecked => "not checked",
    }
}

fn checks(checks: &[Check]) -> Option<String> {
    let lines: Vec<String> = checks
        .iter()
        .map(|c| {
            let detail = inline(&c.detail);
            let dash = if detail.is_empty() { "" } else { " — " };
            format!(
                "- {}: {}{dash}{detail}",
                check_name(c.kind),
                result_name(c.result)
            )
        })
        .collect();
    (!lines.is_empty()).then(|| format!("Checked by machine:\n\n{}", lines.join("\n")))
}

fn evidence(finding: &Finding) -> Option<String> {
    let texts: Vec<String> = finding
        .evidence
        .iter()
        .map(|e| {
            let output = e.output.as_deref().unwrap_or_default();
            format!("$ {}\n{output}", e.command)
        })
        .collect();
    (!texts.is_empty()).then(|| format!("Repro:\n\n{}", fenced("console", &texts.join("\n"))))
}

fn fix(finding: &Finding) -> Option<String> {
    let fix = finding.fix.as_deref().filter(|f| !f.trim().is_empty())?;
    Some(if is_diff(fix) {
        format!("Fix:\n\n{}", fenced("diff", fix))
    } else {
        let text = block(fix);
        // Only a sentence can go on behind the word; a fence or a list begins a line.
        let sentence =
            text.trim_start().starts_with(char::is_alphanumeric) && !text.starts_with(' ');
        let gap = if sentence { " " } else { "\n\n" };
        format!("Fix:{gap}{text}")
    })
}

/// A diff, not prose: some line is added or removed, and no fence is in it.
pub(in crate::report) fn is_diff(fix: &str) -> bool {
    fix.lines()
        .any(|l| (l.starts_with('+') || l.starts_with('-')) && !l.starts_with("- "))
        && !fix.lines().any(|l| l.trim_start().starts_with("```"))
}
