//! Starting a hostagent that outlives its starter.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lima::layout::InstanceDir;
use process::Identity;
use process::spawn::Spawn;

/// Logs kept when all are to be: somebody who starts a VM that often has to clean up.
const MOST_LOGS: usize = 1000;

/// How a hostagent is started.
#[derive(Debug, Clone)]
pub struct SpawnOptions {
    /// The arguments, as `["hostagent", "--dir", …]`.
    pub args: Vec<OsString>,
    /// Variables added to the starter's environment (`RDD_LOG_LEVEL`, …).
    pub env: Vec<(OsString, OsString)>,
    /// Old logs kept at each start; `None` keeps all (`RDD_KEEP_LOGS`).
    pub kept_logs: Option<usize>,
    /// The first line of a new log (`RDD_LOG_TITLE`).
    pub log_title: Option<String>,
}

impl Default for SpawnOptions {
    /// No arguments; five old logs, as for the service's own.
    fn default() -> Self {
        SpawnOptions {
            args: Vec::new(),
            env: Vec::new(),
            kept_logs: Some(5),
            log_title: None,
        }
    }
}

/// Why no hostagent was started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The log file could not be opened.
    #[error("cannot open the hostagent's log {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start the hostagent {}: {reason}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Starts `program` as the hostagent of `dir`: own session, standard error to `ha.stderr.log` (rotated before), no
/// standard input or output; it writes its events to `ha.stdout.log` (rotated too) by itself. Returns as soon as it
/// runs; its lock and its socket say the rest. Two at once are safe: the second finds the lock held and exits.
///
/// # Errors
/// [`SpawnError`].
pub async fn spawn(
    program: &Path,
    dir: &InstanceDir,
    options: &SpawnOptions,
) -> Result<Identity, SpawnError> {
    let log = |path: &Path| {
        let path = path.to_owned();
        move |source| SpawnError::Log { path, source }
    };
    let (events, errors) = (dir.ha_stdout_log(), dir.ha_stderr_log());
    for path in [&events, &errors] {
        rotate(path, options.kept_logs).map_err(log(path))?;
    }
    let mut file = crate::sys::append(&errors).map_err(log(&errors))?;
    if let Some(title) = &options.log_title {
        writeln!(file, "{title}").map_err(log(&errors))?;
    }
    let mut spawn = Spawn::new(program)
        .args(&options.args)
        .cwd("/")
        .stderr(file);
    for (name, value) in &options.env {
        spawn = spawn.env(name, value);
    }
    let child = spawn.spawn().map_err(|error| SpawnError::Start {
        program: program.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(child.identity().clone())
}

/// Renames `path` to `path.1`, `path.1` to `path.2` and so on, and removes what goes beyond `kept`. An empty log is
/// used again.
fn rotate(path: &Path, kept: Option<usize>) -> io::Result<()> {
    if std::fs::metadata(path).map_or(0, |m| m.len()) == 0 {
        return Ok(());
    }
    let numbered = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let mut last = 0;
    while last < MOST_LOGS && numbered(last + 1).exists() {
        last += 1;
    }
    let keep = kept.unwrap_or(MOST_LOGS).min(MOST_LOGS);
    for number in (1..=last).rev() {
        if number + 1 > keep {
            std::fs::remove_file(numbered(number))?;
        } else {
            std::fs::rename(numbered(number), numbered(number + 1))?;
        }
    }
    if keep == 0 {
        std::fs::remove_file(path)
    } else {
        std::fs::rename(path, numbered(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_move_up_and_the_oldest_goes() {
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
}
