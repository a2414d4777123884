//! Whether the daemon runs, and whether it is ready.
//!
//! Whether it runs is told by its lock, who it is by what the lock's holder wrote, and whether it is ready by a file
//! which counts only while it names that very holder. So no left-over of a crashed daemon can speak for a living one.

use std::path::PathBuf;
use std::time::Duration;

use process::lock::{self, Holder};
use process::{Identity, Process};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::instance::Instance;
use crate::paths::Paths;
use crate::version;

/// What the daemon calls itself in its lock.
pub(crate) fn lock_label(instance: &Instance) -> String {
    format!("the control plane of {instance}")
}

/// What a daemon says once it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Which process says so.
    pub(crate) daemon: Identity,
    /// The port of the API.
    pub(crate) port: u16,
    /// The version of the program.
    #[serde(default)]
    pub(crate) version: String,
    /// The [`PROTOCOL`] that it speaks.
    #[serde(default)]
    pub(crate) protocol: u32,
    /// Where it keeps images. Empty in the file of an older version.
    #[serde(default)]
    pub(crate) cache_dir: PathBuf,
    /// It has been asked to stop, and ends once its VMs have.
    #[serde(default)]
    pub(crate) stopping: bool,
}

/// What commands and daemon must agree on: raised when a command could no longer talk to an older daemon, or an older
/// command to this one. The version of the program alone says nothing about that.
pub(crate) const PROTOCOL: u32 = 1;

impl Ready {
    /// What the daemon of this program says.
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

    /// What a user should know of a daemon of another version.
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

/// How often a lock is looked at whose holder cannot be seen. To take or free a lock and to write who holds it are two
/// steps, microseconds apart unless the machine is very busy.
const HAND_OVER_LOOKS: u32 = 10;
/// The pause between these looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The daemon as it is at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No process holds the lock.
    Stopped,
    /// A process holds the lock. Its identity is missing when it has not written it, or cannot: PID 1 of a container.
    Starting(Option<Identity>),
    /// It answers.
    Ready(Ready),
    /// It was killed or exits, and has not let the lock go yet. Nobody answers any more.
    Ending(Identity),
}

impl State {
    /// Looks.
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
                // The lock changes hands: its text is gone already, or is still the last holder's.
                _ if looks < HAND_OVER_LOOKS => {
                    looks += 1;
                    std::thread::park_timeout(LOOK_AGAIN);
                }
                // Whoever holds it lives in a container where we cannot see it.
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

    /// Whether a daemon lives.
    pub(crate) fn is_running(&self) -> bool {
        !matches!(self, Self::Stopped)
    }

    /// Whether it lives and has been asked to stop, or does so already.
    pub(crate) fn is_stopping(&self) -> bool {
        match self {
            Self::Ready(ready) => ready.stopping,
            Self::Ending(_) => true,
            Self::Stopped | Self::Starting(_) => false,
        }
    }

    /// The daemon's process, when there is one.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Stopped => None,
            Self::Starting(identity) => identity.as_ref(),
            Self::Ready(ready) => Some(&ready.daemon),
            Self::Ending(identity) => Some(identity),
        }
    }
}
