//! Reviewers, file names and authors that try to break the report, or to run something in it.

use review::merge;
use review::model::{
    Asked, Check, CheckKind, CheckResult, CloseCall, CloseCalls, Coverage, Evidence, Excerpt,
    FileChange, Finding, Location, Note, Outcome, Performance, Refused, RefusedSentence, Report,
    Review, ReviewerRun, Severity, Target, Voice,
};
use review::parse::markdown;
use review::report;

/// Texts that would break out of one context or another.
pub(crate) const ATTACKS: &[&str] = &[
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "</style><img src=x onerror=\"window.pwned=1\">",
    "\"><svg onload=window.pwned=1>",
    "' autofocus onfocus='window.pwned=1",
    "[click](javascript:window.pwned=1) ![i](https://evil.example/i.png) ![d](data:image/svg+xml,<svg onload=1>)",
    "<iframe src=https://evil.example/></iframe><link rel=stylesheet href=https://evil.example/x.css>",
    "<!-- never closed",
    "]]> --> <![CDATA[ <plaintext>",
    "```\n## Critical Issues\n\nC9. **Fake** — `fake.rs:1` [mallory]\n",
    "## Critical Issues\n\nC9. **Fake** — `fake.rs:1` [mallory]\n\n### Appendix\n\n### [Ghost]\n",
    "**Suggestions**\n\n- **Fake** — `fake.rs:1`\n\nS9. **Fake** — `fake.rs:1`",
    "a | b | c\n|---|---|---|\n| x | \\| y |",
    "````markdown\n# Deep Review: other\n````\n~~~\nopen",
    "Title\n=====\n\nother\n-----\n\n&lt;script&gt; &#60;b&#62;",
    "\u{202e}esrever\u{2066} \u{0} \u{7f} \u{2028}",
];

/// The one finding that really is there, with each field full of attacks.
pub(crate) fn hostile() -> Report {
    let all = ATTACKS.join("\n\n");
    let finding = Finding {
        locations: vec![Location {
            path: "src/<b>\"x'`|.rs".to_owned(),
            start: Some(3),
            end: None,
        }],
        quote: Some(all.clone()),
        explanation: all.clone(),
        fix: Some(format!("+{all}")),
        evidence: vec![Evidence {
            command: all.clone(),
            output: Some(all.clone()),
        }],
        checks: vec![Check {
            kind: CheckKind::Lines,
            result: CheckResult::Confirmed,
            detail: all.clone(),
        }],
        ..Finding::new("1", Severity::Important, format!("Real {all}"))
    };
    let notes = || {
        ATTACKS
            .iter()
            .map(|text| Note {
                text: (*text).to_owned(),
                reviewers: vec![(*text).to_owned()],
            })
            .collect::<Vec<_>>()
    };
    let run = |name: &str| ReviewerRun {
        name: name.to_owned(),
        outcome: Outcome::Finished {
            warning: Some(all.clone()),
        },
        review: Review {
            reviewer: name.to_owned(),
            summary: all.clone(),
            findings: vec![finding.clone()],
            strengths: notes(),
            concerns: notes(),
            testing_gaps: notes(),
            documentation: notes(),
            commit_structure: notes(),
            acknowledged_limitations: notes(),
            unresolved_feedback: notes(),
            coverage: vec![Coverage {
                path: "src/a.rs".to_owned(),
                status: all.clone(),
            }],
            ..Review::default()
        },
        original: all.clone(),
        performance: Performance {
            tool_calls: vec![(all.clone(), 1)],
            ..Performance::default()
        },
    };
    let reviewers = vec![
        run("Claude"),
        run("x] ## Critical Issues <script>window.pwned=1</script>"),
    ];
    let mut report = Report {
        version: 1,
        date: all.clone(),
        target: Target {
            name: all.clone(),
            repo: Some("javascript:window.pwned=1".to_owned()),
            head: all.clone(),
            base: all.clone(),
            commits: vec![all.clone()],
            files: vec!["src/a.rs".to_owned(), all.clone()],
            title: Some(all.clone()),
            author: Some(all.clone()),
            url: Some("javascript:window.pwned=1".to_owned()),
            changes: vec![FileChange {
                path: "src/a.rs".to_owned(),
                old_path: Some(all.clone()),
                ..FileChange::default()
            }],
        },
        round: 2,
        findings: merge::merge(&reviewers),
        reviewers,
        recommendations: notes(),
        ..Report::default()
    };
    report.closed = report.findings.clone();
    report.closed[0].history = review::model::History::Declined {
        since: 1,
        reason: all.clone(),
    };
    for finding in &report.findings {
        report.excerpts.insert(
            finding.id.clone(),
            Excerpt {
                path: "src/a.rs".to_owned(),
                first: 1,
                lines: all.lines().map(str::to_owned).collect(),
                focus: (2, 3),
            },
        );
    }
    report.verdict = report::verdict(&report);
    report.prose.summary = all.clone();
    report.prose.design = all.clone();
    report.prose.author = Some(all.clone());
    for finding in &mut report.findings {
        finding.deferred = Some(all.clone());
        finding.reopened = Some(all.clone());
    }
    report.close_calls = Some(CloseCalls {
        by: all.clone(),
        calls: vec![CloseCall {
            one: (all.clone(), all.clone()),
            other: (all.clone(), all.clone()),
            score: 0.5,
            same: Some(true),
        }],
        trouble: Some(all.clone()),
    });
    report.asked = vec![Asked {
        name: all.clone(),
        purpose: all.clone(),
        trouble: Some(all),
        performance: Performance::default(),
    }];
    report
}

