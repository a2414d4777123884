//! What is under the findings: notes, earlier rounds, coverage, performance, the originals.

use super::escape::escape;
use super::finding::{Index, card};
use super::prose::{inline, prose};
use super::{finished, notes};
use crate::model::{ChangeKind, MergedFinding, Note, Outcome, Report};
use crate::report::complete::{self, gaps};
use crate::report::count::{duration, figures, names, status, tokens};
use crate::standing::is_open;

fn section(id: &str, title: &str, inside: &str) -> String {
    format!("<section class=\"more\" id=\"{id}\"><h2>{title}</h2>{inside}</section>")
}

fn list(notes: &[Note]) -> String {
    let items: String = notes
        .iter()
        .filter(|n| !n.text.trim().is_empty())
        .map(|n| {
            let chips: String = n
                .reviewers
                .iter()
                .map(|r| format!("<span class=\"chip\">{}</span>", escape(r)))
                .collect();
            format!(
                "<li><div class=\"prose\">{}</div>{chips}</li>",
                prose(&n.text)
            )
        })
        .collect();
    format!("<ul class=\"notes\">{items}</ul>")
}

pub(super) fn notes_sections(report: &Report) -> String {
    let mut out = String::new();
    if !report.prose.design.trim().is_empty() {
        out.push_str(&section(
            "design",
            "Design observations",
            &format!("<div class=\"prose\">{}</div>", prose(&report.prose.design)),
        ));
    }
    for (id, title, notes) in [
        (
            "concerns",
            "Design concerns",
            notes(report, |r| &r.concerns),
        ),
        ("strengths", "Strengths", notes(report, |r| &r.strengths)),
        (
            "testing",
            "Testing gaps",
            notes(report, |r| &r.testing_gaps),
        ),
        (
            "documentation",
            "Documentation",
            notes(report, |r| &r.documentation),
        ),
        (
            "commits",
            "Commit structure",
            notes(report, |r| &r.commit_structure),
        ),
        (
            "limitations",
            "Acknowledged limitations",
            notes(report, |r| &r.acknowledged_limitations),
        ),
        (
            "feedback",
            "Unresolved feedback",
            notes(report, |r| &r.unresolved_feedback),
        ),
    ] {
        if !notes.is_empty() {
            out.push_str(&section(id, title, &list(&notes)));
        }
    }
    out
}

pub(super) fn closed(report: &Report, index: &Index<'_>) -> String {
    // Open findings are listed above.
    let cards: String = report
        .closed
        .iter()
        .filter(|f| !is_open(f))
        .map(|f| {
            let mut earlier: MergedFinding = f.clone();
            // Its number is of another round, and an id must be unique on a page.
            earlier.id = format!("earlier {}", f.id);
            card(report, index, &earlier)
                .replacen(
                    "<article class=\"finding",
                    "<article class=\"earlier finding",
                    1,
                )
                .replacen(&format!(" id=\"{}\"", escape(&earlier.id)), "", 1)
        })
        .collect();
    if cards.is_empty() {
        return String::new();
    }
    section("earlier", "Closed since earlier rounds", &cards)
}

/// The first words of a page whose verdict may miss a finding.
pub(super) fn incomplete(report: &Report) -> String {
    let gaps: String = gaps(report)
        .iter()
        .map(|gap| format!("<li>{}</li>", inline(gap)))
        .collect();
    if gaps.is_empty() {
        return String::new();
    }
    format!(
        "<div class=\"verdict bad\"><strong>Incomplete</strong> <span>The verdict may miss a finding.</span>\
         <ul>{gaps}</ul></div>"
    )
}

/// The text that was not read, as it is.
pub(super) fn unread(report: &Report) -> String {
    let all: String = complete::unread(report)
        .into_iter()
        .map(|(reviewer, text)| {
            format!(
                "<h3>{}</h3><pre class=\"code wrap\" tabindex=\"0\">{}</pre>",
                escape(reviewer),
                escape(text)
            )
        })
        .collect();
    if all.is_empty() {
        return String::new();
    }
    section(
        "unread",
        "Text that may be a finding and could not be read",
        &all,
    )
}

