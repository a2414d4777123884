//! What a lead reviewer's prose may say, and what is said without one.

use review::report::{Invented, check_prose, compose};

use crate::sample::sample;

#[test]
fn composed_summary_states_figures_of_report() {
    let report = sample();
    let prose = compose(&report);
    assert_eq!(prose.author, None);
    assert_eq!(
        check_prose(&report, &prose.summary),
        [],
        "{}",
        prose.summary
    );
    assert!(prose.summary.contains("Gemini failed"), "{}", prose.summary);
    assert!(prose.summary.contains("**C1**") || prose.summary.contains("**I1**"));
}

#[test]
fn agreement_is_stated_only_with_two_reviewers() {
    let mut report = sample();
    let said = |report: &review::model::Report| compose(report).summary;
    assert!(said(&report).contains("were raised by more than one reviewer."));
    for finding in &mut report.findings {
        finding.voices.truncate(1);
    }
    let alone = said(&report);
    assert!(
        alone.contains(" None was raised by more than one reviewer."),
        "{alone}"
    );
    // As many as there were: nothing was merged.
    assert!(!alone.contains("after merging"), "{alone}");
    report.reviewers.truncate(1);
    assert!(!said(&report).contains("more than one"));
}

#[test]
fn unsupported_sentences_are_reported() {
    let report = sample();
    let finding = |s: &str| Invented::Finding(s.to_owned());
    let file = |s: &str| Invented::File(s.to_owned());
    let number = |s: &str| Invented::Number(s.to_owned());
    for (text, invented) in [
        (
            "C1 corrupts the cache, see `src/download/resume.rs:20-23`.",
            vec![],
        ),
        (
            "Round 3; resume.rs is the heart, e.g. its input/output and/or the status.",
            vec![],
        ),
        ("The mirror answers 200 (RFC 9110) with 20 MB.", vec![]),
        ("C1 and C7 are the worst.", vec![finding("C7")]),
        (
            "It breaks `src/cache/evict.rs` too.",
            vec![file("src/cache/evict.rs")],
        ),
        (
            "See `src/download/resume.rs:900`.",
            vec![file("src/download/resume.rs:900")],
        ),
        ("There are 41 races.", vec![number("41")]),
        ("All eleven reviewers agree.", vec![number("eleven")]),
        ("Call `response.chunk` and `Index::evict`.", vec![]),
    ] {
        assert_eq!(check_prose(&report, text), invented, "{text}");
    }
}
