//! A fix as replacements of lines, for formats without diffs.

use crate::model::{CheckKind, CheckResult, Finding};

/// Lines of a file at the head, and their replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replacement {
    pub(super) path: String,
    /// The first line, from 1; where nothing is removed, the line before which is added.
    pub(super) start: u32,
    /// The number of removed lines.
    pub(super) removed: u32,
    /// The added lines, without line ends.
    pub(super) lines: Vec<String>,
}

/// What the fix of a finding replaces, when a check has seen it apply. `None` also for what has no lines: new and
/// deleted files, renames, and the line end at the end of a file.
pub(super) fn replacements(finding: &Finding) -> Option<Vec<Replacement>> {
    let applies = finding.checks.iter().any(|check| {
        check.kind == CheckKind::FixApplies
            && matches!(
                check.result,
                CheckResult::Confirmed | CheckResult::Corrected
            )
    });
    let all = understand(finding.fix.as_deref().filter(|_| applies)?)?;
    (!all.is_empty()).then_some(all)
}

fn understand(diff: &str) -> Option<Vec<Replacement>> {
    let mut all: Vec<Replacement> = Vec::new();
    let mut path: Option<String> = None;
    // Lines that the hunk still has on either side, and the next line of the old one.
    let (mut old_left, mut new_left, mut at) = (0u32, 0u32, 0u32);
    // Whether the next `-` or `+` goes on with the last replacement.
    let mut open = false;
    for line in diff.lines() {
        if old_left > 0 || new_left > 0 {
            match line.as_bytes().first() {
                Some(b'-' | b'+') => {
                    if !open {
                        all.push(Replacement {
                            path: path.clone()?,
                            start: at,
                            removed: 0,
                            lines: Vec::new(),
                        });
                        open = true;
                    }
                    let last = all.last_mut()?;
                    if let Some(added) = line.strip_prefix('+') {
                        last.lines.push(added.to_owned());
                        new_left = new_left.checked_sub(1)?;
                    } else {
                        last.removed += 1;
                        at += 1;
                        old_left = old_left.checked_sub(1)?;
                    }
                }
                Some(b'\\') => return None,
                _ => {
                    open = false;
                    at += 1;
                    old_left = old_left.checked_sub(1)?;
                    new_left = new_left.checked_sub(1)?;
                }
            }
        } else if line.starts_with('\\')
            || ["--- /dev/null", "+++ /dev/null", "rename ", "new file "]
                .iter()
                .any(|start| line.starts_with(start))
        {
            return None;
        } else if let Some(name) = line.strip_prefix("+++ ") {
            let name = name.split('\t').next().unwrap_or(name);
            path = Some(name.strip_prefix("b/").unwrap_or(name).to_owned());
        } else if let Some(header) = line.strip_prefix("@@ -") {
            let (old, rest) = header.split_once(" +")?;
            let (new, _) = rest.split_once(" @@")?;
            let (start, old) = range(old)?;
            old_left = old;
            new_left = range(new)?.1;
            // An empty side is named by the line before it.
            at = if old == 0 { start + 1 } else { start };
            open = false;
        }
    }
    (old_left == 0 && new_left == 0).then_some(all)
}

fn range(text: &str) -> Option<(u32, u32)> {
    match text.split_once(',') {
        Some((start, length)) => Some((start.parse().ok()?, length.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diff_becomes_replacements() {
        let diff = "--- a/x.rs\n+++ b/x.rs\n@@ -2,4 +2,5 @@\n one\n-two\n+TWO\n+2\n three\n four\n@@ -9,0 +11 @@\n+++ not a header\n";
        let all = understand(diff).unwrap();
        let one = |start, removed, lines: &[&str]| Replacement {
            path: "x.rs".to_owned(),
            start,
            removed,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(
            all,
            [one(3, 1, &["TWO", "2"]), one(10, 0, &["++ not a header"])]
        );
    }

    #[test]
    fn diff_without_lines_has_no_replacement() {
        for diff in [
            "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n",
            "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n",
            "--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n-x\n",
        ] {
            assert_eq!(understand(diff), None, "{diff}");
        }
    }
}
