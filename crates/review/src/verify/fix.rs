//! Repairs the diffs that reviewers propose.
//!
//! Reviewers write diffs without file headers, with wrong counts and wrong line numbers, or with no `@@` at all. This
//! module looks up the removed and kept lines in the file and generates a correct diff.

use crate::diff::parse_patch_paths;
use crate::model::{CheckKind, CheckResult, Finding};

/// The diff of a finding whose fix applies.
pub fn applicable(finding: &Finding) -> Option<&str> {
    let applies = finding.checks.iter().any(|check| {
        check.kind == CheckKind::FixApplies
            && matches!(
                check.result,
                CheckResult::Confirmed | CheckResult::Corrected
            )
    });
    finding.fix.as_deref().filter(|_| applies)
}

/// Whether a fix is a diff and no prose or plain code.
#[must_use]
pub fn is_diff(fix: &str) -> bool {
    fix.lines().any(|line| line.starts_with("@@"))
        || (fix
            .lines()
            .any(|line| line.starts_with('+') || line.starts_with('-'))
            && fix.lines().all(|line| {
                line.is_empty() || line.starts_with(['+', '-', ' ', '\t', '\\', 'd', 'i'])
            }))
}

/// The fix with line ends of `\n`, the last one included.
pub fn ended(fix: &str) -> String {
    let mut text: String = fix
        .lines()
        .map(|line| line.trim_end_matches('\r'))
        .collect::<Vec<_>>()
        .join("\n");
    text.push('\n');
    text
}

/// The file that a fix is for: the one it names, else the finding's own.
pub fn path_of(fix: &str, finding: &Finding) -> Option<String> {
    let named = parse_patch_paths(fix);
    let own = finding.locations.first().map(|place| place.path.clone());
    match named.as_slice() {
        [] => own,
        [one] => Some(match own {
            // A path that is cut short is the finding's.
            Some(own) if own.ends_with(one.as_str()) => own,
            _ => one.clone(),
        }),
        _ => None,
    }
}

/// The hunks below headers of our own; `None` without a hunk header.
pub fn with_headers(fix: &str, path: &str) -> Option<String> {
    let start = fix.lines().position(|line| line.starts_with("@@ -"))?;
    let body: Vec<&str> = fix.lines().skip(start).collect();
    Some(format!("--- a/{path}\n+++ b/{path}\n{}\n", body.join("\n")))
}

/// One hunk as a reviewer wrote it: lines with their signs.
fn hunks(fix: &str) -> Vec<Vec<(char, &str)>> {
    let mut hunks = vec![Vec::new()];
    for line in fix.lines() {
        if line.starts_with("@@") {
            hunks.push(Vec::new());
            continue;
        }
        let header = ["--- ", "+++ ", "diff --git ", "index ", "\\ "];
        if header.iter().any(|start| line.starts_with(start)) {
            continue;
        }
        let (sign, text) = match line.chars().next() {
            Some(sign @ ('+' | '-' | ' ')) => (sign, &line[1..]),
            // An empty context line, or one whose sign was lost.
            _ => (' ', line),
        };
        if let Some(hunk) = hunks.last_mut() {
            hunk.push((sign, text));
        }
    }
    for hunk in &mut hunks {
        while hunk
            .last()
            .is_some_and(|(sign, text)| *sign == ' ' && text.trim().is_empty())
        {
            hunk.pop();
        }
        while hunk
            .first()
            .is_some_and(|(sign, text)| *sign == ' ' && text.trim().is_empty())
        {
            hunk.remove(0);
        }
    }
    hunks.retain(|hunk| hunk.iter().any(|(sign, _)| *sign != ' '));
    hunks
}

/// A diff against the file as it is, without context: what the fix keeps and removes is looked for line by line,
/// white space at the ends apart, nearest to `near`.
pub fn rebuild(fix: &str, path: &str, text: &str, near: Option<u32>) -> Option<String> {
    let file: Vec<&str> = text.split_inclusive('\n').collect();
    let mut result = format!("--- a/{path}\n+++ b/{path}\n");
    let mut shift: i64 = 0;
    let mut from = 0;
    for hunk in hunks(fix) {
        let old: Vec<&str> = hunk
            .iter()
            .filter(|(sign, _)| *sign != '+')
            .map(|(_, text)| *text)
            .collect();
        if old.is_empty() {
            return None;
        }
        let fits = |at: &usize| {
            old.iter()
                .zip(&file[*at..])
                .all(|(wanted, there)| wanted.trim() == there.trim())
        };
        let last = file.len().checked_sub(old.len())?;
        let target = near.map_or(from, |line| (line as usize).saturating_sub(1));
        let at = (from..=last)
            .filter(fits)
            .min_by_key(|at| at.abs_diff(target))?;
        let (mut minus, mut plus) = (Vec::new(), Vec::new());
        let mut cursor = at;
        // The lines between the first and the last change; context is taken from the file.
        for (sign, line) in &hunk {
            match sign {
                '-' => {
                    minus.push(file[cursor]);
                    cursor += 1;
                }
                '+' => plus.push(format!("{line}\n")),
                _ => {
                    let there = file[cursor];
                    minus.push(there);
                    plus.push(there.to_owned());
                    cursor += 1;
                }
            }
        }
        let (removed, added) = (minus.len(), plus.len());
        let new_start = i64::try_from(at + 1).ok()? + shift;
        result.push_str(&format!(
            "@@ -{},{removed} +{new_start},{added} @@\n",
            at + 1
        ));
        for line in minus {
            push(&mut result, '-', line);
        }
        for line in &plus {
            push(&mut result, '+', line);
        }
        shift += i64::try_from(added).ok()? - i64::try_from(removed).ok()?;
        from = cursor;
    }
    (from > 0).then_some(result)
}

fn push(to: &mut String, sign: char, line: &str) {
    to.push(sign);
    to.push_str(line);
    if !line.ends_with('\n') {
        to.push_str("\n\\ No newline at end of file\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_diff() {
        for (text, is) in [
            ("@@ -1 +1 @@\n-a\n+b", true),
            ("-a\n+b", true),
            (" ctx\n-a\n+b\n", true),
            ("Use `b` instead of a.", false),
            ("let x = 1;", false),
            ("- first do this\nThen that", false),
        ] {
            assert_eq!(is_diff(text), is, "{text}");
        }
    }

    #[test]
    fn hunk_without_numbers_is_located_in_file() {
        let file = "a\n  b\nc\nb\n";
        let rebuilt = rebuild(" a\n-b\n+B\n c\n", "x", file, None).unwrap();
        assert_eq!(
            rebuilt,
            "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n-a\n-  b\n-c\n+a\n+B\n+c\n"
        );
        assert_eq!(rebuild("-z\n+B\n", "x", file, None), None);
        let near = rebuild("-b\n+B\n", "x", file, Some(4)).unwrap();
        assert!(near.contains("@@ -4,1 +4,1 @@"), "{near}");
    }
}
