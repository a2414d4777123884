//! One reviewer's review.

use std::sync::LazyLock;

use regex::Regex;

use super::body;
use super::headline::{Headline, headline, regex, starts_with_an_id};
use super::lines::{Kind, Line, dedent, lines};
use super::loose::{self, Loose};
use super::notes::{coverage, is_item, notes};
use super::place::locations;
use super::section::{Section, heading, plain_heading, section};
use crate::model::{Finding, Review, Severity};

/// Reads a review. Never fails: text that cannot be read is in `unparsed`.
pub fn review(reviewer: &str, text: &str) -> Review {
    let text = dedent(text);
    parse(reviewer, &lines(unwrap_fence(&text)))
}

/// The content of a review that is one fenced block.
pub(super) fn unwrap_fence(text: &str) -> &str {
    let trimmed = text.trim();
    let Some(first) = trimmed.lines().next() else {
        return text;
    };
    let language = super::lines::language(first).to_lowercase();
    if super::lines::is_fence(first) && matches!(language.as_str(), "markdown" | "md") {
        let inner = &trimmed[first.len()..];
        let last = inner.lines().last().unwrap_or("");
        if super::lines::is_fence(last) {
            return inner[..inner.len() - last.len()].trim_matches('\n');
        }
        return inner;
    }
    text
}

/// A section with its lines.
pub(super) struct Part<'a> {
    pub(super) section: Section,
    pub(super) lines: &'a [Line<'a>],
}

