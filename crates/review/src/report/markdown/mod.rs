//! The report as Markdown, in the sections that people's reports of this kind have. Our own parser reads it back.

mod finding;
mod tables;
mod text;

pub(super) use finding::{check_name, class, finding_text, is_diff, result_name, scope};
pub(super) use text::{fenced, inline};

use super::complete::unread;
use super::count::{notes, with_reason, word};
use crate::model::{MergedFinding, Note, Prose, Refused, Report, Severity};
use crate::report::harmless::harmless;
use crate::standing::is_open;
use tables::capital;
use text::{block, is_whole, name};

/// The whole report.
pub fn markdown(report: &Report) -> String {
    let report = &harmless(report);
    let mut parts = vec![format!("# Deep Review: {}", inline(&title(report)))];
    parts.extend(incomplete(report));
    parts.extend([
        tables::metadata(report),
        "## Executive Summary".to_owned(),
        summary(report),
    ]);
    for (severity, title) in [
        (Severity::Critical, "Critical Issues"),
        (Severity::Important, "Important Issues"),
        (Severity::Suggestion, "Suggestions"),
    ] {
        parts.push(format!("## {title}"));
        parts.extend(findings(report, severity));
    }
    parts.push("## Design Observations".to_owned());
    if !report.prose.design.trim().is_empty() {
        parts.push(block(&report.prose.design));
    }
    parts.push("### Concerns".to_owned());
    parts.push(list(&notes(report, |r| &r.concerns)));
    parts.push("### Strengths".to_owned());
    parts.push(list(&notes(report, |r| &r.strengths)));
    for (title, notes) in [
        ("Testing Assessment", notes(report, |r| &r.testing_gaps)),
        (
            "Documentation Assessment",
            notes(report, |r| &r.documentation),
        ),
        ("Commit Structure", notes(report, |r| &r.commit_structure)),
        (
            "Acknowledged Limitations",
            notes(report, |r| &r.acknowledged_limitations),
        ),
        (
            "Unresolved Feedback",
            notes(report, |r| &r.unresolved_feedback),
        ),
    ] {
        parts.push(format!("## {title}"));
        parts.push(list(&notes));
    }
    if report.round > 1 || !report.closed.is_empty() {
        parts.push("## Resolution".to_owned());
        parts.extend(closed(report));
    }
    parts.push("## Coverage Summary".to_owned());
    parts.push(tables::coverage(report));
    let unread = unread(report);
    if !unread.is_empty() {
        parts.push("## Unread Text".to_owned());
        parts.push(
            "Text of the reviewers that may be a finding and could not be read as one.".to_owned(),
        );
        for (reviewer, text) in unread {
            parts.push(format!("[{}]", name(reviewer)));
            parts.push(fenced("plain", &text.replace('\r', "")));
        }
    }
    parts.push("## Reviewer Performance".to_owned());
    parts.extend(tables::performance(report));
    parts.extend(tables::asked(report));
    if !report.recommendations.is_empty() {
        parts.push("## Repo Context Updates".to_owned());
        parts.push(list(&report.recommendations));
    }
    parts.push("## Appendix: Original Reviews".to_owned());
    parts.extend(originals(report));
    let mut text = parts.join("\n\n");
    text.push('\n');
    text
}

/// The first words of a report whose verdict may miss a finding.
pub(super) fn incomplete(report: &Report) -> Option<String> {
    let gaps = super::complete::gaps(report);
    (!gaps.is_empty()).then(|| {
        let gaps: Vec<String> = gaps
            .iter()
            .map(|gap| format!("- {}", inline(gap)))
            .collect();
        format!(
            "**Incomplete.** The verdict may miss a finding:\n\n{}",
            gaps.join("\n")
        )
    })
}

/// What the change is called.
pub(super) fn title(report: &Report) -> String {
    match &report.target.title {
        Some(title) if !title.is_empty() => format!("{} — {title}", report.target.name),
        _ => report.target.name.clone(),
    }
}

