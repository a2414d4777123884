//! An independent count of the findings in a text: the reference that the parser is measured against.
//!
//! It shares no code with the parser and is simpler on purpose: it reads lines, follows the headings of severities,
//! ignores fences, and counts a line as a finding if it opens with an id or a severity and has a place, a tag or
//! reviewers after its bold title.

use std::sync::LazyLock;

use regex::Regex;

/// A finding as counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// `I1`, `3`; empty if the text has only a severity.
    pub id: String,
    /// First letter of the severity: `c`, `i`, `s`; `?` if the text names none.
    pub severity: char,
    /// The title with its Markdown.
    pub title: String,
    /// The first file named after the title, without lines; empty if there is none.
    pub file: String,
}

#[expect(
    clippy::unwrap_used,
    reason = "the patterns are constants, and every run uses them all"
)]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

static HEADING: LazyLock<Regex> = LazyLock::new(|| regex(r"^(#{1,6})\s+(.*)$"));
static BOLD_LINE: LazyLock<Regex> = LazyLock::new(|| regex(r"^\*\*([^*]+)\*\*:?\s*$"));
static SEVERITY: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?i)^(critical|important|suggestion|minor|nits|advisory)"));
static FINDINGS: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)^(findings|issues|open issues)\b"));
static OTHER: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?i)^(design|testing|test |doc|commit|ack|unresolved|coverage|exec|agent|perf|review|append|strength|concern|summary|declined|skill|repo|verif|header|retro|pinned|resolution|recommended|conclusion)",
    )
});
static ITEM: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?:#{2,6}\s+)?(?:[-*]\s+)?(?:~~)?(?:\*\*)?(?:~~)?(?i:Finding |Issue )?(?:\[?([CIS]\d{1,2})\]?(?:[.:)]| [—–-])|(\d{1,2})[.:)]|\[(?i:(critical|important|suggestion))\])\s*(.*)$",
    )
});
static PLACED_ITEM: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^[-*] `([\w./@+-]+\.\w+|[\w./@+-]*/[\w.@+-]+)(?::[\d, -]+)?` — (.*)$")
});
static PLAIN_PLACE: LazyLock<Regex> = LazyLock::new(|| regex(r"^[\w./-]+\.\w+:[\d, -]+$"));
static TAIL: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*(?:[—–-]|\(|\[|`|\*\(|$|\*\*INVALID)"));
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?i)[(\[]\*?(?:critical|important|suggestion|gap|regression|enhancement)\b")
});
static TAGGED: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?i)[(\[]\*?(critical|important|suggestion)\b"));
static BRACKET: LazyLock<Regex> = LazyLock::new(|| regex(r"\[[A-Z][^\]]{2,60}\]"));
static FILE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"[\[`(\s]((?:[\w.@+~-]+/)+[\w.@+~-]*\w|[\w@+~-][\w.@+~-]*\.[A-Za-z]\w{0,11}|Makefile|Dockerfile)(?:[:`,)\]\s]|$)",
    )
});

/// Counts the findings in a text.
pub fn count(text: &str) -> Vec<Counted> {
    let text = without_margin(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut section: Option<char> = None;
    let mut letters = false;
    for (at, line) in lines.iter().enumerate() {
        let heading = HEADING
            .captures(line)
            .and_then(|c| c.get(2))
            .or_else(|| BOLD_LINE.captures(line.trim()).and_then(|c| c.get(1)))
            .map(|m| m.as_str().trim_matches(['*', ' ']));
        let item = ITEM.captures(line);
        if let (Some(title), None) = (heading, &item) {
            letters = false;
            if let Some(name) = SEVERITY.find(title) {
                section = Some(letter(name.as_str()));
            } else if FINDINGS.is_match(title) {
                section = Some('?');
            } else if OTHER.is_match(title) && title.chars().count() < 70 {
                section = None;
            } else if section.is_some() && line.starts_with('#') {
                // A heading of another group of findings; the count does not guess its severity.
                section = Some('?');
            }
            continue;
        }
        let Some(of_section) = section else { continue };
        if let Some(placed) = PLACED_ITEM.captures(line) {
            if !letters {
                found.push(Counted {
                    id: String::new(),
                    severity: of_section,
                    title: placed[2].to_owned(),
                    file: placed[1].to_owned(),
                });
            }
            continue;
        }
        let Some(item) = item else { continue };
        let lettered = item.get(1).is_some();
        let severe = item.get(3);
        // The title may continue on the next lines.
        let mut block = item[4].to_owned();
        for next in lines.iter().skip(at + 1).take(2) {
            if next.trim().is_empty() || ITEM.is_match(next) {
                break;
            }
            block.push(' ');
            block.push_str(next.trim());
        }
        let bold = line.contains("**");
        let heading = line.starts_with('#');
        if !bold && !heading && !lettered {
            continue;
        }
        let (title, tail) = split(&block, line);
        let strong = TAIL.is_match(&tail)
            && (FILE.is_match(&tail) || TAG.is_match(&tail) || BRACKET.is_match(&tail));
        let file = FILE
            .captures(&tail)
            .or_else(|| FILE.captures(&title))
            .filter(|c| c[1].contains('.') && !c[1].starts_with('~'))
            .map_or(String::new(), |c| c[1].to_owned());
        if lettered || severe.is_some() || heading || strong && !letters {
            letters |= lettered;
            found.push(Counted {
                id: item
                    .get(1)
                    .or(item.get(2))
                    .map_or(String::new(), |m| m.as_str().to_owned()),
                severity: severe
                    .or_else(|| TAGGED.captures(&tail).and_then(|c| c.get(1)))
                    .map_or(of_section, |m| letter(m.as_str())),
                title,
                file,
            });
        }
    }
    found
}

fn split(block: &str, line: &str) -> (String, String) {
    let (title, tail) = split_bold(block, line);
    // The place inside the bold text, before the title or after it.
    if let Some((place, words)) = title.split_once(" — ")
        && PLAIN_PLACE.is_match(place)
    {
        return (words.to_owned(), format!(" {place} {tail}"));
    }
    if let Some((words, place)) = title.split_once(" — `") {
        return (words.to_owned(), format!(" `{place} {tail}"));
    }
    (title, tail)
}

fn split_bold(block: &str, line: &str) -> (String, String) {
    let open = block.trim_start_matches(['~', '*']);
    match open.split_once("**") {
        Some((title, tail)) if line.contains("**") => (
            title.replace("~~", ""),
            format!(" {}", tail.trim_start_matches("~~")),
        ),
        _ => match open.split_once(" — `") {
            Some((title, tail)) => (title.to_owned(), format!(" — `{tail}")),
            None => match open.split_once(" **File:**") {
                Some((title, tail)) => (title.to_owned(), tail.to_owned()),
                None => (open.to_owned(), format!(" {open}")),
            },
        },
    }
}

fn letter(word: &str) -> char {
    match word.chars().next().map(|c| c.to_ascii_lowercase()) {
        Some('c') => 'c',
        Some('i') => 'i',
        _ => 's',
    }
}

fn without_margin(text: &str) -> String {
    let all = text.lines().filter(|l| !l.trim().is_empty()).count();
    let wide = text.lines().filter(|l| l.starts_with("    ")).count();
    if wide * 5 > all * 4 {
        let lines: Vec<&str> = text.lines().map(|l| l.get(4..).unwrap_or("")).collect();
        lines.join("\n")
    } else {
        text.to_owned()
    }
}

/// Reduces a title to the part on which parser and count must agree.
fn normal_title(title: &str) -> String {
    title
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .take(40)
        .collect()
}

/// Returns whether two titles are the same: the count may take a title to its end, the parser to the end of its
/// sentence.
pub(super) fn same_title(a: &str, b: &str) -> bool {
    let (a, b) = (normal_title(a), normal_title(b));
    let shorter = a.len().min(b.len());
    a == b || shorter >= SHORTEST_TITLE && (a.starts_with(&b) || b.starts_with(&a))
}

/// The number of bytes that two titles must share.
const SHORTEST_TITLE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted() {
        let text = "\
## Important Issues

I1. **One** — `a/b.rs:3` [Claude]

1. **A step** — does that
2. **Another** — `not/a.finding` (important)

**I2. Two**
`c.go:1` (important, gap)

## Suggestions

None.

1. **Old style** — `d.vue:5` [A, B]

## Testing

1. **Gap** — `e.rs:1`
";
        let found: Vec<(String, char, String)> = count(text)
            .into_iter()
            .map(|c| (c.title, c.severity, c.file))
            .collect();
        assert_eq!(
            found,
            [
                ("One".to_owned(), 'i', "a/b.rs".to_owned()),
                ("Two".to_owned(), 'i', "c.go".to_owned()),
                ("Old style".to_owned(), 's', "d.vue".to_owned()),
            ]
        );
    }
}