/// Cuts a text into its sections. A heading that names no section belongs to the section around it. If it
/// has the level of a severity's heading, the text below it has no severity.
pub(super) fn parts<'a>(lines: &'a [Line<'a>]) -> Vec<Part<'a>> {
    let mut result = Vec::new();
    let (mut current, mut from, mut level_of_current) = (Section::Preamble, 0, 0);
    let mut level_of_findings = None;
    for (at, line) in lines.iter().enumerate() {
        if line.kind != Kind::Text {
            continue;
        }
        let Some((level, title)) = heading(line.text) else {
            if let Some(next) = plain_heading(line.text)
                && !matches!(current, Section::Performance | Section::Process)
            {
                result.push(Part {
                    section: current,
                    lines: &lines[from..at],
                });
                (current, from, level_of_current) = (next, at + 1, 7);
            }
            continue;
        };
        // The part about the reviewers has its own headings: their names, a summary.
        if matches!(current, Section::Performance | Section::Process) && level > level_of_current {
            continue;
        }
        let next = match section(title) {
            Some(next) => next,
            None if matches!(current, Section::Severity(_))
                && level == level_of_current
                && level_of_findings.is_some_and(|l| l < level)
                && headline(line.text).is_none_or(|h| h.id.is_empty() && h.severity.is_none()) =>
            {
                Section::Findings
            }
            None => continue,
        };
        if next == Section::Findings && section(title).is_some() {
            level_of_findings = Some(level);
        }
        result.push(Part {
            section: current,
            lines: &lines[from..at],
        });
        (current, from, level_of_current) = (next, at + 1, level);
    }
    result.push(Part {
        section: current,
        lines: &lines[from..],
    });
    result
}

/// Reads the sections of a review.
pub(super) fn parse(reviewer: &str, lines: &[Line<'_>]) -> Review {
    let mut review = Review {
        reviewer: reviewer.to_owned(),
        ..Review::default()
    };
    let mut has_findings_section = false;
    for part in parts(lines) {
        has_findings_section |= part.section.holds_findings();
        match part.section {
            Section::Summary if review.summary.is_empty() => review.summary = text_of(part.lines),
            section if section.holds_findings() => findings(&part, &mut review),
            Section::Strengths => review.strengths.extend(notes(part.lines)),
            Section::Concerns | Section::Design => review.concerns.extend(notes(part.lines)),
            Section::Testing => review.testing_gaps.extend(notes(part.lines)),
            Section::Documentation => review.documentation.extend(notes(part.lines)),
            Section::Commits => review.commit_structure.extend(notes(part.lines)),
            Section::Limitations => review.acknowledged_limitations.extend(notes(part.lines)),
            Section::Feedback => review.unresolved_feedback.extend(notes(part.lines)),
            Section::Coverage => review.coverage.extend(coverage(part.lines)),
            // A review without sections contains only findings.
            Section::Preamble => stray(&part, &mut review),
            _ => {}
        }
    }
    if review.findings.is_empty() && !has_findings_section {
        let mut found = loose::rows(lines, true);
        if found.is_empty() {
            found = loose::prose(lines);
        }
        push_loose(&mut review, found, None);
    }
    review
}

fn push_loose(review: &mut Review, found: Vec<Loose>, of_section: Option<Severity>) {
    for one in found {
        push(review, one.head, of_section, &[]);
        if let Some(finding) = review.findings.last_mut() {
            (finding.explanation, finding.fix) = (one.explanation, one.fix);
        }
    }
}

fn text_of(lines: &[Line<'_>]) -> String {
    let text: Vec<&str> = lines.iter().map(|l| l.text).collect();
    text.join("\n")
        .trim()
        .trim_end_matches("---")
        .trim_end()
        .to_owned()
}

/// Findings in a section made for them.
fn findings(part: &Part<'_>, review: &mut Review) {
    let of_section = match part.section {
        Section::Severity(severity) => Some(severity),
        // It is listed as a finding without a severity.
        _ => Some(Severity::Important),
    };
    let mut starts = headlines(part, review.findings.len());
    // In a plain list, some items can look like a headline by accident.
    if starts
        .iter()
        .all(|(at, head)| head.id.is_empty() && is_item(part.lines[*at].text))
    {
        let items = loose::items(part.lines);
        if items.len() > starts.len() {
            starts = items;
        }
    }
    if starts.is_empty() {
        let text = text_of(part.lines);
        if is_none(&text) {
            review.says_none |= !text.trim().is_empty();
            return;
        }
        let rows = loose::rows(part.lines, false);
        if !rows.is_empty() {
            push_loose(review, rows, of_section);
            return;
        }
        starts = loose::comments(part.lines);
        if starts.is_empty() {
            review.unparsed.push(text);
            return;
        }
    }
    let before = text_of(&part.lines[..starts[0].0]);
    if before.split_whitespace().count() > 25 {
        review.unparsed.push(before);
    }
    push_all(part, review, &starts, of_section);
}

/// Findings outside any section: only unambiguous headlines.
fn stray(part: &Part<'_>, review: &mut Review) {
    let all = headlines(part, 0);
    let end = |number: usize| {
        all.get(number + 1)
            .map_or(part.lines.len(), |(next, _): &(usize, Headline)| *next)
    };
    let mut starts: Vec<(usize, Headline)> = Vec::new();
    for (number, (at, head)) in all.iter().enumerate() {
        let says_how_bad = head.severity.is_some() || head.severity_of_id().is_some();
        let labels = body::labels_in(&part.lines[at + 1..end(number)]);
        if (says_how_bad || labels.severity) && (!head.locations.is_empty() || labels.place) {
            starts.push((*at, head.clone()));
        }
    }
    if starts.is_empty() {
        starts = loose::comments(part.lines);
    }
    push_all(part, review, &starts, None);
}

/// Words behind a headline that are a remark such as "several places", and no sentence.
const FEW_WORDS: usize = 6;

/// Findings that reach from their headline to the next one.
fn push_all(
    part: &Part<'_>,
    review: &mut Review,
    starts: &[(usize, Headline)],
    of_section: Option<Severity>,
) {
    for (number, (at, head)) in starts.iter().enumerate() {
        let end = starts
            .get(number + 1)
            .map_or(part.lines.len(), |(next, _)| *next);
        let mut below = &part.lines[at + 1..end];
        if head.is_item
            && let Some(end) = below.iter().position(loose::ends_comment)
        {
            below = &below[..end];
        }
        push(review, head.clone(), of_section, below);
        // A sentence behind the place belongs to the explanation.
        if head.rest.split_whitespace().count() > FEW_WORDS
            && let Some(finding) = review.findings.last_mut()
        {
            finding.explanation = format!("{}\n\n{}", head.rest, finding.explanation)
                .trim()
                .to_owned();
        }
        if head.is_item
            && let Some(finding) = review.findings.last_mut()
        {
            let text = loose::unlisted(part.lines[*at].text);
            finding.explanation = format!("{text}\n{}", finding.explanation).trim().to_owned();
        }
    }
}

fn push(
    review: &mut Review,
    head: Headline,
    of_section: Option<Severity>,
    body_lines: &[Line<'_>],
) {
    // The finding's own severity comes first, then the letter of its id, then its section.
    let severity = head
        .severity
        .or(head.severity_of_id())
        .or(of_section)
        .unwrap_or(Severity::Suggestion);
    let mut finding = Finding {
        id: if head.id.is_empty() {
            format!("#{}", review.findings.len() + 1)
        } else {
            head.id
        },
        severity,
        class: head.class,
        scope: head.scope,
        title: head.title,
        locations: head.locations,
        quote: None,
        explanation: String::new(),
        fix: None,
        evidence: Vec::new(),
        reviewers: head.reviewers,
        checks: Vec::new(),
    };
    body::fill(&mut finding, body_lines);
    review.findings.push(finding);
}

/// The lines of a section that open a finding.
fn headlines(part: &Part<'_>, found_before: usize) -> Vec<(usize, Headline)> {
    let mut result: Vec<(usize, Headline)> = Vec::new();
    for (at, line) in part.lines.iter().enumerate() {
        // Indented lines belong to the list item above them.
        if line.kind != Kind::Text
            || line.text.trim().is_empty()
            || line.text.starts_with("  ")
            || line.text.starts_with('\t')
        {
            continue;
        }
        // A headline may be wrapped: the next lines go on until a blank one.
        let joined = joined(part.lines, at);
        let Some(head) = headline(&joined) else {
            continue;
        };
        if opens(&head, line.text, &result, found_before) {
            result.push((at, head));
        }
    }
    result
}

/// How many lines a wrapped headline may take.
const LONGEST_HEADLINE: usize = 4;

fn joined(lines: &[Line<'_>], at: usize) -> String {
    let mut text = lines[at].text.trim_end().to_owned();
    for next in lines.iter().skip(at + 1).take(LONGEST_HEADLINE - 1) {
        let unfinished = text.matches("**").count() % 2 == 1
            || text.matches('`').count() % 2 == 1
            || text.trim_end().ends_with(['—', ',', '–'])
            || next.text.trim_start().starts_with(['—', '[', '(', '`'])
            || text.matches('(').count() > text.matches(')').count();
        // A heading is one line, whatever is below it.
        let unfinished =
            unfinished && (!has_hashes(&text) || next.text.trim_start().starts_with('—'));
        let another = starts_with_an_id(next.text);
        if next.kind != Kind::Text || next.text.trim().is_empty() || another || !unfinished {
            break;
        }
        text.push(' ');
        text.push_str(next.text.trim());
    }
    text
}

/// Whether a line is a heading by its marks; `#123 did this` is none.
fn has_hashes(line: &str) -> bool {
    heading(line).is_some_and(|(level, _)| level <= 6)
}

fn opens(head: &Headline, line: &str, before: &[(usize, Headline)], found_before: usize) -> bool {
    let labels = [
        "note", "impact", "verdict", "why", "example", "category", "type", "path", "where",
    ];
    let title = head.title.trim_end_matches(':').to_lowercase();
    // `No integration test` with a number or a place is a finding; `No important issues` is not.
    let anonymous = head.id.is_empty() && head.locations.is_empty();
    if labels.contains(&title.as_str())
        || body::is_label(&title)
        || title == "none"
        || anonymous && is_none(&head.title)
    {
        return false;
    }
    let lettered = head.id.starts_with(['C', 'I', 'S']);
    let strong = !head.locations.is_empty()
        || head.severity.is_some()
        || head.class.is_some()
        || !head.reviewers.is_empty();
    let words = head.rest.split_whitespace().count();
    if lettered {
        return words <= 12 || strong;
    }
    let hashes = has_hashes(line);
    if !head.id.is_empty() {
        // Where findings have letters, a number belongs to a list inside one of them.
        let letters = before.iter().any(|(_, h)| h.severity_of_id().is_some());
        if letters && !hashes {
            return false;
        }
        // A numbered list inside an explanation: sentences behind the bold words, or numbers that start again
        // without a place.
        let number: usize = head.id.parse().unwrap_or(0);
        let expected = before
            .last()
            .and_then(|(_, h)| h.id.parse::<usize>().ok())
            .map_or(1, |n| n + 1);
        let in_order = number == expected || number == found_before + before.len() + 1;
        // `1. **Title** — `place` — a long sentence`.
        let placed = line.contains("**")
            && line.split_once("** ").is_some_and(|(_, tail)| {
                let tail = tail.trim_start_matches(['—', '–', '-', ':', '(', '[', ' ']);
                let place = tail.trim_start_matches('`');
                locations(place.split(['`', ' ', ']', ',', ')']).next().unwrap_or(""))
                    .iter()
                    .any(|l| l.path.contains('.'))
            });
        if placed && in_order {
            return true;
        }
        return words <= 6 && (strong || hashes) || words == 0 && in_order && line.contains("**");
    }
    // Neither letter nor number: a heading, or bold text with a place.
    (hashes || line.starts_with("**") || line.starts_with("- **")) && strong && words <= 6
}

static NONE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x)^(?:
            none(?:$|\s*[^\w\s]|\ (?:found|identified|noted|detected|that|at|in|beyond|besides|blocking|remain|remaining|new|this|to)\b)
            | (?:n/a|nil|nothing)(?:$|\s*[^\w\s]|\ (?:found|to\ report|significant|notable|blocking|critical|important)\b)
            | (?:there\ (?:are|were)\ |i\ (?:found|have|see|saw)\ )?
              (?:no|zero|0)\ (?:[\w/&,-]+\ ){0,4}?
              (?:issue|finding|problem|defect|bug|concern|suggestion|comment|regression|blocker|gap|note|observation|nit|item|limitation|change|feedback|limitation|deviation)s?\b
        )",
    )
});

/// Whether a text says that there are no findings: `None.`, `No critical issues found.` A text that names a line of code
/// never does.
pub(in crate::parse) fn is_none(text: &str) -> bool {
    let text = text
        .trim_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase();
    text.is_empty()
        || NONE.is_match(&text)
            && text.split_whitespace().count() <= 30
            && !locations(&text).iter().any(|place| place.start.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_in_parts() {
        let text = "\
## Executive Summary

Fine.

## Findings

### Critical Issues

None.

### Important Issues

I1. **Wrapped headline that goes on
over two lines** — `a.rs:1-2` (important, regression)

```rust
let x = 1;
```

Because of:

1. **First**: it does this and that for a while.
2. **Second**: it does not.

Fix: do it.

```diff
-let x = 1;
+let x = 2;
```

### Suggestions

1. **Numbered** — `b.rs:3`

Text.

2. **No place at all**

Text.

### Testing Assessment

1. Gap one.
2. Gap two
   goes on.

### Coverage Summary

| File | Status |
|---|---|
| `a.rs` | Reviewed |
- `b.rs` — skimmed
";
        let review = review("r", text);
        let titles: Vec<&str> = review.findings.iter().map(|f| f.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "Wrapped headline that goes on over two lines",
                "Numbered",
                "No place at all"
            ]
        );
        let first = &review.findings[0];
        assert_eq!(first.severity, Severity::Important);
        assert_eq!(first.quote.as_deref(), Some("let x = 1;\n"));
        assert_eq!(first.fix.as_deref(), Some("-let x = 1;\n+let x = 2;\n"));
        assert!(
            first.explanation.contains("**Second**") && first.explanation.contains("Fix: do it.")
        );
        assert_eq!(review.findings[2].severity, Severity::Suggestion);
        assert_eq!(review.testing_gaps.len(), 2);
        assert_eq!(review.coverage.len(), 2);
        assert_eq!(review.unparsed, Vec::<String>::new());
    }

    #[test]
    fn unreadable_text_is_kept() {
        let review = review(
            "r",
            "## Critical Issues\n\nThe whole thing is wrong because it never worked.\n",
        );
        assert_eq!(review.unparsed.len(), 1);
        assert!(review.findings.is_empty());
    }
}
