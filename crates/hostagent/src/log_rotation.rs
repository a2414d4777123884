//! Rotation of logs: at each start by renaming, and while another process writes to them by copying.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Old logs kept when all are to be kept: a user who starts a VM more often has to clean up.
const MOST_LOGS: usize = 1000;

/// Renames `path` to `path.1`, `path.1` to `path.2` and so on, and removes what goes beyond `kept`. An empty log is
/// used again.
pub(crate) fn rotate(path: &Path, kept: Option<usize>) -> io::Result<()> {
    if std::fs::metadata(path).map_or(0, |m| m.len()) == 0 {
        return Ok(());
    }
    let mut last = 0;
    while last < MOST_LOGS && numbered(path, last + 1).exists() {
        last += 1;
    }
    let keep = kept.unwrap_or(MOST_LOGS).min(MOST_LOGS);
    for number in (1..=last).rev() {
        if number + 1 > keep {
            std::fs::remove_file(numbered(path, number))?;
        } else {
            std::fs::rename(numbered(path, number), numbered(path, number + 1))?;
        }
    }
    if keep == 0 {
        std::fs::remove_file(path)
    } else {
        std::fs::rename(path, numbered(path, 1))
    }
}

/// Empties a log of more than `limit` bytes while another process appends to it, and keeps its last `limit` bytes in
/// `path.cut`. Lines that are written between the copy and the truncation are lost.
pub(crate) fn cut(path: &Path, limit: u64) -> io::Result<()> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > limit => metadata.len(),
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut log = OpenOptions::new().read(true).write(true).open(path)?;
    // Truncated even if the copy fails: a disk that is full is the reason to shorten the log.
    let copied = keep_end(&mut log, path, length, limit);
    log.set_len(0)?;
    copied
}

fn keep_end(log: &mut File, path: &Path, length: u64, limit: u64) -> io::Result<()> {
    log.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    let mut end = Vec::new();
    log.take(limit).read_to_end(&mut end)?;
    let mut kept = private(&cut_name(path))?;
    kept.write_all(&end)
}

fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The name of what [`cut`] keeps. Not a number, because the numbered logs are those of earlier starts.
fn cut_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".cut");
    PathBuf::from(name)
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_move_up_and_the_oldest_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        // Windows allows no star in a name.
        let log = folder.path().join(if cfg!(windows) {
            "a[1] b.log"
        } else {
            "a[1] *b.log"
        });
        for round in 0..5 {
            std::fs::write(&log, format!("round {round}")).unwrap();
            rotate(&log, Some(3)).unwrap();
        }
        rotate(&log, Some(3)).unwrap();
        let mut found: Vec<(String, String)> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (
                    path.extension().unwrap().to_str().unwrap().to_owned(),
                    std::fs::read_to_string(path).unwrap(),
                )
            })
            .collect();
        found.sort();
        let expected = [("1", "round 4"), ("2", "round 3"), ("3", "round 2")];
        assert_eq!(
            found,
            expected.map(|(number, text)| (number.to_owned(), text.to_owned()))
        );
    }

    #[test]
    fn log_that_is_being_written_is_cut_and_its_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("serial.log");
        cut(&log, 10).unwrap();
        let mut options = OpenOptions::new();
        let mut writer = options.append(true).create(true).open(&log).unwrap();
        writer.write_all(b"0123456789").unwrap();
        cut(&log, 10).unwrap();
        assert_eq!(std::fs::read(&log).unwrap(), b"0123456789");
        writer.write_all(b"abc").unwrap();
        cut(&log, 10).unwrap();
        assert_eq!(std::fs::read(cut_name(&log)).unwrap(), b"3456789abc");
        // The writer continues at the start of the file.
        writer.write_all(b"later").unwrap();
        assert_eq!(std::fs::read(&log).unwrap(), b"later");
    }
}
