//! A whole report: metadata, the consolidated review, the reviewers' original texts.

use super::lines::{Kind, Line, lines};
use super::review;
use super::section::{Section, heading, section};
use super::table::{Table, tables};
use crate::model::Review;

/// One reviewer's text from the report's appendix.
#[derive(Clone, Debug)]
pub struct Original {
    /// As the heading names them, without the pass.
    pub reviewer: String,
    /// Counts from 1; some reports hold several passes of a reviewer.
    pub pass: u32,
    /// The text.
    pub text: String,
    /// The text in parts.
    pub review: Review,
}

/// The resolution of a finding, from the table under `Resolution`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `I1`, also where the table says `Important #1`; empty for other rows (`Testing Gap #2`).
    pub id: String,
    /// The finding's title, as the table repeats it.
    pub title: String,
    /// `Fixed`, `Skipped`, `Declined`…
    pub action: String,
    /// The reason, as in the table.
    pub reason: String,
}

/// A report in parts.
#[derive(Clone, Debug)]
pub struct ReportText {
    /// The first heading.
    pub title: String,
    /// The rows of the table under it, without emphasis.
    pub metadata: Vec<(String, String)>,
    /// The consolidated review; each finding names its reviewers.
    pub consolidated: Review,
    /// The appendix.
    pub originals: Vec<Original>,
    /// The unchanged text about the reviewers' work and about the review itself.
    pub process_text: String,
    /// The tables in the section about the reviewers' performance.
    pub performance: Vec<Table>,
    /// The resolutions of the findings.
    pub answers: Vec<Answer>,
}

impl ReportText {
    /// A row of the metadata table, by its name in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.metadata
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// The names in the `Reviewers` row, without what is in parentheses.
    pub fn reviewers(&self) -> Vec<String> {
        let Some(row) = self.field("Reviewers") else {
            return Vec::new();
        };
        let mut depth = 0usize;
        let mut names = vec![String::new()];
        for c in row.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => names.push(String::new()),
                c if depth == 0 => {
                    if let Some(last) = names.last_mut() {
                        last.push(c);
                    }
                }
                _ => {}
            }
        }
        names
            .into_iter()
            .map(|n| n.trim().to_owned())
            .filter(|n| !n.is_empty())
            .collect()
    }
}

/// Reads a report.
pub fn report(text: &str) -> ReportText {
    let lines = lines(text);
    let title = lines
        .iter()
        .filter(|l| l.kind == Kind::Text)
        .find_map(|l| heading(l.text).filter(|(level, _)| *level == 1))
        .map_or(String::new(), |(_, title)| title.to_owned());
    let metadata = metadata(&lines);
    let appendix = appendix_start(&lines);
    let consolidated = review::parse("consolidated", &lines[..appendix]);
    let mut result = ReportText {
        title,
        metadata,
        consolidated,
        originals: Vec::new(),
        process_text: process_text(&lines[..appendix]),
        performance: review::parts(&lines[..appendix])
            .iter()
            .filter(|p| p.section == Section::Performance)
            .flat_map(|p| tables(p.lines))
            .collect(),
        answers: answers(&lines),
    };
    result.originals = originals(&lines[appendix..], &result.reviewers());
    result
}

/// The review of an original text. An analyser's or a program's is no Markdown.
fn original(reviewer: &str, text: &str) -> Review {
    crate::parse::detect_and_parse(reviewer, review::unwrap_fence(text).as_bytes())
        .unwrap_or_else(|_| review(reviewer, text))
}

