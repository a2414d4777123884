//! Measures the performance that deep-review promises: `cargo bench -p review`. One figure a line, as `name value unit`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "figures are what a bench prints"
)]

use std::fmt::Write as _;
use std::time::Instant;

use review::merge;
use review::model::{Outcome, Performance, ReviewerRun};
use review::parse;

/// Total size of the reviews, in bytes.
const BYTES: usize = 1 << 20;
const REVIEWERS: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

fn main() {
    // Many findings that are about one defect in pairs, and one reviewer's text that is nothing but hard: fences that
    // never close, headlines without an end.
    let texts: Vec<String> = REVIEWERS
        .iter()
        .enumerate()
        .map(|(seed, _)| made_up(seed, BYTES / REVIEWERS.len()))
        .collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    let start = Instant::now();
    let runs: Vec<ReviewerRun> = REVIEWERS
        .iter()
        .zip(&texts)
        .map(|(name, text)| ReviewerRun {
            name: (*name).to_owned(),
            outcome: Outcome::Finished { warning: None },
            review: parse::detect_and_parse(name, text.as_bytes()).unwrap(),
            original: String::new(),
            performance: Performance::default(),
        })
        .collect();
    let parsed = start.elapsed();
    let found: usize = runs.iter().map(|r| r.review.findings.len()).sum();
    let merged = merge::merge(&runs);
    let all = start.elapsed();
    println!("review_input {bytes} bytes");
    println!("review_findings {found} findings");
    println!("review_merged {} findings", merged.len());
    println!("review_parse_1mb {:.3} s", parsed.as_secs_f64());
    println!("review_parse_and_merge_1mb {:.3} s", all.as_secs_f64());

    for (name, text) in [
        ("open_fences", "```rust\n".repeat(BYTES / 8)),
        ("open_bold", "I1. **".repeat(BYTES / 6)),
        ("open_bold_lines", "I1. **a\n".repeat(BYTES / 8)),
        ("brackets", "S1. **a** [[((`".repeat(BYTES / 15)),
        ("braces", "{\"a\":\n".repeat(BYTES / 6)),
        ("tables", "| a | b |\n".repeat(BYTES / 10)),
    ] {
        let text = format!("## Suggestions\n\n{text}");
        let start = Instant::now();
        let _ = parse::detect_and_parse("r", text.as_bytes());
        println!("review_hard_{name} {:.3} s", start.elapsed().as_secs_f64());
    }
}

/// A review of about so many bytes, with words from a small vocabulary.
fn made_up(seed: usize, bytes: usize) -> String {
    let words = [
        "socket", "timer", "lock", "buffer", "parser", "thread", "index", "cache", "token",
        "route", "field", "header", "queue", "worker", "retry", "limit", "signal", "handle",
        "stream", "record",
    ];
    let mut text = "## Summary\n\nFine.\n\n## Important Issues\n\n".to_owned();
    let mut state = 12_345usize;
    let mut number = 0;
    while text.len() < bytes {
        number += 1;
        // The same for all reviewers, so that findings meet; the order of the words differs.
        let mut word = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            words[(state >> 33) % words.len()]
        };
        let mut title = [word(), word(), word(), word()];
        title.rotate_left(seed % 4);
        let body: Vec<&str> = (0..150).map(|_| word()).collect();
        writeln!(
            text,
            "I{number}. **{}** — `src/{}.rs:{}`\n\n```rust\nlet {} = {}();\n```\n\n{}\n",
            title.join(" "),
            body[0],
            number * 7,
            body[1],
            body[2],
            body.join(" ")
        )
        .unwrap();
    }
    text
}
