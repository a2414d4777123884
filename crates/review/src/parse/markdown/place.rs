//! Places in code as reviewers write them: `a/b.rs:10-12`, `a.rs:3, 7-9`, `a/x.go#L47-L50`, `pkg/a/`.

use std::sync::LazyLock;

use regex::Regex;

use super::headline::regex;
use crate::model::Location;

static LINES: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?P<path>[^\s:#]*[^\s:#])(?:(?::|#)(?:L?(?P<ranges>\d+(?:\s*[-–—]\s*L?\d+)?(?:\s*,\s*L?\d+(?:\s*[-–—]\s*L?\d+)?)*)))?$",
    )
});

/// Every place named in a text such as `a/b.rs:10-12, 40`, `` `a.rs:3`, `b.rs` ``.
pub fn locations(text: &str) -> Vec<Location> {
    let mut result: Vec<Location> = Vec::new();
    for part in text.split(['`', ' ', ';']).map(|p| {
        p.trim_start_matches(['(', '*'])
            .trim_end_matches([',', '.', '*', ')', ':'])
    }) {
        if part.is_empty() {
            continue;
        }
        // A list of lines behind a place: `a.rs:3, 7-9`.
        if let (Some((start, end)), Some(last)) = (range(part), result.last().cloned()) {
            // `a.rs, line 3`.
            if last.start.is_none() {
                result.pop();
            }
            result.push(Location {
                path: last.path,
                start: Some(start),
                end,
            });
            continue;
        }
        let slashed = slashed(part);
        // A drive's colon is not the one before the lines.
        let drive = slashed.as_ref().and_then(|path| path.get(..3));
        let drive = drive.filter(|start| start.ends_with(":/"));
        let rest = slashed.as_deref().unwrap_or(part);
        let Some(found) = LINES.captures(&rest[drive.map_or(0, str::len)..]) else {
            continue;
        };
        let path = format!("{}{}", drive.unwrap_or(""), &found["path"]);
        let path = path.trim_start_matches("./");
        // A folder is named with a slash behind it; a lone slash is none.
        let folder = path.len() > 1 && path.ends_with('/');
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            continue;
        }
        let ranges = found.name("ranges").map(|m| m.as_str());
        if !folder && !looks_like_a_path(path, ranges.is_some()) {
            continue;
        }
        match ranges {
            None => result.push(Location {
                path: path.to_owned(),
                start: None,
                end: None,
            }),
            Some(ranges) => {
                for one in ranges.split(',') {
                    if let Some((start, end)) = range(one) {
                        result.push(Location {
                            path: path.to_owned(),
                            start: Some(start),
                            end,
                        });
                    }
                }
            }
        }
    }
    result
}

static WINDOWS: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^(?:[A-Za-z]:\\|\.\\)?(?:\.?[\w@+~-][\w.@+~-]*\\)*\.?[\w@+~-][\w.@+~-]*\.\w{1,12}(?:[:#].*)?$",
    )
});

/// A path of Windows with the slashes of git. `None` for all else, which has backslashes for other reasons.
fn slashed(part: &str) -> Option<String> {
    (part.contains('\\') && WINDOWS.is_match(part)).then(|| part.replace('\\', "/"))
}

/// Whether a text names places and nothing else.
pub(super) fn only_places(text: &str) -> bool {
    text.split_whitespace().all(|w| {
        let w = w.trim_matches(['`', ',', '(', ')', '*']);
        matches!(w, "" | "and" | "or" | "vs" | "vs." | "/" | "&" | "+")
            || range(w).is_some()
            || !locations(w).is_empty()
    })
}

/// Files without a suffix that reviews name.
const PLAIN_FILES: [&str; 9] = [
    "Makefile",
    "Dockerfile",
    "LICENSE",
    "README",
    "Vagrantfile",
    "CODEOWNERS",
    "Containerfile",
    "Justfile",
    "Jenkinsfile",
];

fn looks_like_a_path(path: &str, has_lines: bool) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let suffix = name.rsplit_once('.').is_some_and(|(stem, suffix)| {
        (!stem.is_empty() || name.starts_with('.'))
            && (1..=12).contains(&suffix.len())
            && suffix
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    });
    // `19.99` and `1.2.3` are numbers.
    let clean = path.contains(char::is_alphabetic)
        && !path.contains(['(', ')', '=', '<', '>', '"', '\'', '$', '|', '{', '}', '\\'])
        && !path.contains("//");
    clean && (has_lines || suffix || path.contains('/') || PLAIN_FILES.contains(&name))
}

/// `3`, `L3`, `3-7`: the first line, and the last when it is named.
pub(super) fn range(text: &str) -> Option<(u32, Option<u32>)> {
    let text = text.trim();
    let number = |t: &str| t.trim().trim_start_matches('L').parse::<u32>().ok();
    match text.split_once(['-', '–', '—']) {
        Some((start, end)) => {
            let (start, end) = (number(start)?, number(end)?);
            Some((start.min(end), Some(start.max(end))))
        }
        None => Some((number(text)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<String> {
        locations(text)
            .iter()
            .map(|l| match (l.start, l.end) {
                (Some(s), Some(e)) => format!("{}:{s}-{e}", l.path),
                (Some(s), None) => format!("{}:{s}", l.path),
                _ => l.path.clone(),
            })
            .collect()
    }

    #[test]
    fn places_with_lists_of_lines() {
        assert_eq!(places("`a/b.rs:3, 7-9`"), ["a/b.rs:3", "a/b.rs:7-9"]);
        assert_eq!(places("`x.go:10-4`"), ["x.go:4-10"]);
        assert_eq!(places("`a/x.go#L47-L50`"), ["a/x.go:47-50"]);
        assert_eq!(places("`pkg/a/`"), ["pkg/a"]);
        assert_eq!(places("a/b.php, lines 20-34"), ["a/b.php:20-34"]);
        assert_eq!(places(r"src\A\b.cs:7, .\x.ps1"), ["src/A/b.cs:7", "x.ps1"]);
        assert_eq!(places(r"C:\w\b.cs:7-9"), ["C:/w/b.cs:7-9"]);
        assert_eq!(
            places(r"`\d+\.x` `\w\w:3` `a\(b\).c`"),
            Vec::<String>::new()
        );
        assert_eq!(
            places("see `Makefile` or `foo()` and `a.b(c)`"),
            ["Makefile"]
        );
        assert_eq!(places("`https://example.com/x.html`"), Vec::<String>::new());
    }
}