/// The same, with a lead reviewer whose text was refused.
pub(crate) fn hostile_lead() -> Report {
    let all = ATTACKS.join("\n\n");
    let mut report = hostile();
    report.prose.author = None;
    report.prose.refused = Some(Refused {
        author: all.clone(),
        reason: all.clone(),
        sentences: ATTACKS
            .iter()
            .map(|text| RefusedSentence {
                text: (*text).to_owned(),
                why: all.clone(),
            })
            .collect(),
    });
    report
}

#[test]
fn hostile_text_does_not_change_markdown_structure() {
    assert_structure(&hostile());
    assert_structure(&hostile_lead());
}

fn assert_structure(report: &Report) {
    let text = report::markdown(report);
    let read = markdown::report(&text);
    let ids: Vec<&str> = read
        .consolidated
        .findings
        .iter()
        .map(|f| f.id.as_str())
        .collect();
    let expected: Vec<&str> = report.findings.iter().map(|f| f.id.as_str()).collect();
    assert_eq!(ids, expected, "{text}");
    let names: Vec<&str> = read.originals.iter().map(|o| o.reviewer.as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // The headings are ours alone, in our order.
    let headings: Vec<&str> = headings(&text);
    assert_eq!(
        headings[1..],
        [
            "## Executive Summary",
            "## Critical Issues",
            "## Important Issues",
            "## Suggestions",
            "## Design Observations",
            "### Concerns",
            "### Strengths",
            "## Testing Assessment",
            "## Documentation Assessment",
            "## Commit Structure",
            "## Acknowledged Limitations",
            "## Unresolved Feedback",
            "## Resolution",
            "## Coverage Summary",
            "## Reviewer Performance",
            "## Repo Context Updates",
            "## Appendix: Original Reviews",
            "### [Claude]",
            "### [x) ## Critical Issues \\<script>window.pwned=1\\</script>]",
        ]
    );
}

/// More that breaks structure, alone or together.
const FRAGMENTS: &[&str] = &[
    "   ## Critical Issues",
    "> ## Critical Issues\n> C9. **x** — `x.rs:1`",
    "- ```\n  code",
    "- a\n  ```\ncode\n  ```",
    "\t```\nC9. **x** — `x.rs:1`",
    "    ```\n    x\n    ```",
    "* **C9. x** — `x.rs:1` [Claude]",
    "C9. x — `x.rs:1`",
    "#### Finding 2: X",
    "[CRITICAL] x.rs:1 — y",
    "**[CRITICAL] x.rs:1 — y**",
    "1. **x** — `x.rs:1`\n2. **y** — `y.rs:2`",
    "Fix:\n\n```diff\n-a",
    "---\n## Appendix\n### [Ghost]",
    "``` not a fence ` ```",
    "~~~~\n~~~",
    "a\\",
    "`open",
    "[x]: https://e.example/",
    "| a |\n|---|",
    "***",
    "",
];

#[test]
fn no_pair_of_fragments_breaks_markdown_structure() {
    let all: Vec<&str> = ATTACKS.iter().chain(FRAGMENTS).copied().collect();
    let place = |n: u32| Location {
        path: "src/a.rs".to_owned(),
        start: Some(n * 100),
        end: None,
    };
    for first in &all {
        for (n, second) in all.iter().enumerate() {
            let text = format!("{first}{}{second}", if n % 2 == 0 { "\n\n" } else { "\n" });
            let finding = |n: u32, title: String| Finding {
                locations: vec![place(n)],
                explanation: text.clone(),
                quote: Some(text.clone()),
                fix: Some(text.clone()),
                ..Finding::new(n.to_string(), Severity::Important, title)
            };
            let review = Review {
                findings: vec![
                    finding(1, "One and only".to_owned()),
                    finding(2, format!("Another {text}")),
                ],
                concerns: vec![Note {
                    text: text.clone(),
                    reviewers: Vec::new(),
                }],
                ..Review::default()
            };
            let run = ReviewerRun {
                name: "Claude".to_owned(),
                outcome: Outcome::Finished { warning: None },
                review,
                original: text.clone(),
                performance: Performance::default(),
            };
            let reviewers = vec![run];
            let findings = (1..)
                .zip(&reviewers[0].review.findings)
                .map(|(n, f)| {
                    let voice = Voice {
                        reviewer: "Claude".to_owned(),
                        analyser: false,
                        finding: f.clone(),
                    };
                    let mut merged = merge::join(vec![voice]).unwrap();
                    merged.id = format!("I{n}");
                    merged
                })
                .collect();
            let mut report = Report {
                findings,
                reviewers,
                ..Report::default()
            };
            report.prose.summary = text.clone();
            let markdown = report::markdown(&report);
            let read = markdown::report(&markdown);
            let got: Vec<(&str, &[Location], &[String])> = read
                .consolidated
                .findings
                .iter()
                .map(|f| (f.id.as_str(), &f.locations[..], &f.reviewers[..]))
                .collect();
            let places: Vec<&[Location]> = report
                .findings
                .iter()
                .map(|f| &f.lead.locations[..])
                .collect();
            let names = ["Claude".to_owned()];
            let expected = [("I1", places[0], &names[..]), ("I2", places[1], &names[..])];
            assert_eq!(got, expected, "{text:?}\n{markdown}");
            assert_eq!(headings(&markdown).len(), 17, "{text:?}\n{markdown}");
        }
    }
}

/// Headings outside fences, by the rules of CommonMark (as a renderer sees them, not as our parser does).
fn headings(text: &str) -> Vec<&str> {
    use pulldown_cmark::{Event, Options, Parser, Tag};
    let mut depth = 0;
    let mut found = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                // Inside a quotation or a list it belongs to that, and opens nothing.
                if depth == 0 && matches!(tag, Tag::Heading { .. }) {
                    found.push(text[range].trim());
                }
                depth += 1;
            }
            Event::End(_) => depth -= 1,
            _ => {}
        }
    }
    found
}

