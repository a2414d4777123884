//! One finding as a card.

use super::code;
use super::escape::escape;
use super::prose::{inline, prose};
use crate::model::{CheckResult, Finding, History, Location, MergedFinding, Report, Severity};
use crate::plain::place;
use crate::report::count::word;
use crate::report::markdown::{check_name, class, is_diff, result_name, scope};
use crate::standing::{Standing, is_open, standing};

/// What the filters go by: numbers into these lists, so that no text of a reviewer gets into an attribute that a
/// script compares.
pub(super) struct Index<'a> {
    pub(super) reviewers: Vec<&'a str>,
    pub(super) files: Vec<&'a str>,
}

fn numbers(all: &[&str], wanted: impl Fn(&str) -> bool) -> String {
    all.iter()
        .enumerate()
        .filter(|(_, name)| wanted(name))
        .map(|(n, _)| n.to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

pub(super) fn card(report: &Report, index: &Index<'_>, finding: &MergedFinding) -> String {
    let lead = &finding.lead;
    let names = finding.reviewers();
    let refuted = standing(finding) == Standing::Refuted;
    let open = !refuted && is_open(finding) && finding.severity != Severity::Suggestion;
    let chips: String = names
        .iter()
        .map(|n| format!("<span class=\"chip\">{}</span>", escape(n)))
        .collect();
    let where_ = lead
        .locations
        .first()
        .map(|l| format!("<span class=\"path\">{}</span>", escape(&place(l))))
        .unwrap_or_default();
    format!(
        "<article class=\"finding {severity}{dim}\" id=\"{id}\" data-severity=\"{severity}\" data-reviewers=\"{reviewers}\" data-files=\"{files}\">\
         <details{open}><summary><span class=\"badge\">{id}</span><h3>{title}</h3>\
         <span class=\"under\">{where_}{state}{chips}</span></summary><div class=\"body\">{body}</div></details></article>",
        severity = word(finding.severity),
        dim = if refuted { " refuted" } else { "" },
        id = escape(&finding.id),
        reviewers = numbers(&index.reviewers, |n| names.contains(&n)),
        files = numbers(&index.files, |f| lead.locations.iter().any(|l| l.path == f)),
        open = if open { " open" } else { "" },
        title = inline(&lead.title),
        state = state(finding, refuted),
        body = body(report, finding),
    )
}

/// What a reader sees before opening the card: refuted, not new, where it comes from.
fn state(finding: &MergedFinding, refuted: bool) -> String {
    let mut tags: Vec<(&str, String)> = Vec::new();
    if refuted {
        tags.push(("bad", "refuted by a check".to_owned()));
    }
    match &finding.history {
        History::New => {}
        History::Open { since } => tags.push(("plain", format!("open since round {since}"))),
        History::Fixed { .. } => tags.push(("good", "fixed".to_owned())),
        History::Declined { .. } => tags.push(("plain", "declined".to_owned())),
    }
    if finding.deferred.is_some() {
        tags.push(("plain", "put off".to_owned()));
    }
    tags.extend(finding.lead.class.map(|c| ("plain", class(c).to_owned())));
    tags.extend(
        finding
            .lead
            .scope
            .filter(|s| *s == crate::model::Scope::Future)
            .map(|s| ("plain", scope(s).to_owned())),
    );
    tags.into_iter()
        .map(|(class, text)| format!("<span class=\"tag {class}\">{}</span>", escape(&text)))
        .collect()
}

fn body(report: &Report, finding: &MergedFinding) -> String {
    let lead = &finding.lead;
    let mut parts = vec![places(report, &lead.locations)];
    match report.excerpts.get(&finding.id) {
        Some(excerpt) => parts.push(code::excerpt(excerpt)),
        None => parts.extend(
            lead.quote
                .as_deref()
                .filter(|q| !q.trim().is_empty())
                .map(|q| {
                    let first = lead.locations.first();
                    code::quote(
                        first.map_or("", |l| l.path.as_str()),
                        first.and_then(|l| l.start),
                        q,
                    )
                }),
        ),
    }
    parts.push(format!(
        "<div class=\"prose\">{}</div>",
        prose(&lead.explanation)
    ));
    if let History::Declined { reason, .. } = &finding.history {
        parts.push(format!(
            "<p class=\"note\">Declined: {}</p>",
            inline(reason)
        ));
    }
    if let Some(reason) = &finding.deferred {
        parts.push(format!(
            "<p class=\"note\">Put off by the author: {}</p>",
            inline(reason)
        ));
    }
    if let Some(reason) = &finding.reopened {
        parts.push(format!(
            "<p class=\"note\">Was declined, and the code around it has changed since: {}</p>",
            inline(reason)
        ));
    }
    if let Some(disagreement) = &finding.disagreement {
        parts.push(format!(
            "<p class=\"note\"><strong>Reviewers disagree on the severity.</strong> {}</p>",
            escape(disagreement)
        ));
    }
    parts.push(fix(lead));
    parts.push(evidence(lead));
    parts.push(checks(lead));
    parts.push(others(finding));
    parts.concat()
}

/// All the places, with a link to the forge when it is one we know the addresses of.
fn places(report: &Report, all: &[Location]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let items: Vec<String> = all
        .iter()
        .map(|l| {
            let text = format!("<code>{}</code>", escape(&place(l)));
            match forge_link(report, l) {
                Some(href) => format!("<a href=\"{href}\" rel=\"noopener noreferrer\">{text}</a>"),
                None => text,
            }
        })
        .collect();
    format!("<p class=\"places\">{}</p>", items.join(" "))
}

fn forge_link(report: &Report, place: &Location) -> Option<String> {
    let repo = report.target.repo.as_deref()?;
    let head = &report.target.head;
    let name = repo
        .strip_prefix("https://github.com/")?
        .trim_end_matches(".git");
    let plain = |t: &str| {
        !t.is_empty()
            && t.chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c))
    };
    if !plain(name) || !plain(head) || !plain(&place.path) {
        return None;
    }
    let lines = match (place.start, place.end) {
        (Some(start), Some(end)) if end > start => format!("#L{start}-L{end}"),
        (Some(start), _) => format!("#L{start}"),
        (None, _) => String::new(),
    };
    Some(format!(
        "https://github.com/{name}/blob/{head}/{}{lines}",
        place.path
    ))
}

