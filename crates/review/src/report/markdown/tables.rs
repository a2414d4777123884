//! The tables: metadata, closed findings, coverage, performance.

use super::text::{cell, name};
use crate::model::{ChangeKind, CloseCalls, History, MergedFinding, Outcome, Report, ReviewerRun};
use crate::plain::place;
use crate::report::count::{Figures, duration, figures, finished, names, plural, status, tokens};

fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let mut lines = vec![line(head), format!("|{}", "---|".repeat(head.len()))];
    lines.extend(rows.iter().map(|r| line(r)));
    lines.join("\n")
}

pub(super) fn metadata(report: &Report) -> String {
    let target = &report.target;
    let mut rows: Vec<(&str, String)> = vec![("Date", cell(&report.date))];
    let link = |text: &str, url: Option<&str>| match url {
        // Only what cannot end the link or the cell.
        Some(url)
            if url.starts_with("https://")
                && !url.contains(|c: char| c.is_whitespace() || "()<>|\\\"".contains(c)) =>
        {
            format!("[{}]({url})", cell(text).replace(['[', ']'], ""))
        }
        _ => cell(text),
    };
    if let Some(repo) = &target.repo {
        rows.push(("Repo", link(repo, Some(repo))));
    }
    // An imported review may not say its round.
    if report.round > 0 {
        rows.push(("Round", format!("{} (of target)", report.round)));
    }
    if let Some(author) = &target.author {
        rows.push(("Author", cell(author)));
    }
    rows.push(("Target", link(&super::title(report), target.url.as_deref())));
    for (name, commit) in [("Head", &target.head), ("Merge base", &target.base)] {
        if !commit.is_empty() {
            rows.push((name, format!("`{}`", cell(commit))));
        }
    }
    let commits: Vec<String> = target.commits.iter().map(|c| cell(c)).collect();
    if !commits.is_empty() {
        rows.push(("Commits", commits.join("<br>")));
    }
    let reviewers: Vec<String> = report.reviewers.iter().map(reviewer).collect();
    rows.push(("Reviewers", reviewers.join(", ")));
    rows.push((
        "Verdict",
        format!(
            "**{}** — {}",
            capital(&cell(&report.verdict.decision)),
            cell(&report.verdict.reason)
        ),
    ));
    if report.seconds > 0.0 {
        rows.push(("Wall-clock time", duration(report.seconds)));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, value)| vec![format!("**{name}**"), value])
        .collect();
    table(&[String::new(), String::new()], &rows)
}

