//! What became of the code of a finding since an earlier round.

use std::collections::BTreeMap;

use crate::files::Files;
use crate::model::MergedFinding;
use crate::settings::without_suppression;

use super::Earlier;

/// How many lines around a finding count as the code around it, no further than an empty line: a function that is
/// moved has other neighbours.
const MARGIN: usize = 2;

/// The files of earlier findings, then and now.
#[derive(Default)]
pub struct Code {
    /// By the head of the round that saw them.
    before: BTreeMap<String, Files>,
    /// `None`: there is no repository to look into.
    now: Option<Files>,
}

/// What became of a finding's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The code is unchanged, `shift` lines further down.
    Same { shift: i64 },
    /// The code changed or is gone.
    Changed,
}

impl Seen {
    pub(super) fn is_same(self) -> bool {
        matches!(self, Seen::Same { .. })
    }
}

impl Code {
    /// The code of the findings in `earlier`, then and at `head`. `read` returns the files of a commit.
    pub fn read<E>(
        head: &str,
        earlier: &Earlier,
        read: impl Fn(&str, &[&str]) -> Result<Files, E>,
    ) -> Result<Self, E> {
        let mut by_head: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut all = Vec::new();
        for known in &earlier.findings {
            let Some(place) = known.finding.lead.locations.first() else {
                continue;
            };
            if let Some(head) = known.head.as_deref().filter(|head| is_commit(head)) {
                by_head.entry(head).or_default().push(&place.path);
            }
            all.push(place.path.as_str());
        }
        let mut before = BTreeMap::new();
        for (head, paths) in by_head {
            before.insert(head.to_owned(), read(head, &paths)?);
        }
        Ok(Self {
            before,
            now: Some(read(head, &all)?),
        })
    }

    /// Whether the file of a finding has other code now than at `head`. Without a repository, or without the old commit,
    /// nothing is known and the answer is no.
    pub(super) fn file_changed(&self, finding: &MergedFinding, head: Option<&str>) -> bool {
        let Some(place) = finding.lead.locations.first() else {
            return false;
        };
        let before = head.and_then(|head| self.before.get(head)?.text(&place.path));
        match (before, self.now.as_ref().map(|now| now.text(&place.path))) {
            (Some(before), Some(Some(now))) => !same_code(&before, &now),
            (_, Some(None)) => true,
            _ => false,
        }
    }

    /// What became of the code of a finding that a round at `head` saw, and that may be raised again as `current`.
    /// Without a repository it counts as the same unless other code is quoted now.
    pub(super) fn see(
        &self,
        finding: &MergedFinding,
        head: Option<&str>,
        current: Option<&MergedFinding>,
    ) -> Seen {
        let Some(now) = &self.now else {
            return quoted(finding, current);
        };
        let Some(place) = finding.lead.locations.first() else {
            // A finding about no file: nothing says that it is gone.
            return Seen::Same { shift: 0 };
        };
        let Some(now) = now.text(&place.path) else {
            return Seen::Changed;
        };
        let before = head.and_then(|head| self.before.get(head)?.text(&place.path));
        match (before, place.start) {
            (Some(before), Some(start)) => {
                let end = place.end.unwrap_or(start).max(start);
                look_up(&before, start as usize, end as usize, &now)
            }
            (Some(before), None) if same_code(&before, &now) => Seen::Same { shift: 0 },
            (Some(_), None) => Seen::Changed,
            // The commit is gone: a rebased branch, collected.
            (None, _) => match &finding.lead.quote {
                Some(quote) => {
                    match crate::verify::quote::check_quote(quote, &now, place.start, place.end) {
                        crate::verify::quote::Found::At {
                            wrong: 0, first, ..
                        } => Seen::Same {
                            shift: place
                                .start
                                .map_or(0, |start| i64::from(first) - i64::from(start)),
                        },
                        _ => Seen::Changed,
                    }
                }
                None => Seen::Same { shift: 0 },
            },
        }
    }
}

/// Whether a file has the same code, whatever lines were added to switch rules off.
fn same_code(before: &str, now: &str) -> bool {
    let code = |text: &str| -> Vec<String> {
        let lines = text.lines().map(without_suppression);
        let bare = lines.map(|line| line.split_whitespace().collect::<String>());
        bare.filter(|line| !line.is_empty()).collect()
    };
    code(before) == code(now)
}

fn quoted(finding: &MergedFinding, current: Option<&MergedFinding>) -> Seen {
    let lines = |finding: &MergedFinding| -> Vec<String> {
        let quote = finding.lead.quote.as_deref().unwrap_or_default();
        quote.split_whitespace().map(str::to_owned).collect()
    };
    let (before, now) = (lines(finding), current.map(lines).unwrap_or_default());
    let within = |a: &[String], b: &[String]| b.windows(a.len()).any(|window| window == a);
    if before.is_empty() || now.is_empty() || within(&before, &now) || within(&now, &before) {
        Seen::Same { shift: 0 }
    } else {
        Seen::Changed
    }
}

