//! Prints a log file, and follows it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::output;

/// How often a followed file is polled: often enough to look immediate, and too seldom to be a load.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The size of one read, in bytes.
const CHUNK: usize = 64 * 1024;

/// Prints the file; with `follow`, waits for more until the reader goes away. A file that was rotated away is
/// followed to its end, then the new one from its start.
pub(crate) fn print(path: &Path, follow: bool) -> anyhow::Result<()> {
    let doing = || format!("cannot read the log {}", path.display());
    let mut file = File::open(path).with_context(doing)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk).with_context(doing)?;
        if read > 0 {
            if !output::print_bytes(&chunk[..read])? {
                return Ok(());
            }
        } else if !follow {
            return Ok(());
        } else if let Some(new) = successor(&file, path).with_context(doing)? {
            file = new;
        } else if output::reader_left_within(LOOK_AGAIN) {
            // Polling works the same on every platform; notifications of file changes do not.
            return Ok(());
        }
    }
}

/// The file that replaced this one, or the same file from its start if it was truncated.
fn successor(file: &File, path: &Path) -> io::Result<Option<File>> {
    let current = match File::open(path) {
        Ok(current) => current,
        // The old file was renamed, and the new one does not exist yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let same = process::file::is_same(file, &current)?;
    let truncated = same && {
        let mut position = file;
        position.stream_position()? > current.metadata()?.len()
    };
    Ok((!same || truncated).then_some(current))
}

/// The last lines of a file, at most `lines` of them; empty when it cannot be read.
pub(crate) fn last_lines(path: &Path, lines: usize) -> Vec<String> {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(CHUNK as u64)))?;
        let mut bytes = Vec::new();
        file.take(CHUNK as u64).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|&line| line.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_of_a_short_a_long_and_a_missing_file() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        std::fs::write(&log, "1\n2\n3\n").unwrap();
        assert_eq!(last_lines(&log, 2), ["2", "3"]);
        assert_eq!(last_lines(&log, 9), ["1", "2", "3"]);
        let many: String = (0..100_000).map(|n| format!("{n}\n")).collect();
        std::fs::write(&log, many).unwrap();
        assert_eq!(last_lines(&log, 1), ["99999"]);
        assert!(last_lines(&folder.path().join("none"), 3).is_empty());
    }
}
