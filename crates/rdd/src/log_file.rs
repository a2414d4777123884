//! The log files of the daemon: a new one at each start; the old ones become numbered backups.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// How many backups of a log are kept, so that the log of the last good start is still there.
const BACKUPS: u64 = 5;

/// Renames `NAME.log` to `NAME.N.log` with the next N, removes old backups (unless `keep_all`) and opens a new log
/// with `title` as its first line.
pub(crate) fn start_new(log: &Path, keep_all: bool, title: Option<&str>) -> anyhow::Result<File> {
    rotate(log, keep_all).with_context(|| format!("cannot rotate the log {}", log.display()))?;
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(log).and_then(|mut file| {
        if let Some(title) = title {
            writeln!(file, "=== {title} ===")?;
        }
        Ok(file)
    });
    opened.with_context(|| {
        format!(
            "cannot write the log {}; free space there, or choose another folder with RDD_LOG_DIR",
            log.display()
        )
    })
}

/// The backups of a log with their numbers, oldest first.
pub(crate) fn backups(log: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let (Some(folder), Some(base)) = (log.parent(), log.file_stem()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{}.", base.to_string_lossy());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| {
                name.strip_prefix(&prefix)?
                    .strip_suffix(".log")?
                    .parse()
                    .ok()
            });
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

fn rotate(log: &Path, keep_all: bool) -> io::Result<()> {
    let mut backups = backups(log)?;
    if log.symlink_metadata().is_ok() {
        let next = backups.last().map_or(1, |(number, _)| number + 1);
        let backup = log.with_extension(format!("{next}.log"));
        fs::rename(log, &backup)?;
        backups.push((next, backup));
    }
    if !keep_all {
        let excess = backups
            .len()
            .saturating_sub(usize::try_from(BACKUPS).unwrap_or(usize::MAX));
        for (_, old) in &backups[..excess] {
            fs::remove_file(old)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn five_backups_are_kept_even_in_a_folder_with_brackets() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("a[1] *b é");
        fs::create_dir(&folder).unwrap();
        let log = folder.join("rdd.stderr.log");
        fs::write(folder.join("rdd.stdout.1.log"), "of another log").unwrap();
        for start in 1..=8 {
            start_new(&log, false, Some(&format!("start {start}"))).unwrap();
        }
        assert_eq!(
            names(&folder),
            [
                "rdd.stderr.3.log",
                "rdd.stderr.4.log",
                "rdd.stderr.5.log",
                "rdd.stderr.6.log",
                "rdd.stderr.7.log",
                "rdd.stderr.log",
                "rdd.stdout.1.log"
            ]
        );
        assert_eq!(fs::read_to_string(&log).unwrap(), "=== start 8 ===\n");
        assert_eq!(
            fs::read_to_string(folder.join("rdd.stderr.7.log")).unwrap(),
            "=== start 7 ===\n"
        );
    }

    #[test]
    fn all_backups_are_kept_on_request() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("rdd.stderr.log");
        for _ in 0..9 {
            start_new(&log, true, None).unwrap();
        }
        assert_eq!(names(folder.path()).len(), 9);
    }

    #[cfg(unix)]
    #[test]
    fn log_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = start_new(&folder.path().join("x.log"), false, None).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
