//! Parses a lead reviewer's answer and checks it against the data.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::model::{RefusedSentence, Report};
use crate::report::check_prose;

/// How long an answer may be, in bytes; the form asks for less than a tenth.
const LONGEST: usize = 32 * 1024;

/// How long the executive summary may be; longer is none.
const SUMMARY: usize = 6 * 1024;

/// How long the design observations may be.
const DESIGN: usize = 12 * 1024;

/// How many recommendations are taken.
const RECOMMENDATIONS: usize = 20;

/// How long one may be.
const RECOMMENDATION: usize = 800;

/// How many refused sentences the report shows.
const SHOWN: usize = 10;

/// How much of each.
const SENTENCE: usize = 400;

/// Prose that passed the check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The executive summary, Markdown.
    pub summary: String,
    /// Design observations, Markdown; may be empty.
    pub design: String,
    /// What the context file should say, Markdown, one each.
    pub recommendations: Vec<String>,
}

/// Why an answer is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The end of a sentence that begins with the author's name.
    pub reason: String,
    /// The sentences that the data does not support.
    pub sentences: Vec<RefusedSentence>,
}

/// Parses an answer and checks each sentence against the report.
pub fn read(report: &Report, answer: &str) -> Result<Written, Refusal> {
    let refuse = |reason: String| {
        Err(Refusal {
            reason,
            sentences: Vec::new(),
        })
    };
    if answer.len() > LONGEST {
        return refuse(format!(
            "wrote {} bytes, more than the {LONGEST} that are read",
            answer.len()
        ));
    }
    let written = parts(answer);
    if written.summary.is_empty() {
        return refuse("wrote no section Executive Summary".to_owned());
    }
    for (name, text, limit) in [
        ("summary", &written.summary, SUMMARY),
        ("design observations", &written.design, DESIGN),
    ] {
        if text.len() > limit {
            let length = text.len();
            return refuse(format!(
                "wrote a text of {length} bytes as {name}, where {limit} are enough"
            ));
        }
    }
    if written.recommendations.len() > RECOMMENDATIONS {
        return refuse(format!(
            "wrote {} recommendations, where {RECOMMENDATIONS} are enough",
            written.recommendations.len()
        ));
    }
    let mut sentences = Vec::new();
    for text in [&written.summary, &written.design]
        .into_iter()
        .chain(&written.recommendations)
    {
        sentences.extend(unfounded(report, text));
    }
    for text in &written.recommendations {
        if text.len() > RECOMMENDATION {
            sentences.push(RefusedSentence {
                text: text.clone(),
                why: format!("a recommendation has at most {RECOMMENDATION} bytes"),
            });
        }
    }
    if sentences.is_empty() {
        return Ok(written);
    }
    let reason = match sentences.len() {
        1 => "wrote a sentence that was refused".to_owned(),
        count => format!("wrote {count} sentences that were refused"),
    };
    sentences.truncate(SHOWN);
    for sentence in &mut sentences {
        sentence.text = crate::plain::one_line(&sentence.text, SENTENCE);
    }
    Err(Refusal { reason, sentences })
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Nothing,
    Summary,
    Design,
    Recommendations,
}

/// The sections of an answer. What is before the first one (`Here is the text:`) and under other headings is no
/// part of it.
fn parts(answer: &str) -> Written {
    let mut written = Written::default();
    let mut part = Part::Nothing;
    let mut recommendations = String::new();
    let mut fenced = false;
    for line in without_fence(answer).lines() {
        let trimmed = line.trim();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            fenced = !fenced;
        }
        if trimmed.starts_with('#') && !fenced {
            let title = trimmed.trim_matches(['#', ' ', '*', ':']).to_lowercase();
            part = if title.contains("summary") {
                Part::Summary
            } else if title.contains("design") {
                Part::Design
            } else if title.contains("context") || title.contains("recommendation") {
                Part::Recommendations
            } else {
                Part::Nothing
            };
            continue;
        }
        let to = match part {
            Part::Nothing => continue,
            Part::Summary => &mut written.summary,
            Part::Design => &mut written.design,
            Part::Recommendations => &mut recommendations,
        };
        to.push_str(line.trim_end());
        to.push('\n');
    }
    written.summary = written.summary.trim().to_owned();
    written.design = written.design.trim().to_owned();
    for line in recommendations.lines().filter(|l| !l.trim().is_empty()) {
        let item = line
            .trim_start()
            .strip_prefix(['-', '*', '+'])
            .filter(|rest| rest.starts_with(' '));
        match (item, written.recommendations.last_mut()) {
            (None, Some(before)) => {
                before.push(' ');
                before.push_str(line.trim());
            }
            (item, _) => {
                let text = item.unwrap_or(line).trim();
                written.recommendations.push(text.to_owned());
            }
        }
    }
    written
}

/// An answer that is fenced as a whole.
fn without_fence(answer: &str) -> &str {
    let answer = answer.trim();
    let inner = answer
        .strip_prefix("```markdown\n")
        .or_else(|| answer.strip_prefix("```md\n"))
        .or_else(|| answer.strip_prefix("```\n"))
        .and_then(|rest| rest.strip_suffix("```"));
    inner.unwrap_or(answer)
}

