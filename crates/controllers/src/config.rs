//! What the controllers are told by the program that runs them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use lima::layout::LimaHome;

/// What a [`crate::Manager`] is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// The instance of rdd, as `2`; reported with events.
    pub instance: String,
    /// Where the VMs' folders are.
    pub lima_home: LimaHome,
    /// Where images are kept; shared by all VMs of the user.
    pub image_cache: PathBuf,
    /// Where the logs of a deleted VM are moved to, a folder each; `None` removes them (`RDD_KEEP_LOGS`).
    pub kept_logs: Option<PathBuf>,
    /// How a hostagent is started.
    pub hostagent: HostagentCommand,
    /// The controllers that run, such as `limavm`; see [`crate::manager::CONTROLLERS`].
    pub enabled: BTreeSet<String>,
    /// The key in the discovery ConfigMap: `embedded` in the daemon.
    pub manager_name: String,
    /// When the control plane started.
    pub started_at: Timestamp,
    /// How long a guest may take to shut down, when its VM does not say.
    pub stop_grace: Duration,
    /// How long after the guests' time all VMs may take to be gone when the control plane goes (hazard 31);
    /// [`crate::manager::AFTER_GRACE`], except where the host is known to be overloaded.
    pub after_grace: Duration,
}

/// How a hostagent is started: `PROGRAM ARGS… --dir FOLDER`.
#[derive(Debug, Clone, Default)]
pub struct HostagentCommand {
    /// The program, by its full path.
    pub program: PathBuf,
    /// The arguments before `--dir FOLDER`, as `["hostagent", "--cache-dir", …]`.
    pub args: Vec<OsString>,
    /// Variables added to the environment (`RDD_LOG_LEVEL`, …).
    pub env: Vec<(OsString, OsString)>,
    /// Old logs kept at each start; `None` keeps all (`RDD_KEEP_LOGS`).
    pub kept_logs: Option<usize>,
    /// The first line of a new log (`RDD_LOG_TITLE`).
    pub log_title: Option<String>,
}

/// How the controllers end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Stop all VMs, at once and under one deadline. Guests may take `grace` (a VM's own gracePeriod can only make it
    /// shorter, so that the deadline holds for all); what is left then is switched off.
    StopVms {
        /// How long the guests may take.
        grace: Duration,
    },
    /// Leave the VMs running, for the next daemon to adopt.
    KeepVms,
}
