//! No input makes a parser or the merger panic, and no finding is lost.
#![allow(clippy::unwrap_used, reason = "a panic is how tests fail")]

use proptest::prelude::*;
use review::merge;
use review::model::{Outcome, Performance, ReviewerRun};
use review::parse::{self, Format, markdown};

const FORMATS: [Format; 7] = [
    Format::Markdown,
    Format::Json,
    Format::Sarif,
    Format::Rdjson,
    Format::Rdjsonl,
    Format::Checkstyle,
    Format::Cargo,
];

/// Texts of real shape.
const SEEDS: [&str; 7] = [
    include_str!("fixtures/reviews/alpha.md"),
    include_str!("fixtures/reviews/beta.md"),
    include_str!("fixtures/reviews/gamma.json"),
    include_str!("fixtures/reviews/shellcheck.xml"),
    r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"rules":[{"id":"R"}]}},"results":[{"ruleId":"R","ruleIndex":0,"message":{"text":"m"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a%20b.py"},"region":{"startLine":3}}}],"fixes":[]}]}]}"#,
    "{\"message\":\"m\",\"location\":{\"path\":\"a\",\"range\":{\"start\":{\"line\":2}}}}\n{\"message\":\"n\",\"location\":{}}",
    r#"{"reason":"compiler-message","message":{"message":"m","level":"warning","code":null,"spans":[{"file_name":"a","line_start":1,"line_end":1,"is_primary":true,"text":[]}],"children":[]}}"#,
];

/// What a change may put in.
const PIECES: [&str; 26] = [
    "```",
    "````",
    "~~~",
    "**",
    "`",
    "|",
    "[",
    "]",
    "(",
    ")",
    "#",
    "\n",
    "\n\n",
    "    ",
    "—",
    ":",
    "I1. ",
    "- ",
    "é",
    "\u{0}",
    "\u{feff}",
    "{",
    "}",
    "\"",
    "<",
    "99999999999999999999",
];

#[derive(Clone, Debug)]
enum Change {
    Cut(usize, usize),
    Insert(usize, usize),
    Repeat(usize, usize),
    Swap(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = 0usize..10_000;
    prop_oneof![
        (at.clone(), 0usize..40).prop_map(|(a, n)| Change::Cut(a, n)),
        (at.clone(), 0..PIECES.len()).prop_map(|(a, p)| Change::Insert(a, p)),
        (at.clone(), 0usize..200).prop_map(|(a, n)| Change::Repeat(a, n)),
        (at.clone(), at).prop_map(|(a, b)| Change::Swap(a, b)),
    ]
}

fn apply(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let length = bytes.len().max(1);
        match *change {
            Change::Cut(at, n) => {
                let at = at % length;
                let end = (at + n).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            Change::Insert(at, piece) => {
                let at = at % length;
                let at = at.min(bytes.len());
                bytes.splice(at..at, PIECES[piece].bytes());
            }
            Change::Repeat(at, n) => {
                let at = (at % length).min(bytes.len());
                let piece: Vec<u8> = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            Change::Swap(a, b) => {
                if !bytes.is_empty() {
                    let (a, b) = (a % bytes.len(), b % bytes.len());
                    bytes.swap(a, b);
                }
            }
        }
    }
    bytes
}

fn run(name: &str, bytes: &[u8]) -> Option<ReviewerRun> {
    Some(ReviewerRun {
        name: name.to_owned(),
        outcome: Outcome::Finished { warning: None },
        review: parse::detect_and_parse(name, bytes).ok()?,
        original: String::new(),
        performance: Performance::default(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_texts(seed in 0..SEEDS.len(), other in 0..SEEDS.len(), changes in prop::collection::vec(change(), 0..30)) {
        let bytes = apply(SEEDS[seed].as_bytes().to_vec(), &changes);
        for format in FORMATS {
            let _ = parse::parse(format, "r", &bytes);
        }
        let text = String::from_utf8_lossy(&bytes);
        let _ = markdown::report(&format!("# R\n\n## Suggestions\n\n{text}\n\n## Appendix\n\n### [A]\n\n{text}\n"));
        let runs: Vec<ReviewerRun> = [run("a", &bytes), run("b", SEEDS[other].as_bytes())].into_iter().flatten().collect();
        let said: usize = runs.iter().map(|r| r.review.findings.len()).sum();
        let merged = merge::merge(&runs);
        let kept: usize = merged.iter().map(|m| m.voices.len()).sum();
        prop_assert_eq!(said, kept, "every finding is in exactly one group");
        let mut ids: Vec<&str> = merged.iter().map(|m| m.id.as_str()).collect();
        ids.dedup();
        prop_assert_eq!(ids.len(), merged.len());
        let mut names: Vec<&str> = merged.iter().map(|m| m.fingerprint.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), merged.len(), "fingerprints tell findings apart");
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for format in FORMATS {
            let _ = parse::parse(format, "r", &bytes);
        }
        let _ = parse::detect(&bytes);
    }

    #[test]
    fn any_line(line in "[#*`\\[\\]() IS1.:—a-z/é|~_-]{0,60}") {
        let text = format!("## Important Issues\n\n{line}\n\nx\n");
        let _ = markdown::review("r", &text);
    }
}
