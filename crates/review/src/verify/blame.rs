//! Whether the change wrote the lines of a finding. Lines outside the diff were there before; lines inside it may have
//! been, too, when the change only moved them: `git blame -M -C` tells.

use std::collections::{BTreeMap, BTreeSet};

use super::{changed, classify, lines};
use crate::git::{Change, Git, GitError};
use crate::model::{CheckKind, CheckResult, Class, Finding, ReviewerRun};
use crate::target::Pinned;

/// Blame of a huge file with copies takes long, and findings in generated code are not worth it.
const FILES: usize = 200;

pub(super) fn check(git: &Git, pinned: &Pinned, runs: &mut [ReviewerRun]) -> Result<(), GitError> {
    // The lines to ask about, each file once.
    let mut wanted: BTreeMap<String, BTreeSet<(u32, u32)>> = BTreeMap::new();
    for finding in runs.iter().flat_map(|run| &run.review.findings) {
        if let Some(file) = changed(pinned, finding)
            && file.change != Change::Added
            && let Some((start, end)) = valid_range(finding)
            && (start..=end).any(|line| file.touches(line))
        {
            wanted
                .entry(file.path.clone())
                .or_default()
                .insert((start, end));
        }
    }
    let mut old: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for (path, ranges) in wanted.into_iter().take(FILES) {
        // Without an answer the diff alone decides.
        match moved_lines(git, pinned, &path, &ranges) {
            Ok(moved) => {
                old.insert(path, moved);
            }
            Err(error) => tracing::debug!(path, %error, "git cannot blame the file"),
        }
    }
    for finding in runs.iter_mut().flat_map(|run| &mut run.review.findings) {
        let none = BTreeSet::new();
        let moved = finding
            .locations
            .first()
            .and_then(|place| old.get(&place.path))
            .unwrap_or(&none);
        place(pinned, finding, moved);
    }
    Ok(())
}

fn valid_range(finding: &Finding) -> Option<(u32, u32)> {
    let refuted = finding.checks.iter().any(|c| {
        matches!(c.kind, CheckKind::Lines | CheckKind::File) && c.result == CheckResult::Refuted
    });
    let place = finding.locations.first()?;
    let start = place.start.filter(|_| !refuted)?;
    Some((start, place.end.unwrap_or(start).max(start)))
}

fn place(pinned: &Pinned, finding: &mut Finding, moved: &BTreeSet<u32>) {
    let Some(first) = finding.locations.first() else {
        return;
    };
    let path = first.path.clone();
    let base: String = pinned.target.base.chars().take(10).collect();
    let range = valid_range(finding);
    let (result, detail, class) = match (changed(pinned, finding), range) {
        (None, _) => (
            outside(finding),
            format!("{path} is not part of the change"),
            Some(Class::Gap),
        ),
        (Some(file), _) if file.change == Change::Added => (
            CheckResult::Confirmed,
            format!("{path} is new in the change"),
            Some(Class::Regression),
        ),
        (Some(_), None) => (
            CheckResult::Confirmed,
            format!("{path} is part of the change"),
            None,
        ),
        (Some(file), Some((start, end))) => {
            let touched: Vec<u32> = (start..=end).filter(|line| file.touches(*line)).collect();
            if touched.is_empty() {
                let said = format!("{} stood there at {base} already", lines(start, end));
                (outside(finding), said, Some(Class::Gap))
            } else if touched.iter().all(|line| moved.contains(line)) {
                let said = format!(
                    "{} was only moved; it stood in the code at {base}",
                    lines(start, end)
                );
                (outside(finding), said, Some(Class::Gap))
            } else {
                let said = format!(
                    "the change wrote {}",
                    lines(touched[0], touched[touched.len() - 1])
                );
                (CheckResult::Confirmed, said, Some(Class::Regression))
            }
        }
    };
    if let Some(class) = class {
        classify(finding, class);
    }
    finding.checks.push(check_of(result, detail));
}

fn check_of(result: CheckResult, detail: String) -> crate::model::Check {
    super::check(CheckKind::Diff, result, detail)
}

/// A change can break what it does not touch, so a place outside the diff refutes nothing; but a word that the change
/// made it stands unproven.
fn outside(finding: &Finding) -> CheckResult {
    match finding.class {
        Some(Class::Regression) => CheckResult::Unchecked,
        _ => CheckResult::Confirmed,
    }
}

/// Lines that blame gives to the merge base or to what came before it.
fn moved_lines(
    git: &Git,
    pinned: &Pinned,
    path: &str,
    ranges: &BTreeSet<(u32, u32)>,
) -> Result<BTreeSet<u32>, GitError> {
    let mut args: Vec<String> = ["blame", "--porcelain", "--no-textconv", "-M", "-C"]
        .map(str::to_owned)
        .to_vec();
    for (start, end) in ranges {
        args.push(format!("-L{start},{end}"));
    }
    args.push(format!("{}..{}", pinned.target.base, pinned.target.head));
    args.push("--".to_owned());
    args.push(path.to_owned());
    let bytes = git.bytes(&args)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut boundaries: BTreeSet<&str> = BTreeSet::new();
    let mut commit = "";
    let mut at: Vec<(u32, &str)> = Vec::new();
    for line in text.lines() {
        if line.starts_with('\t') {
            continue;
        }
        if line == "boundary" {
            boundaries.insert(commit);
            continue;
        }
        let mut words = line.split(' ');
        if let (Some(sha), Some(_), Some(number)) = (words.next(), words.next(), words.next())
            && sha.len() >= 40
            && sha.bytes().all(|byte| byte.is_ascii_hexdigit())
            && let Ok(number) = number.parse()
        {
            commit = sha;
            at.push((number, sha));
        }
    }
    Ok(at
        .into_iter()
        .filter(|(_, commit)| boundaries.contains(commit))
        .map(|(number, _)| number)
        .collect())
}