fn fix(lead: &Finding) -> String {
    let Some(fix) = lead.fix.as_deref().filter(|f| !f.trim().is_empty()) else {
        return String::new();
    };
    let inside = if is_diff(fix) {
        code::diff_block(fix)
    } else {
        format!("<div class=\"prose\">{}</div>", prose(fix))
    };
    format!("<h4>Proposed fix</h4>{inside}")
}

fn evidence(lead: &Finding) -> String {
    if lead.evidence.is_empty() {
        return String::new();
    }
    let text: Vec<String> = lead
        .evidence
        .iter()
        .map(|e| {
            let output = e.output.as_deref().unwrap_or_default().trim_end();
            format!("$ {}\n{output}", e.command).trim_end().to_owned()
        })
        .collect();
    format!(
        "<h4>How to see it</h4>{}",
        code::code_block("", &text.join("\n"))
    )
}

fn checks(lead: &Finding) -> String {
    if lead.checks.is_empty() {
        return "<p class=\"muted\">Not checked by machine.</p>".to_owned();
    }
    let items: String = lead
        .checks
        .iter()
        .map(|c| {
            let (class, mark) = match c.result {
                CheckResult::Confirmed => ("good", "✓"),
                CheckResult::Corrected => ("fair", "≈"),
                CheckResult::Refuted => ("bad", "✗"),
                CheckResult::Unchecked => ("plain", "–"),
            };
            let detail = if c.detail.is_empty() {
                String::new()
            } else {
                format!(" <span class=\"muted\">{}</span>", escape(&c.detail))
            };
            format!(
                "<li class=\"{class}\"><span class=\"mark\" aria-hidden=\"true\">{mark}</span><span>{}: {}{detail}</span></li>",
                check_name(c.kind),
                result_name(c.result)
            )
        })
        .collect();
    format!("<h4>Checked by machine</h4><ul class=\"checks\">{items}</ul>")
}

/// The finding in each reviewer's own words, when there are several.
fn others(finding: &MergedFinding) -> String {
    if finding.voices.len() < 2 {
        return String::new();
    }
    let items: String = finding
        .voices
        .iter()
        .map(|v| {
            let said = &v.finding;
            let at = said
                .locations
                .first()
                .map(|l| format!(" <code>{}</code>", escape(&place(l))))
                .unwrap_or_default();
            format!(
                "<div class=\"voice\"><p><span class=\"chip\">{}</span> <span class=\"dot {severity}\"></span>{severity}{at}</p>\
                 <p><strong>{}</strong></p><div class=\"prose\">{}</div></div>",
                escape(&v.reviewer),
                inline(&said.title),
                prose(&said.explanation),
                severity = word(said.severity),
            )
        })
        .collect();
    format!(
        "<details class=\"voices\"><summary>In each reviewer’s words ({})</summary>{items}</details>",
        finding.voices.len()
    )
}