fn table(head: &str, rows: &str) -> String {
    format!(
        "<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

pub(super) fn coverage(report: &Report) -> String {
    if report.target.files.is_empty() {
        return String::new();
    }
    let done = finished(report);
    let mut head = "<th>File</th><th>Change</th><th>Findings</th>".to_owned();
    for run in &done {
        head.push_str(&format!("<th>{}</th>", escape(&run.name)));
    }
    let rows: String = report
        .target
        .files
        .iter()
        .map(|path| {
            let links: Vec<String> = report
                .findings
                .iter()
                .filter(|f| names(f, path))
                .map(|f| format!("<a href=\"#{0}\">{0}</a>", escape(&f.id)))
                .collect();
            let said: String = done
                .iter()
                .map(|r| match status(&r.review, path) {
                    Some(status) => format!("<td>{}</td>", inline(status)),
                    None => "<td class=\"muted\">not named</td>".to_owned(),
                })
                .collect();
            format!(
                "<tr><td><code>{}</code></td><td class=\"nowrap\">{}</td><td>{}</td>{said}</tr>",
                escape(path),
                change(report, path),
                links.join(" ")
            )
        })
        .collect();
    section(
        "coverage",
        "Coverage of every changed file",
        &table(&head, &rows),
    )
}

fn change(report: &Report, path: &str) -> String {
    let Some(change) = report.target.changes.iter().find(|c| c.path == path) else {
        return "<span class=\"muted\">—</span>".to_owned();
    };
    let kind = match change.kind {
        ChangeKind::Added => "new ",
        ChangeKind::Modified => "",
        ChangeKind::Deleted => "deleted ",
        ChangeKind::Renamed => "renamed ",
    };
    format!(
        "{kind}<span class=\"plus\">+{}</span> <span class=\"minus\">−{}</span>",
        change.added, change.removed
    )
}

pub(super) fn performance(report: &Report) -> String {
    if report.reviewers.is_empty() {
        return String::new();
    }
    let head: String = [
        "Reviewer",
        "Outcome",
        "Time",
        "Findings",
        "Unread",
        "Unique",
        "False positives",
        "Downgraded",
        "Files",
        "Missed",
        "Tokens in / out",
        "Cost",
    ]
    .iter()
    .map(|h| format!("<th>{h}</th>"))
    .collect();
    let mut troubles = String::new();
    let rows: String = report
        .reviewers
        .iter()
        .map(|run| {
            let f = figures(report, run);
            let class = match &run.outcome {
                Outcome::Finished { warning: None } => "good",
                Outcome::Finished { .. } => "fair",
                Outcome::Partial { .. } | Outcome::Failed { .. } => "bad",
                Outcome::Missing { .. } => "plain",
            };
            let (outcome, why) = (run.outcome.word(), run.outcome.trouble());
            if let Some(why) = why {
                troubles.push_str(&format!(
                    "<li><strong>{}</strong> {outcome}: {}</li>",
                    escape(&run.name),
                    inline(why)
                ));
            }
            let p = &run.performance;
            let dash = || "—".to_owned();
            let spent = match (p.input_tokens, p.output_tokens) {
                (None, None) => dash(),
                (i, o) => format!(
                    "{} / {}",
                    i.map_or_else(dash, tokens),
                    o.map_or_else(dash, tokens)
                ),
            };
            let there = run.outcome.is_answer();
            let number = |n: usize| if there { n.to_string() } else { dash() };
            let known = |n: Option<usize>| n.filter(|_| there).map_or_else(dash, |n| n.to_string());
            let cells = [
                p.seconds.map_or_else(dash, duration),
                if there { f.short() } else { dash() },
                number(run.review.unparsed.len()),
                number(f.unique),
                known(f.false_positives),
                number(f.downgraded),
                known(f.files_covered),
                known(f.missed_files),
                spent,
                p.cost_usd.map_or_else(dash, |c| format!("${c:.2}")),
            ];
            let cells: String = cells
                .iter()
                .map(|c| format!("<td class=\"num\">{}</td>", escape(c)))
                .collect();
            format!(
                "<tr><th scope=\"row\">{}</th><td><span class=\"tag {class}\">{outcome}</span></td>{cells}</tr>",
                escape(&run.name)
            )
        })
        .collect();
    let troubles = if troubles.is_empty() {
        String::new()
    } else {
        format!("<ul>{troubles}</ul>")
    };
    section(
        "performance",
        "Reviewer performance",
        &format!(
            "{}{troubles}<p class=\"muted small\">Counts are as each reviewer judged. Unique: raised by no other reviewer and \
             not refuted. False positives: refuted by a check against the code. Missed: files that the reviewer covered \
             and where only others found something.</p>",
            table(&head, &rows)
        ),
    )
}

pub(super) fn recommendations(report: &Report) -> String {
    if report.recommendations.is_empty() {
        return String::new();
    }
    section(
        "recommendations",
        "Recommendations for the context file",
        &list(&report.recommendations),
    )
}

pub(super) fn originals(report: &Report) -> String {
    let all: String = report
        .reviewers
        .iter()
        .filter(|r| !r.original.trim().is_empty())
        .map(|r| {
            format!(
                "<details class=\"original\"><summary>{}</summary><pre class=\"code wrap\" tabindex=\"0\">{}</pre></details>",
                escape(&r.name),
                escape(&r.original)
            )
        })
        .collect();
    if all.is_empty() {
        return String::new();
    }
    section("originals", "Appendix: original reviews", &all)
}
