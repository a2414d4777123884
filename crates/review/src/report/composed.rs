//! The executive summary when no lead reviewer wrote one: sentences generated from the data only.

use super::count::{absent, by_severity, counting, finished, plural, rounds};
use crate::model::{History, MergedFinding, Prose, Report, Severity};
use crate::standing::{Standing, counts, is_open, standing};

/// How many of the worst findings the summary names.
const MOST_NAMED: usize = 5;

/// Composes the summary from the facts. `author` is `None`, so the report says that no reviewer wrote it.
pub fn compose(report: &Report) -> Prose {
    let mut parts = vec![reviewers(report), what(report)];
    parts.extend(earlier(report));
    parts.extend(worst(report));
    parts.retain(|p| !p.is_empty());
    Prose {
        summary: parts.join("\n\n"),
        ..Prose::default()
    }
}

fn reviewers(report: &Report) -> String {
    let done = finished(report).len();
    let asked = report.reviewers.len();
    let files = report.target.files.len();
    // Imported reviews do not say what change they are about.
    let of = match (files, report.target.commits.len()) {
        (0, _) => String::new(),
        (_, 0) => format!(" of {}", plural(files, "changed file")),
        (_, commits) => format!(
            " of {} in {}",
            plural(files, "changed file"),
            plural(commits, "commit")
        ),
    };
    let mut text = format!(
        "{done} of {} gave a usable review{of}.",
        plural(asked, "reviewer"),
    );
    for (name, why) in absent(report) {
        text.push_str(&format!(" {name} {why}."));
    }
    text
}

fn what(report: &Report) -> String {
    let all: Vec<&MergedFinding> = report.findings.iter().filter(|f| is_open(f)).collect();
    if all.is_empty() {
        return "No finding is open.".to_owned();
    }
    let raised: usize = all.iter().map(|f| f.voices.len()).sum();
    let by_severity = by_severity(report);
    let shared = all.iter().filter(|f| f.reviewers().len() > 1).count();
    let refuted = all
        .iter()
        .filter(|f| standing(f) == Standing::Refuted)
        .count();
    let merged = if raised == all.len() {
        String::new()
    } else {
        format!(
            ", which {} {} after merging",
            is_or_are(all.len()),
            all.len()
        )
    };
    let mut text = format!(
        "They raised {}{merged}: {}.",
        plural(raised, "finding"),
        by_severity.join(", "),
    );
    // Agreement needs two reviewers.
    if finished(report).len() > 1 {
        text.push_str(&match shared {
            0 => " None was raised by more than one reviewer.".to_owned(),
            1 => " 1 was raised by more than one reviewer.".to_owned(),
            _ => format!(" {shared} were raised by more than one reviewer."),
        });
    }
    if refuted > 0 {
        text.push_str(&format!(
            " Checks against the code refuted {refuted}; shown as such, and not counted for the verdict."
        ));
    }
    text
}

fn is_or_are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

fn earlier(report: &Report) -> Option<String> {
    if report.round < 2 {
        return None;
    }
    let this = rounds(report).pop()?;
    let open = report
        .findings
        .iter()
        .filter(|f| matches!(f.history, History::Open { .. }))
        .count();
    Some(format!(
        "This is round {}. Of the findings of earlier rounds {} fixed, {} declined, {} still open.",
        report.round, this.fixed, this.declined, open
    ))
}

fn worst(report: &Report) -> Option<String> {
    let named: Vec<String> = report
        .findings
        .iter()
        .filter(|f| f.severity != Severity::Suggestion && counts(f))
        .take(MOST_NAMED)
        .map(|f| {
            let place = f
                .lead
                .locations
                .first()
                .map(|l| format!(" — `{}`", crate::plain::place(l)))
                .unwrap_or_default();
            format!(
                "- **{}** {}{place}",
                f.id,
                super::markdown::inline(&f.lead.title)
            )
        })
        .collect();
    if named.is_empty() {
        return None;
    }
    let total = counting(report, Severity::Critical) + counting(report, Severity::Important);
    let mut text = format!("To answer before merging:\n\n{}", named.join("\n"));
    if total > named.len() {
        text.push_str(&format!("\n\nThese are the first of {total}."));
    }
    Some(text)
}
