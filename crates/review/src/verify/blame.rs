//! Whether the change wrote the lines of a finding. Lines outside the diff existed before; lines inside it may have
//! existed, too, if the change only moved them: `git blame -M -C` says so.

use std::collections::BTreeSet;

use super::lines;
use crate::diff::{Change, Diff};
use crate::model::{Check, CheckKind, CheckResult, Class, Finding};

/// The lines of a finding, unless they do not exist.
fn valid_range(finding: &Finding) -> Option<(u32, u32)> {
    let refuted = finding.checks.iter().any(|c| {
        matches!(c.kind, CheckKind::Lines | CheckKind::File) && c.result == CheckResult::Refuted
    });
    let place = finding.locations.first()?;
    let start = place.start.filter(|_| !refuted)?;
    Some((start, place.end.unwrap_or(start).max(start)))
}

/// Says whether the change, `diff` since the commit `base`, wrote the lines of the finding. `moved` are lines of its file
/// inside the diff that blame attributes to `base` or earlier.
pub fn check(diff: &Diff, base: &str, finding: &mut Finding, moved: &BTreeSet<u32>) {
    let Some(first) = finding.locations.first() else {
        return;
    };
    let path = first.path.clone();
    let base: String = base.chars().take(10).collect();
    let range = valid_range(finding);
    let (result, detail, class) = match (diff.file(&path), range) {
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
                let said = format!("{} existed at {base} already", lines(start, end));
                (outside(finding), said, Some(Class::Gap))
            } else if touched.iter().all(|line| moved.contains(line)) {
                let said = format!("{} was only moved; it existed at {base}", lines(start, end));
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
    // The reviewer's own class stays.
    finding.class = finding.class.or(class);
    finding
        .checks
        .push(Check::new(CheckKind::Diff, result, detail));
}

/// Returns the result for a place outside the diff. A change can break code that it does not touch, so the finding is not
/// refuted; but a claimed regression stays unchecked.
fn outside(finding: &Finding) -> CheckResult {
    match finding.class {
        Some(Class::Regression) => CheckResult::Unchecked,
        _ => CheckResult::Confirmed,
    }
}

/// The range of lines of a finding that blame must be asked for: lines of a file that existed before, inside the diff.
pub fn question<'a>(diff: &'a Diff, finding: &Finding) -> Option<(&'a str, (u32, u32))> {
    let file = diff.file(&finding.locations.first()?.path)?;
    let (start, end) = valid_range(finding)?;
    let asked = file.change != Change::Added && (start..=end).any(|line| file.touches(line));
    asked.then_some((file.path.as_str(), (start, end)))
}

/// The lines that `git blame --porcelain BASE..HEAD` attributes to `BASE` or to an earlier commit.
pub fn moved_lines(porcelain: &str) -> BTreeSet<u32> {
    let mut boundaries: BTreeSet<&str> = BTreeSet::new();
    let mut commit = "";
    let mut at: Vec<(u32, &str)> = Vec::new();
    for line in porcelain.lines() {
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
    at.into_iter()
        .filter(|(_, commit)| boundaries.contains(commit))
        .map(|(number, _)| number)
        .collect()
}
