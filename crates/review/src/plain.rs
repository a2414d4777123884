//! Text from reviewers as plain text that a terminal, a log or a message can show.

use crate::model::Location;

/// Text on one line, without control characters (a terminal would obey them), cut at `limit` characters.
#[must_use]
pub fn one_line(text: &str, limit: usize) -> String {
    let mut result: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(limit + 1)
        .collect();
    if result.chars().count() > limit {
        result.pop();
        result.push('…');
    }
    result
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
    fn an_action_cannot_drive_the_terminal() {
        assert_eq!(one_line("a\x1b[2Jb\r\n c", 20), "a[2Jb c");
        assert_eq!(one_line("abcdef", 3), "ab…".replace("ab", "abc"));
    }
}