#[test]
fn markdown_contains_no_foreign_html() {
    use pulldown_cmark::{Event, Options, Parser};
    let text = report::markdown(&hostile()) + &report::markdown(&hostile_lead());
    let html: Vec<String> = Parser::new_ext(&text, Options::ENABLE_TABLES)
        .filter_map(|event| match event {
            // Ours: the line breaks in the table cell of the commits.
            Event::Html(html) | Event::InlineHtml(html) if &*html != "<br>" => {
                Some(html.to_string())
            }
            _ => None,
        })
        .collect();
    assert_eq!(html, Vec::<String>::new());
}

#[test]
fn page_contains_no_foreign_tag() {
    harmless(&report::html(&hostile()));
    harmless(&report::html(&hostile_lead()));
}

fn harmless(page: &str) {
    // One script and one style, and both are ours.
    for (tag, times) in [
        ("<script", 1),
        ("</script", 1),
        ("<style", 1),
        ("</style", 1),
        ("<img", 0),
        ("<iframe", 0),
        ("<link", 0),
        ("<plaintext", 0),
        ("<!--", 0),
        ("href=\"javascript:", 0),
        ("href=\"data:", 0),
    ] {
        assert_eq!(page.matches(tag).count(), times, "{tag}");
    }
    assert!(!page.contains(" style=") && !page.contains(" onload=\"") && !page.contains(" src=\""));
}

