//! Charts as inline SVG. Colours come from the style sheet, by class; no style attribute, which the page's policy
//! forbids.

use super::escape::escape;
use crate::model::{Report, Severity};
use crate::report::count::{SEVERITIES, agreement, files, finished, names, plural, rounds, word};
use crate::standing::is_open;

/// A figure with its caption. `label` says the same in words.
fn figure(title: &str, label: &str, width: usize, height: usize, inside: &str) -> String {
    format!(
        "<figure class=\"chart\"><figcaption>{}</figcaption>\
         <svg role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">{inside}</svg></figure>",
        escape(title),
        escape(label)
    )
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return escape(text);
    }
    let cut: String = text.chars().take(most - 1).collect();
    escape(&format!("{}…", cut.trim_end()))
}

/// How many reviewers the matrix shows; more would be too small to read.
const MOST_REVIEWERS: usize = 10;

/// How much of a reviewer's name the matrix shows, in characters. A model with its version and setting has some 40.
const LONGEST_NAME: usize = 48;

/// The width of a character of a label, at most, in pixels.
const CHARACTER: usize = 7;

/// The matrix of findings that each two reviewers share.
pub(super) fn agreement_chart(report: &Report) -> Option<String> {
    let all: Vec<&str> = finished(report)
        .into_iter()
        .map(|r| r.name.as_str())
        .take(MOST_REVIEWERS)
        .collect();
    if all.len() < 2 || report.findings.is_empty() {
        return None;
    }
    let counts = agreement(report, &all);
    let shared = |a: usize, b: usize| counts[a][b];
    let most = (0..all.len())
        .flat_map(|a| (0..a).map(move |b| shared(a, b)))
        .max()
        .unwrap_or(0)
        .max(1);
    // Room for the names as they are; columns have numbers when names do not fit over them.
    let longest = all
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    let first = |name: &str| name.split_whitespace().next().unwrap_or("").to_owned();
    let mut heads: Vec<String> = all.iter().map(|name| first(name)).collect();
    heads.sort();
    heads.dedup();
    let numbered = heads.len() < all.len() || heads.iter().any(|head| head.chars().count() > 7);
    let shown = longest.min(LONGEST_NAME) + if numbered { 4 } else { 0 };
    let (left, cell, top) = ((shown * CHARACTER + 14).max(150), 48, 8);
    let mut inside = String::new();
    let mut said = Vec::new();
    for (row, name) in all.iter().enumerate() {
        let y = top + row * cell;
        inside.push_str(&format!(
            "<text class=\"label\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 10,
            y + cell / 2 + 4,
            short(
                &if numbered {
                    format!("{} · {name}", row + 1)
                } else {
                    (*name).to_owned()
                },
                LONGEST_NAME + 5
            )
        ));
        for (column, other) in all.iter().enumerate().take(row + 1) {
            let x = left + column * cell;
            let number = shared(row, column);
            let (class, opacity, title) = if row == column {
                (
                    "own",
                    100,
                    format!("{name} raised {}", plural(number, "finding")),
                )
            } else {
                let opacity = if number == 0 {
                    5
                } else {
                    18 + 62 * number / most
                };
                (
                    "shared",
                    opacity,
                    format!("{name} and {other} share {}", plural(number, "finding")),
                )
            };
            inside.push_str(&format!(
                "<g><title>{}</title><rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\" fill-opacity=\"{}.{:02}\"/>\
                 <text class=\"number\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{number}</text></g>",
                escape(&title),
                x + 2,
                y + 2,
                cell - 4,
                cell - 4,
                opacity / 100,
                opacity % 100,
                x + cell / 2,
                y + cell / 2 + 4,
            ));
            said.push(title);
        }
    }
    for (column, name) in all.iter().enumerate() {
        inside.push_str(&format!(
            "<text class=\"small\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            left + column * cell + cell / 2,
            top + all.len() * cell + 16,
            if numbered {
                (column + 1).to_string()
            } else {
                escape(&first(name))
            }
        ));
    }
    let size = all.len() * cell;
    Some(figure(
        "Agreement between reviewers",
        &said.join("; "),
        left + size + 8,
        top + size + 26,
        &inside,
    ))
}

/// How many rounds the chart shows, the latest ones.
const MOST_ROUNDS: usize = 12;

