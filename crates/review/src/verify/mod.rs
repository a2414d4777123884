//! The rules by which findings are checked against the code. The caller reads the files and runs git.
//!
//! | check | question | by |
//! |---|---|---|
//! | file, lines | do they exist at the head | [`check_place`] |
//! | quote | does the file contain the quoted code, and where | [`quote`] |
//! | diff | did the change write these lines | [`blame`] |
//! | fix-applies | is the fix a diff, and of which lines | [`fix`] |

pub mod blame;
pub mod fix;
pub mod place;
pub mod quote;

use std::collections::BTreeMap;

use crate::files::Files;
use crate::model::{Check, CheckKind, CheckResult, Finding, ReviewerRun};

/// Replaces paths that are cut short or have another beginning: `found` maps what a reviewer wrote to the full path.
pub fn correct_paths(runs: &mut [ReviewerRun], found: &BTreeMap<String, String>) {
    for finding in runs.iter_mut().flat_map(|run| &mut run.review.findings) {
        for (at, location) in finding.locations.iter_mut().enumerate() {
            let Some(full) = found.get(&location.path) else {
                continue;
            };
            if at == 0 {
                finding.checks.push(Check::new(
                    CheckKind::File,
                    CheckResult::Corrected,
                    format!("{} is {full} at the head", location.path),
                ));
            }
            location.path.clone_from(full);
        }
    }
}

/// Checks that the file and the lines of a finding exist.
pub fn check_place(finding: &mut Finding, files: &Files) {
    let Some(place) = finding.locations.first() else {
        return;
    };
    let Some(text) = files.text(&place.path) else {
        finding.checks.push(Check::new(
            CheckKind::File,
            CheckResult::Refuted,
            format!("{} is not there at the head", place.path),
        ));
        return;
    };
    if finding.checks.is_empty() {
        let detail = format!("{} is there at the head", place.path);
        finding
            .checks
            .push(Check::new(CheckKind::File, CheckResult::Confirmed, detail));
    }
    let Some(start) = place.start else { return };
    let end = place.end.unwrap_or(start).max(start);
    let count = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
    let (result, detail) = if start == 0 || start > count.max(1) {
        let said = format!(
            "line {start} is not there, {} has {count} lines",
            place.path
        );
        (CheckResult::Refuted, said)
    } else if end > count.max(1) {
        let said = format!("lines {start}-{end} end beyond the file, which has {count}");
        (CheckResult::Refuted, said)
    } else {
        (
            CheckResult::Confirmed,
            format!("{} is there", lines(start, end)),
        )
    };
    finding
        .checks
        .push(Check::new(CheckKind::Lines, result, detail));
}

/// `line 3` or `lines 3-5`.
pub fn lines(start: u32, end: u32) -> String {
    if start == end {
        format!("line {start}")
    } else {
        format!("lines {start}-{end}")
    }
}
