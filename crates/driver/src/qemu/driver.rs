//! The driver for QEMU: starts, observes, adopts and destroys machines.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use lima::layout::InstanceDir;
use process::tree::{Tree, kill_tree_async};
use process::{Identity, Process};

use super::accelerator_probe;
use super::control_socket::{self, Found};
use super::files::QemuFiles;
use super::from_template::Decided;
use super::machine::QemuMachine;
use super::machine_spec::MachineSpec;
use super::owner::{self, Owner};
use super::qmp::Qmp;
use super::{program, spare, start, sys};
use crate::accelerator::Accelerator;
use crate::error::DriverError;
use crate::interface::{Capabilities, Driver, Machine, StartRequest};
use crate::machine::{MachineFiles, MachineRecord, MachineState};
use crate::record;

/// How long an adopted QEMU may take to answer. QMP has one client at a time, and another client may just be leaving.
const ADOPT_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks for the process or its socket.
const POLL: Duration = Duration::from_millis(20);
/// Where the guest's sshd listens.
const SSH: u16 = 22;

/// The driver for QEMU.
#[derive(Debug, Clone)]
pub struct Qemu {
    search_path: OsString,
    cache_dir: PathBuf,
}

impl Qemu {
    /// `search_path`: where programs are looked for, the value of `PATH`. `cache_dir`: where the result of the
    /// accelerator probe is kept; made when missing.
    pub fn new(search_path: impl Into<OsString>, cache_dir: impl Into<PathBuf>) -> Qemu {
        Qemu {
            search_path: search_path.into(),
            cache_dir: cache_dir.into(),
        }
    }

    /// Returns the accelerator that [`Qemu::start_machine`] would choose for `spec`.
    ///
    /// # Errors
    /// QEMU is missing, or the probe could not run.
    pub async fn accelerator(
        &self,
        spec: &MachineSpec,
    ) -> Result<accelerator_probe::Choice, DriverError> {
        let program = program::find(spec.arch, &self.search_path)?;
        accelerator_probe::choose(&program, spec.arch, spec.accelerator, &self.cache_dir).await
    }

    /// [`Driver::start`] for a machine that was not made from a template.
    ///
    /// # Errors
    /// As [`Driver::start`].
    pub async fn start_machine(
        &self,
        spec: &MachineSpec,
        files: &QemuFiles,
    ) -> Result<Arc<dyn Machine>, DriverError> {
        sys::supported()?;
        let program = program::find(spec.arch, &self.search_path)?;
        let machine = start::start(&program, spec, files, &self.cache_dir).await?;
        Ok(Arc::new(machine))
    }
}

