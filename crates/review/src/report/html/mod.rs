//! The report as one HTML file, for people.
//!
//! *Security*: all text of others is escaped (`escape`) or rendered without raw HTML and with harmless links only
//! (`prose`); in addition, a content security policy allows only our one style sheet and our one script, by their
//! hashes: no other script, no image, no request of any kind.

mod asked;
mod charts;
mod code;
mod escape;
mod finding;
mod prose;
mod sections;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::count::{SEVERITIES, duration, files, finished, notes, open, plural, rounds, word};
use super::markdown::title;
use crate::model::{Report, Severity};
use crate::report::harmless::harmless;
use crate::standing::{Standing, is_open, standing};
use escape::{escape, safe_href};
use finding::{Index, card};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole report as one self-contained page.
pub fn html(report: &Report) -> String {
    let report = &harmless(report);
    let index = Index {
        reviewers: finished(report).iter().map(|r| r.name.as_str()).collect(),
        files: files(report),
    };
    let main = [
        overview(report),
        figures(report),
        findings(report, &index),
        sections::notes_sections(report),
        sections::closed(report, &index),
        sections::coverage(report),
        sections::unread(report),
        sections::performance(report),
        asked::close_calls(report),
        sections::recommendations(report),
        sections::originals(report),
    ]
    .concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"deep-review {version}\">\n\
         <title>Deep review: {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#findings\">To the findings</a>\n{header}\n<main>{main}</main>\n\
         <footer>Made by deep-review {version}. This page loads nothing from the network.</footer>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        policy = policy(),
        version = env!("CARGO_PKG_VERSION"),
        title = escape(&title(report)),
        header = header(report),
    )
}

/// What the page may load: nothing but our own style and script, by hash.
fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn header(report: &Report) -> String {
    let target = &report.target;
    let name = match target.url.as_deref().and_then(safe_href) {
        Some(href) => format!(
            "<a href=\"{href}\" rel=\"noopener noreferrer\">{}</a>",
            escape(&target.name)
        ),
        None => escape(&target.name),
    };
    let heading = target.title.as_deref().filter(|t| !t.is_empty());
    let mut facts: Vec<String> = Vec::new();
    facts.extend(
        target
            .repo
            .as_deref()
            .map(|r| escape(r.trim_start_matches("https://").trim_end_matches(".git"))),
    );
    facts.push(name);
    facts.extend(
        target
            .author
            .as_deref()
            .map(|a| format!("by {}", escape(a))),
    );
    let sha = |s: &str| format!("<code>{}</code>", escape(s.get(..10).unwrap_or(s)));
    if !target.head.is_empty() {
        facts.push(format!("{} on {}", sha(&target.head), sha(&target.base)));
    }
    facts.push(escape(&report.date));
    facts.extend((report.seconds > 0.0).then(|| duration(report.seconds)));
    format!(
        "<header class=\"top\"><div class=\"bar\"><span class=\"eyebrow\">Deep review{round}</span>\
         <button id=\"theme\" type=\"button\" hidden>Theme: auto</button></div>\
         <h1>{heading}</h1><p class=\"facts\">{facts}</p></header>",
        round = match report.round {
            0 => String::new(),
            round => format!(" · round {round}"),
        },
        heading = prose::inline(heading.unwrap_or(&target.name)),
        facts = facts.join("<span class=\"sep\"> · </span>"),
    )
}

fn overview(report: &Report) -> String {
    let decision = &report.verdict.decision;
    let class = match decision.as_str() {
        "merge" => "good",
        "merge with fixes" => "fair",
        _ => "bad",
    };
    let author = match (&report.prose.author, &report.prose.refused) {
        (Some(author), _) => format!("Written by {}, checked against the data.", escape(author)),
        (None, Some(refused)) => asked::not_taken(refused),
        (None, None) => "Generated from the findings; no reviewer wrote it.".to_owned(),
    };
    let changed: (u64, u64) = report.target.changes.iter().fold((0, 0), |(a, r), c| {
        (a + u64::from(c.added), r + u64::from(c.removed))
    });
    let mut tiles: Vec<(&str, String, String)> = SEVERITIES
        .into_iter()
        .map(|s| {
            let name = match s {
                Severity::Critical => "critical",
                Severity::Important => "important",
                Severity::Suggestion => "suggestions",
            };
            (word(s), open(report, s).to_string(), name.to_owned())
        })
        .collect();
    let refuted = report
        .findings
        .iter()
        .filter(|f| is_open(f) && standing(f) == Standing::Refuted)
        .count();
    if refuted > 0 {
        tiles.push(("plain", refuted.to_string(), "of them refuted".to_owned()));
    }
    if let Some(this) = rounds(report).pop().filter(|_| report.round > 1) {
        tiles.push(("plain", this.fixed.to_string(), "fixed since".to_owned()));
    }
    tiles.push((
        "plain",
        format!("{}/{}", finished(report).len(), report.reviewers.len()),
        "reviewers answered".to_owned(),
    ));
    let size = if report.target.changes.is_empty() {
        String::new()
    } else {
        format!(" <small>+{} −{}</small>", changed.0, changed.1)
    };
    let files = report.target.files.len();
    let label = plural(files, "changed file");
    // Reviews that were imported do not say what changed.
    if files > 0 {
        tiles.push((
            "plain",
            files.to_string(),
            format!(
                "{}{size}",
                label.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ')
            ),
        ));
    }
    let tiles: String = tiles
        .into_iter()
        .map(|(class, number, name)| {
            format!("<li class=\"{class}\"><b>{number}</b><span>{name}</span></li>")
        })
        .collect();
    format!(
        "<section class=\"overview\" aria-label=\"Summary\">{incomplete}<p class=\"verdict {class}\"><strong>{decision}</strong> \
         <span>{reason}</span></p><ul class=\"tiles\">{tiles}</ul>\
         <div class=\"prose summary\">{summary}</div><p class=\"muted small\">{author}</p></section>",
        incomplete = sections::incomplete(report),
        decision = escape(decision),
        reason = prose::inline(&report.verdict.reason),
        summary = linked(report, &prose::prose(&report.prose.summary)),
    )
}

