//! Adding a reviewer to a review never lowers its exit status.
#![allow(clippy::unwrap_used, reason = "a panic is how tests fail")]

use proptest::prelude::*;
use review::merge::merge;
use review::model::{
    Check, CheckKind, CheckResult, Finding, Location, Outcome, Performance, Report, Review,
    ReviewerRun, Severity,
};
use review::report;

const SEVERITIES: [Severity; 3] = [
    Severity::Critical,
    Severity::Important,
    Severity::Suggestion,
];

const TITLES: [&str; 4] = [
    "The lock is released before the write",
    "The write happens after the lock is released",
    "The timer is never stopped",
    "A stopped timer fires once more",
];

fn status(runs: &[ReviewerRun], on: Severity) -> u8 {
    let mut report = Report {
        reviewers: runs.to_vec(),
        findings: merge(runs),
        ..Report::default()
    };
    report.verdict = report::verdict(&report);
    match report::fails(&report, on) {
        _ if !report.verdict.incomplete.is_empty() => 3,
        Some(_) => 1,
        None => 0,
    }
}

fn finding() -> impl Strategy<Value = Finding> {
    (0..3usize, 0..TITLES.len(), 1..40u32, 0..4u8).prop_map(|(severity, title, line, check)| {
        let mut finding = Finding::new("#1", SEVERITIES[severity], TITLES[title]);
        finding.locations = vec![Location {
            path: "src/a.rs".to_owned(),
            start: Some(line),
            end: None,
        }];
        let result = match check {
            0 => CheckResult::Refuted,
            1 => CheckResult::Confirmed,
            _ => return finding,
        };
        finding.checks = vec![Check::new(CheckKind::Quote, result, String::new())];
        finding
    })
}

fn run() -> impl Strategy<Value = ReviewerRun> {
    let findings = prop::collection::vec(finding(), 0..4);
    (findings, 0..6u8, any::<bool>()).prop_map(|(findings, outcome, analyser)| {
        let reason = "killed".to_owned();
        let outcome = match outcome {
            0 => Outcome::Partial { reason },
            1 => Outcome::Failed { reason },
            _ => Outcome::Finished { warning: None },
        };
        let says_none = findings.is_empty();
        let review = Review {
            findings,
            analyser,
            says_none,
            ..Review::default()
        };
        let performance = Performance::default();
        ReviewerRun {
            name: String::new(),
            outcome,
            review,
            original: String::new(),
            performance,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn adding_a_reviewer_never_lowers_the_exit_status(
        mut runs in prop::collection::vec(run(), 1..5),
        added in run(),
        at in 0..5usize,
        on in prop::sample::select(SEVERITIES.to_vec()),
    ) {
        for (at, run) in runs.iter_mut().enumerate() {
            run.name = format!("r{at}");
        }
        let before = status(&runs, on);
        let added = ReviewerRun { name: "added".to_owned(), ..added };
        runs.insert(at.min(runs.len()), added);
        prop_assert!(status(&runs, on) >= before);
    }
}