/// Open findings by round, with what was fixed and declined.
pub(super) fn rounds_chart(report: &Report) -> Option<String> {
    let all = rounds(report);
    if all.len() < 2 {
        return None;
    }
    let all = &all[all.len().saturating_sub(MOST_ROUNDS)..];
    let total = |r: &crate::model::Round| (r.critical + r.important + r.suggestions) as usize;
    let most = all.iter().map(total).max().unwrap_or(0).max(1);
    let (height, step, top, bar) = (120, 64, 22, 36);
    let mut inside = String::new();
    let mut said = Vec::new();
    for (place, round) in all.iter().enumerate() {
        let x = 14 + place * step;
        let mut y = top + height;
        for (number, severity) in [round.suggestions, round.important, round.critical]
            .into_iter()
            .zip(SEVERITIES.into_iter().rev())
        {
            let tall = number as usize * height / most;
            y -= tall;
            if tall > 0 {
                inside.push_str(&format!(
                    "<rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{bar}\" height=\"{}\" rx=\"3\"><title>{number} {}</title></rect>",
                    word(severity),
                    tall.saturating_sub(2).max(1),
                    word(severity),
                ));
            }
        }
        let middle = x + bar / 2;
        inside.push_str(&format!(
            "<text class=\"number\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">Round {}</text>\
             <text class=\"small\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{} fixed</text>\
             <text class=\"small\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{} declined</text>",
            y - 7,
            total(round),
            top + height + 17,
            round.number,
            top + height + 33,
            round.fixed,
            top + height + 47,
            round.declined,
        ));
        said.push(format!(
            "round {}: {} critical, {} important, {}, {} fixed, {} declined",
            round.number,
            round.critical,
            round.important,
            plural(round.suggestions as usize, "suggestion"),
            round.fixed,
            round.declined
        ));
    }
    Some(figure(
        "Open findings by round",
        &said.join("; "),
        all.len() * step + 8,
        top + height + 54,
        &inside,
    ))
}

/// How many files the chart shows, the fullest ones.
const MOST_FILES: usize = 8;

/// Open findings by file.
pub(super) fn files_chart(report: &Report) -> Option<String> {
    let mut rows: Vec<(&str, [usize; 3])> = files(report)
        .into_iter()
        .map(|path| {
            let count = |severity: Severity| {
                report
                    .findings
                    .iter()
                    .filter(|f| f.severity == severity && is_open(f) && names(f, path))
                    .count()
            };
            (path, SEVERITIES.map(count))
        })
        .filter(|(_, n)| n.iter().sum::<usize>() > 0)
        .collect();
    if rows.is_empty() {
        return None;
    }
    rows.sort_by_key(|(_, n)| std::cmp::Reverse(n.iter().sum::<usize>()));
    rows.truncate(MOST_FILES);
    let most = rows
        .iter()
        .map(|(_, n)| n.iter().sum::<usize>())
        .max()
        .unwrap_or(1);
    let (left, wide, step) = (170, 130, 26);
    let mut inside = String::new();
    let mut said = Vec::new();
    for (row, (path, numbers)) in rows.iter().enumerate() {
        let y = 6 + row * step;
        let sum: usize = numbers.iter().sum();
        inside.push_str(&format!(
            "<g><title>{}: {}</title><text class=\"label\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            escape(path),
            plural(sum, "open finding"),
            left - 10,
            y + 13,
            tail(path, 24)
        ));
        let mut x = left;
        for (number, severity) in numbers.iter().zip(SEVERITIES) {
            let long = number * wide / most;
            if long > 0 {
                inside.push_str(&format!(
                    "<rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"16\" rx=\"3\"/>",
                    word(severity),
                    long.saturating_sub(2).max(2),
                ));
                x += long;
            }
        }
        inside.push_str(&format!(
            "<text class=\"number\" x=\"{}\" y=\"{}\">{sum}</text></g>",
            x + 6,
            y + 13
        ));
        said.push(format!("{path}: {sum}"));
    }
    Some(figure(
        "Open findings by file",
        &said.join("; "),
        left + wide + 30,
        rows.len() * step + 10,
        &inside,
    ))
}

/// The end of a path, which tells more than its start.
fn tail(path: &str, most: usize) -> String {
    let length = path.chars().count();
    if length <= most {
        return escape(path);
    }
    let end: String = path.chars().skip(length - most + 1).collect();
    escape(&format!("…{end}"))
}
