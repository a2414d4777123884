//! The promised figures on real reports, in the folder that `DEEP_REVIEW_CORPUS` names; without it the test does
//! nothing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how tests fail"
)]

use std::path::PathBuf;

use deep_review::input;
use review::merge;
use review_eval::{Outcome, evaluate};

#[test]
fn figures_over_the_corpus() {
    let Some(folder) = std::env::var_os("DEEP_REVIEW_CORPUS").map(PathBuf::from) else {
        return testutils::skip(
            testutils::Need::Corpus,
            "DEEP_REVIEW_CORPUS names no folder of reports",
        );
    };
    let mut sum = Outcome::default();
    for path in input::files(&[folder]).unwrap() {
        let text = String::from_utf8_lossy(&input::read(&path).unwrap()).into_owned();
        sum.add(&evaluate(&text, merge::THRESHOLD));
    }
    let totals = sum.totals();
    println!("{totals}");
    assert!(sum.consolidated.recall() >= 0.97, "{totals}");
    assert!(sum.originals.recall() >= 0.90, "{totals}");
    assert!(sum.merging.pairs.f1() >= 0.85, "{totals}");
}
