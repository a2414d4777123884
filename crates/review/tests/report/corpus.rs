//! Real reports, through everything: originals are merged, written as Markdown, and read back. The folder comes from
//! `DEEP_REVIEW_CORPUS`; without it the test is skipped.

use std::path::{Path, PathBuf};

use review::merge::merge;
use review::model::{Outcome, Performance, Report, ReviewerRun, Target};
use review::parse::markdown;
use review::report;

fn reports(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn rebuilt(text: &str) -> Report {
    let read = markdown::report(text);
    let reviewers: Vec<ReviewerRun> = read
        .originals
        .into_iter()
        .map(|o| ReviewerRun {
            name: o.reviewer,
            outcome: Outcome::Finished { warning: None },
            review: o.review,
            original: o.text,
            performance: Performance::default(),
        })
        .collect();
    let mut files: Vec<String> = reviewers
        .iter()
        .flat_map(|r| &r.review.coverage)
        .map(|c| c.path.clone())
        .collect();
    files.sort();
    files.dedup();
    let mut report = Report {
        version: report::FORMAT_VERSION,
        round: 1,
        target: Target {
            name: read.title,
            files,
            ..Target::default()
        },
        findings: merge(&reviewers),
        reviewers,
        ..Report::default()
    };
    report.verdict = report::verdict(&report);
    report.prose = report::compose(&report);
    report
}

#[test]
fn corpus_reports_round_trip() {
    let Some(folder) = std::env::var_os("DEEP_REVIEW_CORPUS") else {
        return testutils::skip(
            testutils::Need::Corpus,
            "DEEP_REVIEW_CORPUS names no folder of reports",
        );
    };
    let (mut all, mut right) = (0, 0);
    let mut misses = Vec::new();
    for path in reports(Path::new(&folder)) {
        let report = rebuilt(&std::fs::read_to_string(&path).unwrap());
        let markdown = report::markdown(&report);
        let read = markdown::report(&markdown);
        let same = |f: &review::model::MergedFinding| {
            read.consolidated.findings.iter().any(|r| {
                let names: Vec<&str> = r.reviewers.iter().map(String::as_str).collect();
                r.id == f.id
                    && r.severity == f.severity
                    && r.title.replace('\\', "") == f.lead.title.replace('\\', "")
                    && r.locations == f.lead.locations
                    && names == f.reviewers()
            })
        };
        all += report.findings.len();
        for finding in &report.findings {
            if same(finding) {
                right += 1;
            } else {
                misses.push(format!("{}: {}", path.display(), finding.lead.title));
            }
        }
        if read.consolidated.findings.len() != report.findings.len() {
            misses.push(format!("{}: other count", path.display()));
        }
        let page = report::html(&report);
        assert_eq!(page.matches("<article").count(), report.findings.len());
        assert_eq!(
            report::check_prose(&report, &report.prose.summary),
            [],
            "{}",
            path.display()
        );
        assert!(report::sarif(&report)["runs"][0]["results"].is_array());
    }
    eprintln!("{right} of {all} findings come back whole; the others:");
    for miss in &misses {
        eprintln!("  {miss}");
    }
    assert!(all > 0 && right * 100 >= all * 98, "{right} of {all}");
}