/// Bold ids of findings as links to them. Both sides are our own markup around an id without markup.
fn linked(report: &Report, html: &str) -> String {
    let mut html = html.to_owned();
    for finding in &report.findings {
        let id = escape(&finding.id);
        html = html.replace(
            &format!("<strong>{id}</strong>"),
            &format!("<strong><a href=\"#{id}\">{id}</a></strong>"),
        );
    }
    html
}

fn figures(report: &Report) -> String {
    let all: String = [
        charts::agreement_chart(report),
        charts::rounds_chart(report),
        charts::files_chart(report),
    ]
    .into_iter()
    .flatten()
    .collect();
    if all.is_empty() {
        return String::new();
    }
    format!("<section class=\"charts\" aria-label=\"Charts\">{all}</section>")
}

fn findings(report: &Report, index: &Index<'_>) -> String {
    let options = |names: &[&str]| -> String {
        names
            .iter()
            .enumerate()
            .map(|(n, name)| format!("<option value=\"{n}\">{}</option>", escape(name)))
            .collect()
    };
    // Only files that a finding names can filter anything.
    let named: String = index
        .files
        .iter()
        .enumerate()
        .filter(|(_, path)| report.findings.iter().any(|f| super::count::names(f, path)))
        .map(|(n, path)| format!("<option value=\"{n}\">{}</option>", escape(path)))
        .collect();
    let toggles: String = SEVERITIES
        .into_iter()
        .map(|s| {
            let all = report.findings.iter().filter(|f| f.severity == s).count();
            format!(
                "<button type=\"button\" class=\"toggle {word}\" data-severity=\"{word}\" aria-pressed=\"true\">\
                 <span class=\"dot {word}\"></span>{word} <span class=\"n\">{all}</span></button>",
                word = word(s)
            )
        })
        .collect();
    let bar = format!(
        "<div class=\"filters\" role=\"search\" aria-label=\"Filter findings\" hidden>\
         <div class=\"toggles\" role=\"group\" aria-label=\"Severity\">{toggles}</div>\
         <select id=\"by-reviewer\" aria-label=\"Reviewer\"><option value=\"\">All reviewers</option>{reviewers}</select>\
         <select id=\"by-file\" aria-label=\"File\"><option value=\"\">All files</option>{named}</select>\
         <input id=\"by-text\" type=\"search\" placeholder=\"Search ( / )\" aria-label=\"Text\" autocomplete=\"off\" spellcheck=\"false\">\
         <button type=\"button\" id=\"fold\" aria-pressed=\"false\">Open all</button>\
         <output id=\"shown\" aria-live=\"polite\"></output></div>",
        reviewers = options(&index.reviewers),
    );
    let mut cards = String::new();
    for severity in SEVERITIES {
        let of_severity: Vec<String> = report
            .findings
            .iter()
            .filter(|f| f.severity == severity)
            .map(|f| card(report, index, f))
            .collect();
        if of_severity.is_empty() {
            continue;
        }
        let name = match severity {
            Severity::Critical => "Critical issues",
            Severity::Important => "Important issues",
            Severity::Suggestion => "Suggestions",
        };
        cards.push_str(&format!(
            "<section class=\"group\"><h2>{name}</h2>{}</section>",
            of_severity.concat()
        ));
    }
    if report.findings.is_empty() {
        cards.push_str("<p class=\"muted\">No findings.</p>");
    }
    format!(
        "<section id=\"findings\" tabindex=\"-1\" aria-label=\"Findings\">{bar}{cards}\
         <p id=\"nothing\" class=\"muted\" hidden>No finding matches. <button type=\"button\" id=\"reset\">Show all</button></p></section>"
    )
}
