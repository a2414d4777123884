//! The driver for WSL2.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lima::layout::InstanceDir;
use process::spawn::Child;
use process::tree::{Tree, kill_tree_async};
use process::{Identity, Process};

use super::distro::{Distro, Limits, Wsl};
use super::error::WslError;
use super::lifecycle::State;
use super::machine::WslMachine;
use crate::error::DriverError;
use crate::host::Host;
use crate::interface::{Capabilities, Driver, Machine, StartRequest};
use crate::machine::{MachineFiles, MachineRecord, MachineState};
use crate::record;
use crate::watched::Watched;

/// The program, as found in `PATH`.
const PROGRAM: &str = "wsl.exe";

/// The driver for WSL2.
#[derive(Debug, Clone)]
pub struct WslDriver {
    wsl: Wsl,
}

impl WslDriver {
    /// The driver with the `wsl.exe` of this host.
    pub fn new(host: &Host) -> WslDriver {
        let found = which::which_in_global(PROGRAM, Some(&host.search_path));
        let program = found.ok().and_then(|mut paths| paths.next());
        let program = program.unwrap_or_else(|| PathBuf::from(PROGRAM));
        WslDriver::with(Wsl::new(program, Limits::default()))
    }

    /// The driver with a given `wsl.exe`.
    pub fn with(wsl: Wsl) -> WslDriver {
        WslDriver { wsl }
    }

    /// Records the keeper and returns the machine that it keeps awake.
    fn machine(
        &self,
        dir: &InstanceDir,
        keeper: Watched,
        started_at: u64,
    ) -> Result<Arc<dyn Machine>, DriverError> {
        let record = MachineRecord {
            accelerator: None,
            accelerator_warning: None,
            ssh_local_port: 0,
            started_at,
            program: self.wsl.program.clone(),
            identity: Some(keeper.identity().clone()),
        };
        record::write(&record_file(dir), &record)?;
        let distro = Distro::of(dir);
        Ok(Arc::new(WslMachine::new(
            self.wsl.clone(),
            distro,
            keeper,
            record,
        )))
    }

    /// Starts a keeper for a distribution that runs or was just booted.
    fn keep(
        &self,
        dir: &InstanceDir,
        keeper: Child,
        started_at: u64,
    ) -> Result<Arc<dyn Machine>, DriverError> {
        self.machine(dir, Watched::Child(keeper), started_at)
    }
}

#[async_trait]
impl Driver for WslDriver {
    fn name(&self) -> &'static str {
        "wsl2"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            ssh_port: false,
            agent_channel: false,
            power_button: false,
            freeze: false,
        }
    }

    fn files(&self, _dir: &InstanceDir) -> MachineFiles {
        MachineFiles::default()
    }

    fn last_record(&self, dir: &InstanceDir) -> Option<MachineRecord> {
        record::read(&record_file(dir))
    }

    async fn start(&self, request: &StartRequest<'_>) -> Result<Arc<dyn Machine>, DriverError> {
        let distro = Distro::of(request.dir);
        if self.wsl.state(&distro).await? == State::Running {
            return Err(DriverError::StillRuns {
                lock: record_file(request.dir),
                reason: format!("WSL lists the distribution {} as running", distro.name),
            });
        }
        let keeper = self.wsl.start(&distro).await?;
        let started = self.keep(request.dir, keeper, record::unix_seconds(SystemTime::now()));
        if started.is_err() {
            self.wsl.terminate(&distro).await?;
        }
        started
    }

    async fn observe(&self, dir: &InstanceDir) -> MachineState {
        let distro = Distro::of(dir);
        match self.wsl.state(&distro).await {
            Ok(State::Running) => {}
            Ok(State::Absent | State::Broken | State::Stopped) => return MachineState::Absent,
            Err(error) => {
                return MachineState::Unknown {
                    reason: error.to_string(),
                };
            }
        }
        match self.keeper(dir) {
            Some(process) => MachineState::Alive {
                identity: process.identity().clone(),
            },
            None => MachineState::Unknown {
                reason: format!(
                    "the distribution {} runs, but the process that kept it awake is gone",
                    distro.name
                ),
            },
        }
    }

    async fn adopt(&self, dir: &InstanceDir) -> Result<Option<Arc<dyn Machine>>, DriverError> {
        let distro = Distro::of(dir);
        if self.wsl.state(&distro).await? != State::Running {
            return Ok(None);
        }
        let started_at = self
            .last_record(dir)
            .map_or_else(|| record::unix_seconds(SystemTime::now()), |r| r.started_at);
        let machine = match self.keeper(dir) {
            Some(process) => self.machine(dir, Watched::Adopted(process), started_at)?,
            None => self.keep(dir, self.wsl.hold(&distro)?, started_at)?,
        };
        Ok(Some(machine))
    }

    async fn destroy(&self, dir: &InstanceDir, limit: Duration) -> Result<(), DriverError> {
        let distro = Distro::of(dir);
        let keeper = self.keeper(dir);
        let keeper = keeper.as_ref().map(Process::identity);
        match tokio::time::timeout(limit, end(&self.wsl, &distro, keeper)).await {
            Ok(ended) => Ok(ended?),
            Err(_) => Err(DriverError::NotAnswering {
                socket: self.wsl.program.clone(),
                reason: format!(
                    "`wsl --terminate {}` did not end within {} s",
                    distro.name,
                    limit.as_secs()
                ),
            }),
        }
    }
}

impl WslDriver {
    /// The keeper of the last start, if it lives: checked against start time and boot.
    fn keeper(&self, dir: &InstanceDir) -> Option<Process> {
        let identity = self.last_record(dir)?.identity?;
        Process::open(&identity).ok().flatten()
    }
}

/// Terminates a distribution and ends its keeper. A keeper that was started just before may boot the distribution again
/// after the termination, so a distribution that still runs is terminated a second time.
pub(super) async fn end(
    wsl: &Wsl,
    distro: &Distro,
    keeper: Option<&Identity>,
) -> Result<(), WslError> {
    match wsl.terminate(distro).await {
        Err(WslError::NotDone { .. }) => wsl.terminate(distro).await?,
        terminated => terminated?,
    }
    let Some(keeper) = keeper else { return Ok(()) };
    end_keeper(keeper).await;
    if wsl.state(distro).await? == State::Running {
        wsl.terminate(distro).await?;
    }
    Ok(())
}

/// Ends a keeper whose distribution is terminated. Best effort: the process does nothing any more.
async fn end_keeper(identity: &Identity) {
    let tree = Tree::new(identity.clone(), None);
    if let Err(error) = kill_tree_async(&tree, Duration::ZERO).await {
        tracing::warn!(%error, pid = identity.pid(), "cannot end the process that kept the distribution awake");
    }
}

fn record_file(dir: &InstanceDir) -> PathBuf {
    Path::join(dir.path(), "wsl.json")
}

impl From<WslError> for DriverError {
    fn from(error: WslError) -> Self {
        DriverError::Service(Box::new(error))
    }
}