#[async_trait]
impl Driver for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            ssh_port: true,
            agent_channel: true,
            power_button: true,
            freeze: true,
        }
    }

    fn files(&self, dir: &InstanceDir) -> MachineFiles {
        QemuFiles::of(dir).public()
    }

    fn last_record(&self, dir: &InstanceDir) -> Option<MachineRecord> {
        record::read(&QemuFiles::of(dir).record)
    }

    async fn start(&self, request: &StartRequest<'_>) -> Result<Arc<dyn Machine>, DriverError> {
        let decided = Decided {
            root_bus: request.hints.root_bus,
            firmware: request.hints.firmware.clone(),
            ssh_local_port: request.ssh_local_port,
            accelerator: request.accelerator,
        };
        let spec = MachineSpec::from_template(request.template, request.dir, decided)?;
        self.start_machine(&spec, &QemuFiles::of(request.dir)).await
    }

    async fn observe(&self, dir: &InstanceDir) -> MachineState {
        match owner_of(&QemuFiles::of(dir)) {
            Owner::None => MachineState::Absent,
            Owner::Process(identity) => MachineState::Alive { identity },
            Owner::Unclear(reason) => MachineState::Unknown { reason },
        }
    }

    async fn adopt(&self, dir: &InstanceDir) -> Result<Option<Arc<dyn Machine>>, DriverError> {
        let files = QemuFiles::of(dir);
        let not_answering = |reason: String| DriverError::NotAnswering {
            socket: files.qmp_socket.clone(),
            reason,
        };
        let deadline = Instant::now() + ADOPT_DEADLINE;
        // A QEMU that was just started does not listen yet; another QMP client may just be leaving.
        let (process, stream) = loop {
            let identity = match owner_of(&files) {
                Owner::None => return Ok(None),
                Owner::Process(identity) => identity,
                Owner::Unclear(reason) => return Err(not_answering(reason)),
            };
            spare::restore(&files);
            let reason = match listener(&files, &identity).await {
                Ok(found) => break found,
                Err(reason) => reason,
            };
            if Instant::now() >= deadline {
                let pid = identity.pid();
                return Err(not_answering(format!(
                    "QEMU (process {pid}) runs, but {reason}"
                )));
            }
            tokio::time::sleep(POLL).await;
        };
        let qmp = Qmp::handshake(stream)
            .await
            .map_err(|error| not_answering(error.to_string()))?;
        let known = record::read(&files.record);
        let record = match known {
            Some(record) if record.identity.as_ref() == Some(process.identity()) => record,
            _ => {
                let record = reconstructed_record(&qmp, &process, &files, known).await;
                // Best effort: the next hostagent would reconstruct the record again.
                if let Err(error) = record::write(&files.record, &record) {
                    tracing::warn!(%error, "the record of how the VM was started is not kept");
                }
                record
            }
        };
        spare::keep(&files);
        Ok(Some(Arc::new(QemuMachine::adopted(
            process, qmp, record, files,
        ))))
    }

    async fn destroy(&self, dir: &InstanceDir, limit: Duration) -> Result<(), DriverError> {
        let files = QemuFiles::of(dir);
        let deadline = Instant::now() + limit;
        loop {
            let identity = match owner_of(&files) {
                Owner::None => return Ok(()),
                Owner::Process(identity) => identity,
                Owner::Unclear(reason) if Instant::now() >= deadline => {
                    return Err(DriverError::NotAnswering {
                        socket: files.qmp_socket.clone(),
                        reason,
                    });
                }
                Owner::Unclear(_) => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            let pid = identity.pid();
            let killed = kill_tree_async(&Tree::new(identity, None), Duration::ZERO).await;
            process::crash::point("qemu.destroy.after-kill");
            if Instant::now() >= deadline || killed.is_err() {
                return match (owner_of(&files), killed) {
                    (Owner::None, _) => Ok(()),
                    (_, Err(error)) => Err(DriverError::NotGone {
                        pid,
                        limit,
                        reason: error.to_string(),
                    }),
                    (owner, Ok(_)) => Err(DriverError::NotGone {
                        pid,
                        limit,
                        reason: format!("{owner:?}"),
                    }),
                };
            }
        }
    }
}

/// Returns the process that is the VM of these files.
fn owner_of(files: &QemuFiles) -> Owner {
    let likely = record::read(&files.record).and_then(|record| record.identity);
    owner::of(&files.lock, likely.as_ref())
}

/// Connects to QEMU's control socket by either of its names.
async fn listener(files: &QemuFiles, qemu: &Identity) -> Result<(Process, sys::Stream), String> {
    let mut reason = String::from("its control socket is gone");
    for name in [&files.qmp_socket, &files.qmp_spare] {
        match control_socket::look(name).await {
            Found::Listener { process, stream } if process.identity() == qemu => {
                return Ok((process, stream));
            }
            Found::Listener { process, .. } => {
                reason = format!(
                    "another process ({}) listens on {}",
                    process.identity().pid(),
                    name.display()
                );
            }
            Found::Unclear { reason: why } => reason = why,
            Found::None => {}
        }
    }
    Err(reason)
}

/// Reconstructs how a QEMU was started by asking QEMU itself: the hostagent that started it may have crashed before it
/// recorded that, and the file may be lost or belong to another QEMU.
async fn reconstructed_record(
    qmp: &Qmp,
    process: &Process,
    files: &QemuFiles,
    known: Option<MachineRecord>,
) -> MachineRecord {
    // A record without an identity was written before the start of this QEMU, and only the identity is missing.
    let known = known.filter(|record| record.identity.is_none());
    let port = qmp.forwarded_port(SSH).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot ask QEMU for its ssh port");
        None
    });
    let accelerator = match &known {
        Some(known) => known.accelerator,
        None if qmp.kvm_enabled().await.unwrap_or(false) => Some(Accelerator::Kvm),
        None => Some(Accelerator::Tcg),
    };
    // QEMU binds its control socket right after its start.
    let started = std::fs::metadata(&files.qmp_socket).and_then(|socket| socket.modified());
    MachineRecord {
        accelerator,
        ssh_local_port: port
            .or(known.as_ref().map(|known| known.ssh_local_port))
            .unwrap_or(0),
        started_at: known.as_ref().map_or_else(
            || record::unix_seconds(started.unwrap_or_else(|_| SystemTime::now())),
            |known| known.started_at,
        ),
        program: known
            .as_ref()
            .map(|known| known.program.clone())
            .unwrap_or_default(),
        accelerator_warning: known.and_then(|known| known.accelerator_warning),
        identity: Some(process.identity().clone()),
    }
}