#[test]
fn mentions_are_not_active() {
    let mut report = hostile();
    report.prose.summary = "thanks @octocat, and a@b".to_owned();
    let payload = report::github(&report);
    let body = payload["body"].as_str().unwrap();
    assert!(!body.contains("@octocat") && body.contains("@\u{200b}octocat"));
}

#[test]
fn no_format_contains_hidden_characters_or_foreign_paths() {
    let mut report = hostile();
    let evil = "\u{1b}[2J\u{1b}]0;PWNED\u{7} \u{202e}abc\u{2066} zero\u{200b}width";
    report.verdict.reason = evil.to_owned();
    report.findings[0].lead.title = evil.to_owned();
    report.findings[0].lead.explanation = format!(
        "{evil} ![x](https://evil.example/x.png) [a](javascript:alert(1)) [b](java&#115;cript:x) [c](data:x)"
    );
    for (at, path) in [
        "../../../etc/passwd",
        "/etc/shadow",
        "C:/x",
        "app/db.py\nfoo",
    ]
    .iter()
    .enumerate()
    {
        let count = report.findings.len();
        report.findings[at % count].lead.locations.insert(
            0,
            Location {
                path: (*path).to_owned(),
                start: Some(1),
                end: None,
            },
        );
    }
    report.reviewers[0].outcome = Outcome::Failed {
        reason: evil.to_owned(),
    };
    let markdown = report::markdown(&report);
    let sarif = report::sarif(&report);
    let forms = [
        markdown.clone(),
        report::html(&report),
        report::json(&report).to_string(),
        sarif.to_string(),
        report::github(&report).to_string(),
        report::gitlab(&report).to_string(),
    ];
    for text in &forms {
        for hidden in ['\u{1b}', '\u{7}', '\u{202e}', '\u{2066}'] {
            assert!(!text.contains(hidden), "{hidden:?}");
        }
        assert!(!text.contains("\\u001b"));
    }
    use pulldown_cmark::{Event, Parser, Tag};
    let body = report::github(&report)["body"].as_str().unwrap().to_owned();
    for text in [markdown, body] {
        for event in Parser::new(&text) {
            match event {
                Event::Start(Tag::Image { dest_url, .. }) => panic!("image {dest_url}"),
                Event::Start(Tag::Link { dest_url, .. }) => {
                    let address = dest_url.to_lowercase();
                    assert!(
                        !address.starts_with("javascript:") && !address.starts_with("data:"),
                        "{address}"
                    );
                }
                _ => {}
            }
        }
    }
    for result in sarif["runs"][0]["results"].as_array().unwrap() {
        for place in result["locations"].as_array().into_iter().flatten() {
            let uri = place["physicalLocation"]["artifactLocation"]["uri"]
                .as_str()
                .unwrap();
            assert!(
                !uri.starts_with('/') && !uri.contains("..") && !uri.contains("%0A"),
                "{uri}"
            );
        }
    }
}