/// Whether a report's word for its head can be asked of git: earlier reports come from files.
fn is_commit(head: &str) -> bool {
    (7..=64).contains(&head.len()) && head.chars().all(|c| c.is_ascii_hexdigit())
}

/// The number of a line, lines that only switch a rule off not counted.
fn uncounted(text: &str, line: usize) -> usize {
    let skipped = text
        .lines()
        .take(line.saturating_sub(1))
        .filter(|line| {
            without_suppression(line) != *line && without_suppression(line).trim().is_empty()
        })
        .count();
    line - skipped
}

/// Looks for lines `start` to `end` of `before`, together with the lines around them, in `now`.
fn look_up(before: &str, start: usize, end: usize, now: &str) -> Seen {
    let flat = |text: &str| -> Vec<String> {
        let code = text.lines().map(|line| (line, without_suppression(line)));
        // A line that only switches a rule off is none.
        code.filter(|(line, code)| line == code || !code.trim().is_empty())
            .map(|(_, code)| code.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    let (start, end) = (uncounted(before, start), uncounted(before, end));
    let (before, now) = (flat(before), flat(now));
    if start > before.len() {
        return Seen::Changed;
    }
    let (start, end) = (
        start.saturating_sub(1).min(before.len()),
        end.min(before.len()),
    );
    // An empty line is known by its neighbours alone.
    let blank = before[start..end.max(start)].iter().all(String::is_empty);
    let around = |lines: &mut dyn Iterator<Item = &String>| {
        lines
            .take(MARGIN)
            .take_while(|line| blank || !line.is_empty())
            .count()
    };
    let first = start - around(&mut before[..start].iter().rev());
    let last = end.max(start) + around(&mut before[end.max(start)..].iter());
    let wanted = &before[first..last];
    if wanted.is_empty() {
        return Seen::Changed;
    }
    let shift = |at: usize| i64::try_from(at).unwrap_or(0) - i64::try_from(first).unwrap_or(0);
    now.windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| *window == wanted)
        .map(|(at, _)| shift(at))
        .min_by_key(|shift| shift.abs())
        .map_or(Seen::Changed, |shift| Seen::Same { shift })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_decide_without_a_repository() {
        use crate::model::{Finding, Severity, Voice};
        let finding = |quote: Option<&str>| {
            let finding = Finding {
                quote: quote.map(str::to_owned),
                ..Finding::new("1", Severity::Important, "t")
            };
            let reviewer = "r".to_owned();
            crate::merge::join(vec![Voice {
                reviewer,
                finding,
                analyser: false,
            }])
            .unwrap()
        };
        for (before, now, same) in [
            (Some("let x = 1;"), Some("  let x = 1;\n  drop(x);"), true),
            (Some("let x = 1;\ndrop(x);"), Some("drop(x);"), true),
            (Some("let x = 1;"), Some("let x = 2;"), false),
            (Some("let x = 1;"), None, true),
            (None, Some("let x = 1;"), true),
        ] {
            let current = finding(now);
            let seen = Code::default().see(&finding(before), None, Some(&current));
            assert_eq!(seen.is_same(), same, "{before:?} {now:?}");
        }
        assert!(
            Code::default()
                .see(&finding(Some("x")), None, None)
                .is_same()
        );
    }

    #[test]
    fn moved_code_is_same_and_edited_code_is_changed() {
        let before = "a\nb\nc\nd\ne\nf\ng\n";
        assert_eq!(look_up(before, 4, 4, before), Seen::Same { shift: 0 });
        assert_eq!(
            look_up(before, 4, 4, "x\ny\na\n b\nc\nd\ne\nf\n"),
            Seen::Same { shift: 2 }
        );
        assert_eq!(
            look_up(before, 4, 4, "a\nb\nc\nD\ne\nf\ng\n"),
            Seen::Changed
        );
        assert_eq!(
            look_up(before, 4, 4, "a\nb\nc\nd\nE\nf\ng\n"),
            Seen::Changed
        );
        assert_eq!(look_up(before, 40, 41, before), Seen::Changed);
        // Moved to the end of the file, behind another function.
        let function = "x\n\nfn a\nb\nc\n\nfn d\n";
        assert_eq!(
            look_up(function, 5, 5, "x\n\nfn d\n\nfn a\nb\nc\n"),
            Seen::Same { shift: 2 }
        );
    }
}
