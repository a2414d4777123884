//! Text from reviewers as plain text that a terminal, a log or a message can show.

use crate::model::Location;

/// Whether a character is invisible but affects the text around it: it controls a terminal, changes the direction of
/// text, or has no width.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every hidden character written out: `⟦U+202E⟧`. Line ends become `\n`.
#[must_use]
pub fn visible(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Emoji are joined by it, and it hides nothing.
            '\u{200d}' => result.push(c),
            c if is_hidden(c) => result.push_str(&format!("⟦U+{:04X}⟧", u32::from(c))),
            c => result.push(c),
        }
    }
    result
}

/// Text on one line, without hidden characters, cut at `limit` characters.
#[must_use]
pub fn one_line(text: &str, limit: usize) -> String {
    let mut result: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !is_hidden(*c))
        .take(limit + 1)
        .collect();
    if result.chars().count() > limit {
        result.pop();
        result.push('…');
    }
    result
}

/// Whether a path names something inside the repository: relative, with `/`, without `..` and hidden characters.
#[must_use]
pub fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with(['/', '-'])
        && !path.contains(['\\', '\n', '\t'])
        && !path.chars().any(is_hidden)
        && path.get(1..3) != Some(":/")
        && !path.contains("://")
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The longest path that is shown, in characters: Linux has no longer ones.
const LONGEST_PATH: usize = 4_096;

/// A place as text: `path:10-12`, `path:3`, `path`.
pub fn place(location: &Location) -> String {
    let path = one_line(&location.path, LONGEST_PATH).replace('`', "'");
    match (location.start, location.end) {
        (Some(start), Some(end)) if end > start => format!("{path}:{start}-{end}"),
        (Some(start), _) => format!("{path}:{start}"),
        (None, _) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_written_out() {
        assert_eq!(
            visible("a\x1b[2Jb\u{202e}c\u{200b}\r\nd\te"),
            "a⟦U+001B⟧[2Jb⟦U+202E⟧c⟦U+200B⟧\nd\te"
        );
        assert_eq!(visible("👩\u{200d}💻 é"), "👩\u{200d}💻 é");
    }

    #[test]
    fn path_outside_the_repository_is_recognised() {
        for path in [
            "../a",
            "/etc/shadow",
            "a/../../b",
            "C:/x",
            "a\nb",
            "",
            "file:///etc",
            "--output=x",
            "a\\b",
            "a//b",
        ] {
            assert!(!is_inside(path), "{path}");
        }
        assert!(is_inside("a/b c.rs") && is_inside(".github/x.yml"));
    }

    #[test]
    fn text_cannot_control_the_terminal() {
        assert_eq!(one_line("a\x1b[2Jb\r\n c", 20), "a[2Jb c");
        assert_eq!(one_line("abcdef", 3), "ab…".replace("ab", "abc"));
    }
}
