//! The last lines of a log, for messages.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much of a file is looked at: some lines, not a novel.
const BYTES: u64 = 2048;
/// Lines shown.
const LINES: usize = 8;

/// The last lines of `path` without control characters; empty when there is nothing to read.
pub fn of_file(path: &Path) -> String {
    let Ok(mut file) = File::open(path) else {
        return String::new();
    };
    let length = file.metadata().map_or(0, |m| m.len());
    if file
        .seek(SeekFrom::Start(length.saturating_sub(BYTES)))
        .is_err()
    {
        return String::new();
    }
    let mut bytes = Vec::new();
    if file.take(BYTES).read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text
        .lines()
        .map(|line| plain(line).trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Without what steers a terminal: a guest's console holds colours and cursor movements, which must not reach the user's.
/// A control sequence (ECMA-48, 5.4: ESC, `[`, parameters, one byte from `@` to `~`) goes as a whole.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' && letters.peek() == Some(&'[') {
            letters.next();
            for letter in letters.by_ref() {
                if ('@'..='~').contains(&letter) {
                    break;
                }
            }
        } else if !letter.is_control() {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h19_last_words_are_bounded_and_steer_no_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("serial.log");
        assert_eq!(of_file(&log), "");
        let mut text: String = (0..1000)
            .map(|number| format!("line {number}\r\n"))
            .collect();
        text.push_str("\u{1b}[0;1;31mFailed\u{1b}[0m to mount /\u{7}\u{1b}[2J\r\n\u{1b}[H\r\n\u{1b}cKernel panic");
        std::fs::write(&log, text).unwrap();
        let lines = of_file(&log);
        assert!(
            lines.ends_with("line 999\nFailed to mount /\ncKernel panic"),
            "{lines:?}"
        );
        assert_eq!(lines.lines().count(), LINES);
    }
}