/// The rows of `| # | Finding | Action | Reason |` under a heading `Resolution`.
fn answers(lines: &[Line<'_>]) -> Vec<Answer> {
    let mut result = Vec::new();
    for part in review::parts(lines) {
        if part.section != Section::Resolution {
            continue;
        }
        for table in tables(part.lines) {
            let column = |name: &str| {
                table
                    .header
                    .iter()
                    .position(|h| h.to_lowercase().starts_with(name))
            };
            let (Some(finding), Some(action)) = (column("finding"), column("action")) else {
                continue;
            };
            let reason = column("reason");
            for row in &table.rows {
                let cell = |at: usize| row.get(at).cloned().unwrap_or_default();
                let (name, title) = match cell(finding).split_once(": ") {
                    Some((name, title)) => (name.to_owned(), title.to_owned()),
                    None => (cell(finding), String::new()),
                };
                result.push(Answer {
                    id: id_of(&name),
                    title,
                    action: cell(action),
                    reason: reason.map(cell).unwrap_or_default(),
                });
            }
        }
    }
    result
}

/// `Important #2`, `Suggestion 2`, `Critical C2` → `I2`, `S2`, `C2`.
fn id_of(name: &str) -> String {
    let mut words = name.split_whitespace();
    let first = words.next().unwrap_or("");
    let last = words.next_back().unwrap_or(first).trim_start_matches('#');
    let letter = match first.to_lowercase().as_str() {
        "critical" => "C",
        "important" => "I",
        "suggestion" => "S",
        _ if last == first && severity_letter(first) => "",
        _ => return String::new(),
    };
    let number = last.trim_start_matches(['C', 'I', 'S']);
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit()) {
        return String::new();
    }
    if letter.is_empty() {
        last.to_owned()
    } else {
        format!("{letter}{number}")
    }
}

fn severity_letter(name: &str) -> bool {
    name.starts_with(['C', 'I', 'S'])
}

