//! Whether the daemon runs, and whether it is ready.
//!
//! The daemon runs while its lock is held. The lock file names the holder. The daemon is ready when `ready.json` names
//! the same process, so a file that a crashed daemon left does not count.

use std::path::PathBuf;
use std::time::Duration;

use process::lock::{self, Holder};
use process::{Identity, Process};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::version;

/// The daemon's label in its lock.
pub(crate) fn lock_label(instance: &Instance) -> String {
    format!("the control plane of {instance}")
}

/// The content of `ready.json`, which the daemon writes once it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// The process that wrote it.
    pub(crate) daemon: Identity,
    /// The port of the API.
    pub(crate) port: u16,
    /// The version of the program.
    #[serde(default)]
    pub(crate) version: String,
    /// The [`PROTOCOL`] of the daemon.
    #[serde(default)]
    pub(crate) protocol: u32,
    /// Where the daemon keeps images. Empty in the file of an older version.
    #[serde(default)]
    pub(crate) cache_dir: PathBuf,
    /// The daemon is stopping, and ends once its VMs have ended.
    #[serde(default)]
    pub(crate) stopping: bool,
}

/// The version of the protocol between commands and daemon. It is raised when a command cannot talk to an older daemon
/// any more, or an older command not to this one; most versions of the program share a protocol.
pub(crate) const PROTOCOL: u32 = 1;

impl Ready {
    /// Returns the content for the daemon of this program.
    pub(crate) fn of(daemon: Identity, port: u16, paths: &Paths) -> Self {
        Self {
            daemon,
            port,
            version: version::short(),
            protocol: PROTOCOL,
            cache_dir: paths.cache_dir.clone(),
            stopping: false,
        }
    }

    /// Refuses a daemon that this program cannot talk to.
    pub(crate) fn compatible(self, instance: &Instance) -> Result<Self, Failure> {
        if self.protocol == PROTOCOL {
            return Ok(self);
        }
        Err(Failure::incompatible(format_args!(
            "\"{instance}\" control plane runs as {}, which this rdd ({}) cannot talk to; `rdd svc restart` replaces \
             it by this version and keeps its VMs running",
            self.name(),
            version::short(),
        )))
    }

    /// The message for a daemon of another version.
    pub(crate) fn other_version(&self) -> Option<String> {
        (self.version != version::short()).then(|| {
            format!(
                "is still {}, and this is {}; `rdd svc restart` replaces it and keeps its VMs running",
                self.name(),
                version::short()
            )
        })
    }

    /// Warns when this command's environment names another image cache than that of the daemon, whose images count.
    pub(crate) fn warn_of_another_cache(&self, paths: &Paths) {
        if !self.cache_dir.as_os_str().is_empty() && self.cache_dir != paths.cache_dir {
            tracing::warn!(
                target: crate::logging::RESULT,
                "the control plane was started with the image cache {}, and this command's environment (XDG_CACHE_HOME) \
                 names {}; `rdd svc restart` makes the control plane use it",
                self.cache_dir.display(),
                paths.cache_dir.display()
            );
        }
    }

    fn name(&self) -> &str {
        match self.version.as_str() {
            "" => "an unknown version",
            version => version,
        }
    }
}

/// How often a lock is checked whose holder is not visible. To acquire a lock and to write its holder are two steps,
/// microseconds apart unless the machine is very busy.
const HAND_OVER_LOOKS: u32 = 10;
/// The pause between these checks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The state of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No process holds the lock.
    Stopped,
    /// A process holds the lock. Its identity is missing when it has not written it, or cannot: PID 1 of a container.
    Starting(Option<Identity>),
    /// The daemon serves the API.
    Ready(Ready),
    /// The process is exiting and has not released the lock yet. It does not serve any more.
    Ending(Identity),
}

impl State {
    /// Determines the current state.
    pub(crate) fn of(paths: &Paths) -> anyhow::Result<Self> {
        let mut looks = 0;
        let holder = loop {
            let holder = match lock::holder(&paths.lock())? {
                Holder::Free => return Ok(Self::Stopped),
                Holder::Held(info) => info.map(|info| info.identity),
            };
            let process = match &holder {
                Some(identity) => Process::open(identity)?,
                None => None,
            };
            match (process, &holder) {
                (Some(process), Some(identity)) if process.is_ending() => {
                    return Ok(Self::Ending(identity.clone()));
                }
                (Some(_), _) => break holder,
                // The lock is being handed over: the file is empty, or names the last holder.
                _ if looks < HAND_OVER_LOOKS => {
                    looks += 1;
                    std::thread::park_timeout(LOOK_AGAIN);
                }
                // The holder is in a container whose processes are not visible here.
                _ => break holder,
            }
        };
        let ready = std::fs::read(paths.ready_file())
            .ok()
            .and_then(|text| serde_json::from_slice::<Ready>(&text).ok());
        Ok(match (holder, ready) {
            (Some(identity), Some(ready)) if ready.daemon == identity => Self::Ready(ready),
            (identity, _) => Self::Starting(identity),
        })
    }

    /// Whether a daemon process exists.
    pub(crate) fn is_running(&self) -> bool {
        !matches!(self, Self::Stopped)
    }

    /// Whether the daemon exists and is stopping or exiting.
    pub(crate) fn is_stopping(&self) -> bool {
        match self {
            Self::Ready(ready) => ready.stopping,
            Self::Ending(_) => true,
            Self::Stopped | Self::Starting(_) => false,
        }
    }

    /// The daemon's process, if there is one and it is known.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Stopped => None,
            Self::Starting(identity) => identity.as_ref(),
            Self::Ready(ready) => Some(&ready.daemon),
            Self::Ending(identity) => Some(identity),
        }
    }
}
