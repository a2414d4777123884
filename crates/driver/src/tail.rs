//! The last lines of a log, for messages.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// How much of a file's end is read for the last lines.
const BYTES: u64 = 2048;
/// How far back a line is searched: a panic's stack and registers are some kilobytes for each CPU.
const FAR: u64 = 64 * 1024;
/// The number of lines shown.
const LINES: usize = 8;

/// Returns the last lines of `path` without control characters; empty if there is nothing to read.
pub fn of_file(path: &Path) -> String {
    let lines = last_lines(path, BYTES);
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Returns the last line of `path` that contains `word`, without control characters; searches the last 64 KiB.
pub fn last_with(path: &Path, word: &str) -> Option<String> {
    last_lines(path, FAR)
        .into_iter()
        .rfind(|line| line.contains(word))
}

/// Returns the lines in the last `bytes` of `path`; the first one may be incomplete.
fn last_lines(path: &Path, bytes: u64) -> Vec<String> {
    end_of(path, bytes)
        .map(|end| {
            String::from_utf8_lossy(&end)
                .lines()
                .map(|line| plain(line).trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect()
        })
        .unwrap_or_default()
}

fn end_of(path: &Path, bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end)?;
    Ok(end)
}

/// Removes what controls a terminal: a guest's console holds colours and cursor movements, which must not reach the
/// user's terminal. A control sequence (ECMA-48, 5.4: ESC, `[`, parameters, one byte from `@` to `~`) is removed whole.
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
    fn h19_last_lines_are_bounded_and_free_of_control_sequences() {
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

    #[test]
    fn h19_line_with_the_cause_is_found_before_later_output() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("serial.log");
        assert_eq!(last_with(&log, "Kernel panic"), None);
        let after = "[   9.3] RIP: 0033:0x7f\r\n".repeat(100);
        std::fs::write(
            &log,
            format!("Kernel panic of a boot before\r\n{after}[ 9.2] Kernel panic - \u{1b}[1mnot syncing\u{1b}[0m: Oops\r\n{after}"),
        )
        .unwrap();
        assert_eq!(
            last_with(&log, "Kernel panic").as_deref(),
            Some("[ 9.2] Kernel panic - not syncing: Oops")
        );
        assert_eq!(last_with(&log, "no such words"), None);
        // The line is further back than the search goes.
        std::fs::write(&log, format!("Kernel panic\n{}", "x".repeat(70_000))).unwrap();
        assert_eq!(last_with(&log, "Kernel panic"), None);
    }
}
