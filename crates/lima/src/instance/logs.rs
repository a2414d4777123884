//! Keeps the logs of an instance whose folder will be deleted.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::InstanceError;
use crate::layout::InstanceDir;

/// The number of instances of one name whose logs are kept. After that many, the user has to remove some.
const MOST_KEPT: usize = 10_000;

/// Moves the instance's logs, also older ones, to a new folder `NAME.N` in `folder` with the first free N, and returns it.
/// Returns `None` if there are no logs. A second call after a crash moves the rest.
///
/// The caller must have proved that no process writes to the logs.
///
/// # Errors
/// A folder cannot be read or made, or a log cannot be moved.
pub fn keep_logs(dir: &InstanceDir, folder: &Path) -> Result<Option<PathBuf>, InstanceError> {
    let logs = logs(dir.path())?;
    if logs.is_empty() {
        return Ok(None);
    }
    process::file::create_private_dir(folder)?;
    let kept = make_numbered(folder, dir.name())?;
    for log in logs {
        let Some(name) = log.file_name() else {
            continue;
        };
        move_file(&log, &kept.join(name))?;
    }
    Ok(Some(kept))
}

fn logs(folder: &Path) -> Result<Vec<PathBuf>, InstanceError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(InstanceError::io("read", folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(InstanceError::io("read", folder))?.path();
        if path.file_name().is_some_and(is_log)
            && path.symlink_metadata().is_ok_and(|m| m.is_file())
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether a name is that of a log: `serial.log`, or `ha.stderr.log.2` for an older one.
fn is_log(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let name = name
        .rsplit_once('.')
        .filter(|(_, number)| number.parse::<u32>().is_ok())
        .map_or(name, |(name, _)| name);
    name.ends_with(".log")
}

fn make_numbered(folder: &Path, name: &str) -> Result<PathBuf, InstanceError> {
    let mut number = 1;
    loop {
        let path = folder.join(format!("{name}.{number}"));
        match std::fs::create_dir(&path) {
            Ok(()) => {
                // The folder gets the mode of its parent, which only the owner can read.
                process::file::create_private_dir(&path)?;
                return Ok(path);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < MOST_KEPT => {
                number += 1;
            }
            Err(error) => return Err(InstanceError::io("make", &path)(error)),
        }
    }
}

/// Moves a file, by copying between file systems.
fn move_file(from: &Path, to: &Path) -> Result<(), InstanceError> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            std::fs::copy(from, to).map_err(InstanceError::io("write", to))?;
            std::fs::remove_file(from).map_err(InstanceError::io("remove", from))
        }
        renamed => renamed.map_err(InstanceError::io("move", from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_logs_are_kept_for_each_instance_of_a_name() {
        let root = tempfile::tempdir().unwrap();
        // Windows allows no star in a name.
        let name = if cfg!(windows) { "a[1] b" } else { "a[1] *b" };
        let dir = InstanceDir::at(root.path().join(name), "web");
        let folder = root.path().join("logs/vms");
        assert_eq!(keep_logs(&dir, &folder).unwrap(), None, "no folder");
        for round in 1..=2 {
            std::fs::create_dir_all(dir.path()).unwrap();
            for name in [
                "ha.stderr.log",
                "ha.stderr.log.1",
                "serial.log",
                "lima.yaml",
                "log",
                "x.1",
            ] {
                std::fs::write(dir.path().join(name), format!("{round}")).unwrap();
            }
            let kept = keep_logs(&dir, &folder).unwrap().unwrap();
            assert_eq!(kept, folder.join(format!("web.{round}")));
            assert_eq!(
                names(&kept),
                ["ha.stderr.log", "ha.stderr.log.1", "serial.log"]
            );
            let text = std::fs::read_to_string(kept.join("serial.log")).unwrap();
            assert_eq!(text, format!("{round}"));
            assert_eq!(names(dir.path()), ["lima.yaml", "log", "x.1"]);
            assert_eq!(
                keep_logs(&dir, &folder).unwrap(),
                None,
                "all logs are moved"
            );
        }
    }
}
