//! The parts of a review other than findings: notes in lists or paragraphs, and the covered files.

use super::lines::{Kind, Line};
use super::place::locations;
use super::review::is_none;
use crate::model::{Coverage, Note};

/// The maximum number of words of a note such as "No gaps." that means "none". Longer notes name something missing.
const MOST_WORDS_OF_NONE: usize = 6;

/// The items of a list, or the paragraphs where there is no list.
pub(super) fn notes(lines: &[Line<'_>]) -> Vec<Note> {
    let mut result: Vec<String> = Vec::new();
    let mut open = false;
    for line in lines {
        let text = line.text;
        let item = line.kind == Kind::Text && is_item(text);
        if item || (!open && !text.trim().is_empty()) {
            result.push(strip_item(text).to_owned());
            open = true;
        } else if open {
            if line.kind == Kind::Text && text.trim().is_empty() {
                // A blank line ends a paragraph, but not a list item whose next lines are indented.
                if let Some(last) = result.last_mut() {
                    last.push('\n');
                }
                open = false;
            } else if let Some(last) = result.last_mut() {
                last.push('\n');
                last.push_str(text);
            }
        }
        if !open && line.kind == Kind::Text && text.starts_with("  ") && !text.trim().is_empty() {
            open = true;
        }
    }
    let texts: Vec<String> = result
        .into_iter()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty() && !text.chars().all(|c| c == '-'))
        .collect();
    // "No gaps." alone means none; in a list with others, "No test covers X" is a gap.
    let alone = texts.len() == 1;
    texts
        .into_iter()
        .filter(|text| {
            !(alone && is_none(text) && text.split_whitespace().count() <= MOST_WORDS_OF_NONE)
        })
        .map(|text| Note {
            reviewers: reviewers(&text),
            text,
        })
        .collect()
}

/// The names in `[…]` in a note's first line: words that begin with a capital letter, and no link.
fn reviewers(text: &str) -> Vec<String> {
    let mut result = Vec::new();
    let line = text.lines().next().unwrap_or("");
    for (at, _) in line.match_indices('[') {
        let Some((inside, behind)) = line[at + 1..].split_once(']') else {
            break;
        };
        let name = inside.starts_with(|c: char| c.is_ascii_uppercase())
            && inside.chars().count() <= 60
            && !inside.contains(['/', '`', '(', '='])
            && !behind.starts_with('(');
        if name {
            result.extend(
                inside
                    .split([',', '+'])
                    .map(|r| r.trim().to_owned())
                    .filter(|r| !r.is_empty()),
            );
        }
    }
    result
}

pub(super) fn is_item(text: &str) -> bool {
    strip_item(text).len() != text.len()
}

fn strip_item(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix("- ").or_else(|| text.strip_prefix("* ")) {
        return rest;
    }
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    if (1..=2).contains(&digits)
        && let Some(rest) = text[digits..].strip_prefix(". ")
    {
        return rest;
    }
    text
}

/// The rows of a coverage table, or the items of a coverage list.
pub(super) fn coverage(lines: &[Line<'_>]) -> Vec<Coverage> {
    let mut result = Vec::new();
    for line in lines.iter().filter(|l| l.kind == Kind::Text) {
        let text = line.text.trim();
        if let Some(row) = text.strip_prefix('|') {
            let mut cells = row.trim_end_matches('|').split('|').map(str::trim);
            if let (Some(path), Some(status)) = (cells.next(), cells.next()) {
                push_coverage(&mut result, path, status);
            }
        } else if is_item(text) {
            let item = strip_item(text).trim_start_matches("**");
            // A link: its text is the path.
            if let Some((path, rest)) = item.strip_prefix('[').and_then(|t| t.split_once("](")) {
                let status = rest.split_once(')').map_or("", |(_, status)| status);
                let status = status.trim_start_matches([':', ' ', '—', '–', '-', '*']);
                push_coverage(&mut result, path, status);
                continue;
            }
            let cut = item
                .find("` — ")
                .map(|at| at + 1)
                .or_else(|| item.find("`: ").map(|at| at + 1))
                .or_else(|| item.find(": "))
                .or_else(|| item.find(" — "));
            let (path, status) = cut.map_or((item, ""), |at| (&item[..at], &item[at..]));
            push_coverage(
                &mut result,
                path,
                status.trim_start_matches([':', ' ', '—', '*']),
            );
        }
    }
    result
}

fn push_coverage(result: &mut Vec<Coverage>, path: &str, status: &str) {
    for place in locations(path) {
        result.push(Coverage {
            path: place.path,
            status: status.trim().to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::lines;
    use super::*;

    #[test]
    fn coverage_can_be_a_list_of_links() {
        let text = "- [`src/a.rs`](src/a.rs) — Reviewed\n- [b.go](https://x.example/b.go): C1\n- **[c.py](c.py)** – skimmed";
        let found: Vec<(String, String)> = coverage(&lines(text))
            .into_iter()
            .map(|file| (file.path, file.status))
            .collect();
        let expected = [
            ("src/a.rs", "Reviewed"),
            ("b.go", "C1"),
            ("c.py", "skimmed"),
        ];
        assert_eq!(
            found,
            expected.map(|(path, status)| (path.to_owned(), status.to_owned()))
        );
    }

    #[test]
    fn gap_that_begins_with_no_is_kept() {
        let texts = |text: &str| -> Vec<String> {
            notes(&lines(text))
                .into_iter()
                .map(|note| note.text)
                .collect()
        };
        assert_eq!(
            texts("1. No test covers the resume.\n2. No test at all for Windows."),
            ["No test covers the resume.", "No test at all for Windows."]
        );
        assert_eq!(
            texts("No test exercises the path where the server ignores ranges.").len(),
            1
        );
        assert!(texts("None.").is_empty() && texts("No gaps found.").is_empty());
    }
}
