//! The configuration of the LimaVM controller, from the program that runs it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lima::layout::LimaHome;

/// The configuration of a [`crate::LimaVmController`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that holds the instance folders.
    pub lima_home: LimaHome,
    /// The image cache; shared by all VMs of the user.
    pub image_cache: PathBuf,
    /// The folder that logs of deleted VMs are moved to (`RDD_KEEP_LOGS`); `None` deletes them.
    pub kept_logs: Option<PathBuf>,
    /// How a hostagent is started.
    pub hostagent: HostagentCommand,
    /// The grace period of a stop, for VMs that have none of their own.
    pub stop_grace: Duration,
}

/// How a hostagent is started: `PROGRAM ARGS… --dir FOLDER`.
#[derive(Debug, Clone, Default)]
pub struct HostagentCommand {
    /// The program, by its full path.
    pub program: PathBuf,
    /// The arguments before `--dir FOLDER`, such as `["hostagent", "--cache-dir", …]`.
    pub args: Vec<OsString>,
    /// Variables added to the environment (`RDD_LOG_LEVEL`, …).
    pub env: Vec<(OsString, OsString)>,
    /// The number of old logs kept at each start; `None` keeps all (`RDD_KEEP_LOGS`).
    pub kept_logs: Option<usize>,
    /// The first line of each new log (`RDD_LOG_TITLE`).
    pub log_title: Option<String>,
}