/// The summary with a line that names its author.
pub(super) fn summary(report: &Report) -> String {
    let text = block(&report.prose.summary);
    let author = match &report.prose {
        Prose {
            author: Some(author),
            ..
        } => format!("_Written by {}, checked against the data._", inline(author)),
        Prose {
            refused: Some(refused),
            ..
        } => not_taken(refused),
        _ => "_Generated from the findings; no reviewer wrote it._".to_owned(),
    };
    format!("{text}\n\n{author}")
        .trim_start_matches('\n')
        .to_owned()
}

/// Why the lead reviewer's text was refused: what was refused, sentence by sentence.
fn not_taken(refused: &Refused) -> String {
    let mut text = format!(
        "_Generated from the findings: {} was to write it, and {}._",
        inline(&refused.author),
        inline(&refused.reason).replace('_', "\\_")
    );
    if !refused.sentences.is_empty() {
        text.push('\n');
    }
    for sentence in &refused.sentences {
        // In code, so that nothing in it is a link, a name of a finding or a place.
        let said = inline(&sentence.text).replace('`', "'");
        text.push_str(&format!(
            "\n- Refused: `{said}` — {}",
            inline(&sentence.why)
        ));
    }
    text
}

fn findings(report: &Report, severity: Severity) -> Vec<String> {
    let of_severity: Vec<&MergedFinding> = report
        .findings
        .iter()
        .filter(|f| f.severity == severity)
        .collect();
    if of_severity.is_empty() {
        return vec!["None.".to_owned()];
    }
    of_severity.into_iter().map(finding_text).collect()
}

fn list(notes: &[Note]) -> String {
    let items: Vec<String> = notes
        .iter()
        .filter(|n| !n.text.trim().is_empty())
        .map(|note| {
            let made = item(note, &block(&note.text));
            if is_whole(&made) {
                made
            } else {
                item(note, &fenced("plain", &note.text.replace('\r', "")))
            }
        })
        .collect();
    if items.is_empty() {
        "None.".to_owned()
    } else {
        items.join("\n")
    }
}

/// One item of a list: the text and the reviewers that said it.
fn item(note: &Note, text: &str) -> String {
    // A fence begins a line of its own, or not every reader sees it.
    let fence = text.starts_with("```") || text.starts_with("~~~");
    let intro = if fence { "As written:\n\n" } else { "" };
    let mut item = format!("- {intro}{}", text.trim_start()).replace('\n', "\n  ");
    // Behind a fence or a table the names are on a line of their own.
    let inside = text.lines().last().is_some_and(|l| {
        let l = l.trim_start();
        l.starts_with("```") || l.starts_with("~~~") || l.starts_with('|')
    });
    if !note.reviewers.is_empty() {
        item.push_str(if inside { "\n\n  " } else { " " });
        let names: Vec<String> = note
            .reviewers
            .iter()
            .map(|r| format!("[{}]", name(r)))
            .collect();
        item.push_str(&names.join(" "));
    }
    item
}

fn closed(report: &Report) -> Vec<String> {
    let all: Vec<&MergedFinding> = report
        .closed
        .iter()
        .chain(report.findings.iter().filter(|f| !is_open(f)))
        .collect();
    if all.is_empty() {
        return vec!["No finding of an earlier round was closed.".to_owned()];
    }
    vec![tables::resolution(&all)]
}

fn originals(report: &Report) -> Vec<String> {
    let mut parts = Vec::new();
    for run in &report.reviewers {
        parts.push(format!("### [{}]", name(&run.name)));
        if !run.outcome.is_complete() {
            parts.push(inline(&capital(&with_reason(run))));
        }
        if !run.original.trim().is_empty() {
            // Verbatim: the fence keeps its headings from being read as ours.
            parts.push(fenced("markdown original", &run.original));
        }
    }
    if parts.is_empty() {
        parts.push("None.".to_owned());
    }
    parts
}

/// A finding's number and severity in words, for a table.
fn short(finding: &MergedFinding) -> String {
    format!("{} ({})", finding.id, word(finding.severity))
}