/// A name with what is wrong with it in parentheses; a comma would split it for a reader of the row.
fn reviewer(run: &ReviewerRun) -> String {
    let name = name(&run.name).replace('|', "\\|");
    match run.outcome {
        Outcome::Finished { .. } => name,
        _ => format!("{name} ({})", run.outcome.word()),
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|c| c.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

pub(super) fn resolution(findings: &[&MergedFinding]) -> String {
    let head = ["Finding", "Title", "Raised in round", "State"].map(str::to_owned);
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|f| {
            let at = f
                .lead
                .locations
                .first()
                .map(|l| format!(" — `{}`", cell(&place(l))))
                .unwrap_or_default();
            let (since, state) = match &f.history {
                History::Fixed { since } => (since.to_string(), "fixed".to_owned()),
                History::Declined { since, reason } => {
                    (since.to_string(), format!("declined: {}", cell(reason)))
                }
                History::Open { since } => (since.to_string(), "open".to_owned()),
                History::New => (String::new(), "new".to_owned()),
            };
            vec![
                super::short(f),
                format!("{}{at}", cell(&f.lead.title)),
                since,
                state,
            ]
        })
        .collect();
    table(&head, &rows)
}

/// Every changed file: which findings are in it, and what each reviewer says of it.
pub(super) fn coverage(report: &Report) -> String {
    if report.target.files.is_empty() {
        return "No changed file is known.".to_owned();
    }
    let done = finished(report);
    let mut head = vec![
        "File".to_owned(),
        "Findings".to_owned(),
        "Change".to_owned(),
    ];
    head.extend(done.iter().map(|r| cell(&r.name)));
    let rows: Vec<Vec<String>> = report
        .target
        .files
        .iter()
        .map(|path| {
            let ids: Vec<&str> = report
                .findings
                .iter()
                .filter(|f| names(f, path))
                .map(|f| f.id.as_str())
                .collect();
            let found = if ids.is_empty() {
                "none".to_owned()
            } else {
                ids.join(", ")
            };
            let mut row = vec![
                format!("`{}`", cell(path).replace('`', "'")),
                found,
                change(report, path),
            ];
            row.extend(
                done.iter()
                    .map(|r| cell(status(&r.review, path).unwrap_or("not named"))),
            );
            row
        })
        .collect();
    table(&head, &rows)
}

fn change(report: &Report, path: &str) -> String {
    let Some(change) = report.target.changes.iter().find(|c| c.path == path) else {
        return "—".to_owned();
    };
    let kind = match change.kind {
        ChangeKind::Added => "added ",
        ChangeKind::Modified => "",
        ChangeKind::Deleted => "deleted ",
        ChangeKind::Renamed => "renamed ",
    };
    format!("{kind}+{} −{}", change.added, change.removed)
}

/// The table of all reviewers, then those without a review, with the reason.
pub(super) fn performance(report: &Report) -> Vec<String> {
    let mut parts = Vec::new();
    let all: Vec<(&ReviewerRun, Figures)> = report
        .reviewers
        .iter()
        .map(|r| (r, figures(report, r)))
        .collect();
    if all.is_empty() {
        return vec!["No reviewer was asked.".to_owned()];
    }
    let mut head = vec![String::new()];
    head.extend(all.iter().map(|(r, _)| cell(&r.name)));
    let row = |name: &str, value: &dyn Fn(&ReviewerRun, &Figures) -> String| {
        let mut cells = vec![name.to_owned()];
        cells.extend(all.iter().map(|(r, f)| {
            // Of a reviewer without an answer, only how it ended and what it took is known.
            let spent = [
                "Outcome",
                "Duration",
                "Tool calls",
                "Tokens read",
                "Tokens written",
                "Cost",
            ];
            if !r.outcome.is_answer() && !spent.contains(&name) {
                "—".to_owned()
            } else {
                value(r, f)
            }
        }));
        cells
    };
    let unknown = || "—".to_owned();
    let known = |n: Option<usize>| n.map_or_else(unknown, |n| n.to_string());
    let rows = vec![
        row("Outcome", &|r, _| r.outcome.word().to_owned()),
        row("Duration", &|r, _| {
            r.performance.seconds.map_or_else(unknown, duration)
        }),
        row("Findings", &|_, f| f.short()),
        row("Unread pieces of text", &|r, _| {
            r.review.unparsed.len().to_string()
        }),
        row("Unique insights", &|_, f| f.unique.to_string()),
        row("False positives", &|_, f| known(f.false_positives)),
        row("Downgraded", &|_, f| f.downgraded.to_string()),
        row("Design observations", &|_, f| f.observations.to_string()),
        row("Files covered", &|_, f| {
            let all = report.target.files.len();
            f.files_covered
                .map_or_else(unknown, |n| format!("{n} of {all}"))
        }),
        row("Coverage misses", &|_, f| known(f.missed_files)),
        row("Tool calls", &|r, _| tool_calls(r)),
        row("Tokens read", &|r, _| {
            r.performance.input_tokens.map_or_else(unknown, tokens)
        }),
        row("Tokens written", &|r, _| {
            r.performance.output_tokens.map_or_else(unknown, tokens)
        }),
        row("Cost", &|r, _| {
            r.performance
                .cost_usd
                .map_or_else(unknown, |c| format!("${c:.2}"))
        }),
    ];
    parts.push(table(&head, &rows));
    let troubles: Vec<String> = report
        .reviewers
        .iter()
        .filter_map(|r| {
            let (what, why) = (r.outcome.word(), r.outcome.trouble()?);
            Some(format!("- {} {what}: {}", cell(&r.name), cell(why)))
        })
        .collect();
    if !troubles.is_empty() {
        parts.push(troubles.join("\n"));
    }
    parts.push(
        "False positives are findings that a check against the code refuted; coverage misses are files that the \
         reviewer covered and where only others found something."
            .to_owned(),
    );
    parts
}

/// The further questions to reviewers, and the decisions about close calls.
pub(super) fn asked(report: &Report) -> Vec<String> {
    let mut parts = Vec::new();
    let lines: Vec<String> = report
        .asked
        .iter()
        .map(|asked| {
            let spent = &asked.performance;
            let mut facts: Vec<String> = spent.seconds.map(duration).into_iter().collect();
            facts.extend(spent.output_tokens.map(|n| format!("{} tokens", tokens(n))));
            facts.extend(spent.cost_usd.map(|c| format!("${c:.2}")));
            let mut line = format!("- {} ({})", cell(&asked.name), cell(&asked.purpose));
            if !facts.is_empty() {
                line.push_str(&format!(": {}", facts.join(", ")));
            }
            if let Some(trouble) = &asked.trouble {
                line.push_str(&format!("; {}", cell(trouble)));
            }
            line
        })
        .collect();
    if !lines.is_empty() {
        parts.push(format!("Asked beyond the reviews:\n\n{}", lines.join("\n")));
    }
    if let Some(close) = &report.close_calls {
        parts.push(close_calls(close));
    }
    parts
}

fn close_calls(close: &CloseCalls) -> String {
    let decided = close.calls.iter().filter(|c| c.same.is_some()).count();
    let mut text = format!(
        "Close calls of the merge: {} decided {decided} of {}.",
        cell(&close.by),
        plural(close.calls.len(), "pair"),
    );
    if let Some(trouble) = &close.trouble {
        text.push_str(&format!(" It {}; the likeness decides.", cell(trouble)));
    }
    let rows: Vec<Vec<String>> = close
        .calls
        .iter()
        .map(|call| {
            let name = |(reviewer, id): &(String, String)| cell(&format!("{reviewer} {id}"));
            let decided = match call.same {
                Some(true) => "one defect",
                Some(false) => "two defects",
                None => "by likeness",
            };
            let score = format!("{:.2}", call.score);
            vec![
                name(&call.one),
                name(&call.other),
                score,
                decided.to_owned(),
            ]
        })
        .collect();
    let head = ["One", "Other", "Likeness", "Decided"].map(str::to_owned);
    format!("{text}\n\n{}", table(&head, &rows))
}

fn tool_calls(run: &ReviewerRun) -> String {
    let calls = &run.performance.tool_calls;
    if calls.is_empty() {
        return "—".to_owned();
    }
    let total: u32 = calls.iter().map(|(_, n)| n).sum();
    let by_name: Vec<String> = calls
        .iter()
        .map(|(name, n)| format!("{} {n}", cell(name)))
        .collect();
    format!("{total} ({})", by_name.join(", "))
}