/// The sentences of a text that the data does not support.
///
/// The text is checked as a reader sees it: entities are resolved (`&#67;7` is C7), and emphasis inside a word is gone
/// (`C**7**`).
fn unfounded(report: &Report, text: &str) -> Vec<RefusedSentence> {
    let mut found = Vec::new();
    let mut block = String::new();
    let mut refuse = |text: &str, why: &str| {
        found.push(RefusedSentence {
            text: text.trim().to_owned(),
            why: why.to_owned(),
        });
    };
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Html(html) | Event::InlineHtml(html) => refuse(&html, "HTML has no place here"),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                refuse(&dest_url, "links and images have no place here");
            }
            Event::Start(Tag::CodeBlock(_)) => refuse(text, "code blocks have no place here"),
            Event::Start(Tag::Table(_)) => refuse(text, "tables have no place here"),
            Event::Start(Tag::Heading { .. }) => refuse(text, "headings have no place here"),
            Event::Text(text) | Event::Code(text) => block.push_str(&text),
            Event::SoftBreak | Event::HardBreak => block.push(' '),
            Event::End(TagEnd::Paragraph | TagEnd::Item) | Event::Start(Tag::List(_)) => {
                check(report, &mut block, &mut refuse);
            }
            _ => {}
        }
    }
    check(report, &mut block, &mut refuse);
    found
}

fn check(report: &Report, block: &mut String, refuse: &mut impl FnMut(&str, &str)) {
    for sentence in sentences(block) {
        if sentence.chars().any(is_hidden) {
            refuse(sentence, "it has invisible characters");
            continue;
        }
        let invented: Vec<String> = check_prose(report, sentence)
            .iter()
            .map(ToString::to_string)
            .collect();
        if !invented.is_empty() {
            refuse(sentence, &invented.join("; "));
        }
    }
    block.clear();
}

/// Invisible characters, which could split an id so that the check does not recognise it.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// The sentences of a block of text. An abbreviation may cut one short, which harms only what the report shows of it.
fn sentences(block: &str) -> Vec<&str> {
    let mut result = Vec::new();
    let mut start = 0;
    let bytes = block.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(byte, b'.' | b'!' | b'?') && bytes.get(at + 1).is_none_or(|b| *b == b' ') {
            result.push(block[start..=at].trim());
            start = at + 1;
        }
    }
    result.push(block[start..].trim());
    result.retain(|s| !s.is_empty());
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Finding, Location, ReviewerRun, Severity};

    fn report() -> Report {
        let mut finding = Finding::new("I1", Severity::Important, "The count became a sum");
        finding.locations.push(Location {
            path: "src/count.py".to_owned(),
            start: Some(4),
            end: None,
        });
        let run = ReviewerRun {
            name: "A".to_owned(),
            outcome: crate::model::Outcome::Finished { warning: None },
            review: crate::model::Review {
                findings: vec![finding],
                ..Default::default()
            },
            original: String::new(),
            performance: Default::default(),
        };
        let mut report = Report {
            round: 1,
            reviewers: vec![run],
            ..Report::default()
        };
        report.target.files = vec!["src/count.py".to_owned()];
        report.findings = crate::merge::merge(&report.reviewers);
        report
    }

    #[test]
    fn supported_answer_is_parsed() {
        let answer = "Here it is.\n\n```markdown\n## Nothing\n```\n# Executive Summary\n\nI1 breaks \
            `src/count.py:4`, e.g. for\nstrings.\n\n1. First do this.\n2. Then that.\n\n## Design observations:\nOne \
            loop.\n## Repo Context Updates\n- Counts are numbers,\n  never sums.\n* Second.\n## Other\nC9.\n";
        let written = read(&report(), answer).unwrap();
        assert!(written.summary.starts_with("I1 breaks"), "{written:?}");
        assert_eq!(written.design, "One loop.");
        assert_eq!(
            written.recommendations,
            ["Counts are numbers, never sums.", "Second."]
        );
        let fenced = "```markdown\n## Executive Summary\nI1 matters.\n```";
        assert_eq!(read(&report(), fenced).unwrap().summary, "I1 matters.");
    }

    #[test]
    fn unsupported_sentence_refuses_the_answer() {
        for (text, sentence, why) in [
            (
                "All is well. C7 is bad. Yes.",
                "C7 is bad.",
                "no finding C7",
            ),
            ("See &#67;7.", "See C7.", "no finding C7"),
            ("See C**7**.", "See C7.", "no finding C7"),
            (
                "- It breaks\n  `src/other.py` too.",
                "It breaks src/other.py too.",
                "src/other.py",
            ),
            ("There are 41 races.", "There are 41 races.", "41"),
            ("Fine <script>alert(1)</script>.", "<script>", "HTML"),
            ("<div onclick=x>\nI1\n</div>", "<div onclick=x>", "HTML"),
            (
                "[I1](javascript:alert(1)) matters.",
                "javascript:alert(1)",
                "links",
            ),
            (
                "![x](https://example.com/x.png)",
                "https://example.com/x.png",
                "links",
            ),
            ("I1\n\n```\ncode\n```", "I1", "code blocks"),
            ("A C\u{200b}7.", "C", "invisible"),
            ("Verdict\n=======\nI1.", "Verdict", "headings"),
        ] {
            let answer = format!("## Executive Summary\n{text}\n");
            let refusal = read(&report(), &answer).unwrap_err();
            assert!(
                refusal
                    .sentences
                    .iter()
                    .any(|s| s.text.contains(sentence) && s.why.contains(why)),
                "{text}: {refusal:?}"
            );
        }
        for (answer, why) in [
            (String::new(), "no section"),
            ("I1 is bad.".to_owned(), "no section"),
            (
                format!("## Executive Summary\n{}", "word ".repeat(2000)),
                "bytes as summary",
            ),
            ("x".repeat(LONGEST + 1), "more than"),
            (
                format!(
                    "## Executive Summary\nI1.\n## Context\n{}",
                    "- a\n".repeat(21)
                ),
                "21 recommendations",
            ),
        ] {
            let refusal = read(&report(), &answer).unwrap_err();
            assert!(refusal.reason.contains(why), "{refusal:?}");
        }
    }
}