fn process_text(lines: &[Line<'_>]) -> String {
    let mut text = String::new();
    for part in review::parts(lines) {
        if matches!(part.section, Section::Performance | Section::Process) {
            for line in part.lines {
                text.push_str(line.text);
                text.push('\n');
            }
        }
    }
    text
}

fn metadata(lines: &[Line<'_>]) -> Vec<(String, String)> {
    lines
        .iter()
        .take_while(|l| heading(l.text).is_none_or(|(level, _)| level != 2))
        .filter_map(|l| {
            let row = l.text.trim().strip_prefix('|')?.strip_suffix('|')?;
            let (name, value) = row.split_once('|')?;
            let name = name.trim().trim_matches('*').trim();
            (!name.is_empty() && !name.starts_with('-'))
                .then(|| (name.to_owned(), value.trim().to_owned()))
        })
        .collect()
}

fn appendix_start(lines: &[Line<'_>]) -> usize {
    lines
        .iter()
        .position(|l| {
            l.kind == Kind::Text
                && heading(l.text).is_some_and(|(level, title)| {
                    level <= 3 && section(title) == Some(Section::Appendix)
                })
        })
        .unwrap_or(lines.len())
}

/// The name of a vendor or of a reviewer of this report at the start of a heading.
fn reviewer_of(title: &str, known: &[String]) -> Option<(String, u32)> {
    let mut name = title.trim();
    // `Appendix A: Claude Opus 4.5 Review`
    if let Some((before, after)) = name.split_once(": ")
        && before.to_lowercase().starts_with("appendix")
    {
        name = after;
    }
    let lower = name.to_lowercase();
    let mut pass = 1;
    if let Some(at) = lower.find("pass ") {
        pass = lower[at + 5..]
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .unwrap_or(1);
        name = name.get(..at)?;
    }
    // `Claude — Full Review`, `[Claude] — Claude Opus 4.6`: the part that identifies the reviewer better.
    let name = match name.split_once(" — ") {
        Some((short, long))
            if first_word(long) == first_word(short) && !first_word(long).is_empty() =>
        {
            long
        }
        Some((short, _)) => short,
        None => name,
    };
    let name = name
        .trim_matches(|c: char| {
            c.is_whitespace() || matches!(c, '—' | '–' | '-' | '(' | ')' | ',' | ':')
        })
        .trim_end_matches(" Review")
        .trim_end_matches(" review");
    let bracketed = name.starts_with('[');
    let bare = name
        .trim_start_matches('[')
        .replace("] ", " ")
        .replace(']', "");
    let vendor = bare.split_whitespace().next().unwrap_or("").to_lowercase();
    let is_known = known.iter().any(|k| {
        k.eq_ignore_ascii_case(&bare)
            || k.split_whitespace()
                .next()
                .is_some_and(|first| first.eq_ignore_ascii_case(&vendor))
    });
    // A heading of a review that merely mentions a reviewer is longer than a name.
    (bare.split_whitespace().count() <= 7 && (bracketed || is_known) && !bare.is_empty())
        .then_some((bare, pass))
}

fn first_word(name: &str) -> String {
    name.split(|c: char| !c.is_alphanumeric())
        .find(|w| !w.is_empty())
        .unwrap_or("")
        .to_lowercase()
}

fn originals(lines: &[Line<'_>], known: &[String]) -> Vec<Original> {
    let mut starts: Vec<(usize, String, u32)> = Vec::new();
    // The reviewers' headings have one level; deeper ones belong to the reviews.
    let mut level_of_names = None;
    let mut end_of_appendix = lines.len();
    for (at, line) in lines.iter().enumerate() {
        if line.kind != Kind::Text {
            continue;
        }
        let Some((level, title)) = heading(line.text).filter(|(level, _)| *level <= 3) else {
            continue;
        };
        // The next section ends the appendix.
        if level_of_names.is_some_and(|l| level < l) && section(title) == Some(Section::Resolution)
        {
            end_of_appendix = at;
            break;
        }
        if level_of_names.is_some_and(|l| l != level) {
            continue;
        }
        if let Some((name, pass)) = reviewer_of(title, known) {
            level_of_names = Some(level);
            starts.push((at, name, pass));
        }
    }
    starts
        .iter()
        .enumerate()
        .map(|(number, (at, name, pass))| {
            let end = starts
                .get(number + 1)
                .map_or(end_of_appendix, |(next, ..)| *next);
            let text: Vec<&str> = lines[at + 1..end].iter().map(|l| l.text).collect();
            let text = text.join("\n");
            Original {
                reviewer: name.clone(),
                pass: *pass,
                review: original(name, &text),
                text,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_in_parts() {
        let text = "\
# Deep Review: x

| | |
|---|---|
| **Date** | 2026-01-01 |
| **Reviewers** | Claude Opus 4 (effort: high, really), Gemini 3 Pro |

## Important Issues

I1. **One** — `a.rs:1` [Claude Opus 4] [Gemini 3 Pro]

## Appendix: Original Reviews

### [Claude Opus 4] — Pass 1

## Findings

### Important Issues

1. **One, said by Claude** — `a.rs:1`

### Gemini 3 Pro

### Suggestions

S1. **One, said by Gemini** — `a.rs:2`

## Resolution

| # | Finding | Action | Reason |
|---|---|---|---|
| 1 | Important #1: One | Fixed | |
| 2 | Testing Gap #1: Two | Skipped | Later |
| 3 | S2: Three | Declined | No |
";
        let report = report(text);
        assert_eq!(report.title, "Deep Review: x");
        assert_eq!(report.field("date"), Some("2026-01-01"));
        assert_eq!(report.reviewers(), ["Claude Opus 4", "Gemini 3 Pro"]);
        assert_eq!(report.consolidated.findings.len(), 1);
        assert_eq!(
            report.consolidated.findings[0].reviewers,
            ["Claude Opus 4", "Gemini 3 Pro"]
        );
        assert!(!report.originals[1].text.contains("Resolution"));
        let answers: Vec<(&str, &str)> = report
            .answers
            .iter()
            .map(|a| (a.id.as_str(), a.action.as_str()))
            .collect();
        assert_eq!(
            answers,
            [("I1", "Fixed"), ("", "Skipped"), ("S2", "Declined")]
        );
        let said: Vec<(&str, &str)> = report
            .originals
            .iter()
            .flat_map(|o| {
                o.review
                    .findings
                    .iter()
                    .map(|f| (o.reviewer.as_str(), f.title.as_str()))
            })
            .collect();
        assert_eq!(
            said,
            [
                ("Claude Opus 4", "One, said by Claude"),
                ("Gemini 3 Pro", "One, said by Gemini")
            ]
        );
    }
}
