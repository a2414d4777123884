//! Starting a hostagent that outlives its starter.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lima::layout::InstanceDir;
use process::Identity;
use process::spawn::Spawn;

use crate::log_rotation::rotate;

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
    /// No arguments; five old logs, as for the daemon's own log.
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
        /// The system's error.
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

/// Starts `program` as the hostagent of `dir`: with its own session, stderr to `ha.stderr.log` (rotated before), and no
/// stdin or stdout; it writes its events to `ha.stdout.log` (rotated too) itself. Returns as soon as the process runs; its
/// lock and its socket show its further progress. Concurrent starts are safe: the second process finds the lock held and
/// exits.
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
        .long_lived()
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
