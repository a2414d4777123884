//! The page as a file: what can be seen without a browser.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use review::report;
use sha2::{Digest, Sha256};

use crate::sample::sample;

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap() + start.len();
    let length = text[from..].find(end).unwrap();
    &text[from..from + length]
}

#[test]
fn content_security_policy_allows_only_own_style_and_script() {
    let page = report::html(&sample());
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"");
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
            hash(between(&page, "<style>", "</style>")),
            hash(between(&page, "<script>", "</script>")),
        )
    );
}

#[test]
fn page_shows_every_part_of_the_report() {
    let report = sample();
    let page = report::html(&report);
    for finding in &report.findings {
        assert!(page.contains(&format!("id=\"{}\"", finding.id)));
    }
    for text in [
        "Rework",
        "Gemini",
        "429 Too Many Requests",
        "Agreement between reviewers",
        "Open findings by round",
        "Open findings by file",
        "refuted by a check",
        "Coverage of every changed file",
        "Closed since earlier rounds",
        "one process by design",
        "Recommendations for the context file",
        "Generated from the findings",
        "data-n=\"20\"",
    ] {
        assert!(page.to_lowercase().contains(&text.to_lowercase()), "{text}");
    }
    // Every id is unique.
    let mut ids: Vec<&str> = page
        .match_indices(" id=\"")
        .map(|(at, _)| between(&page[at..], "id=\"", "\""))
        .collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn agreement_chart_fits_long_names() {
    let mut report = sample();
    let long = "Claude Opus 4.1 with extended thinking";
    let old = report.reviewers[0].name.clone();
    long.clone_into(&mut report.reviewers[0].name);
    for voice in report.findings.iter_mut().flat_map(|f| &mut f.voices) {
        if voice.reviewer == old {
            long.clone_into(&mut voice.reviewer);
        }
    }
    let page = report::html(&report);
    let chart = between(&page, "Agreement between reviewers", "</svg>");
    assert!(chart.contains(&format!("{long}</text>")), "{chart}");
    // Names with the same beginning stay distinguishable above their columns.
    let name = format!("{} again", long);
    name.clone_into(&mut report.reviewers[1].name);
    let page = report::html(&report);
    let chart = between(&page, "Agreement between reviewers", "</svg>");
    assert!(chart.contains(&format!("2 · {name}</text>")), "{chart}");
}

#[test]
fn page_is_deterministic() {
    assert_eq!(report::html(&sample()), report::html(&sample()));
    assert_eq!(report::markdown(&sample()), report::markdown(&sample()));
}
