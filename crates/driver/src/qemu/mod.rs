//! QEMU: the driver of Linux, of macOS with hvf, of Windows with whpx.
//!
//! | module | what it knows |
//! |---|---|
//! | [`command_line`](mod@command_line) | QEMU's options for a machine |
//! | [`accelerator_probe`] | whether the hardware really runs a guest |
//! | [`qmp`] | the control protocol |
//! | `owner` | which process is the VM: the holder of `qemu.lock` |
//! | `control_socket` | who listens on `qmp.sock` |
//! | `spare` | second names of the sockets, for when the first are removed |
//! | `abilities` | QEMU's version, and whether it can lock itself in |
//! | [`tcg_threads`] | whether the CPUs of an emulated guest may run side by side |
//! | [`time_stamp_counter`] | how fast the clock of an emulated processor runs |
//! | `machine` | one running QEMU: its events, its end |
//! | `program` | where QEMU and its firmware are, and what to install |

mod abilities;
pub mod accelerator_probe;
mod command_line;
mod control_socket;
mod machine;
mod owner;
mod probe_guest;
mod program;
pub mod qmp;
mod spare;
pub mod tail;
pub mod tcg_threads;
pub mod time_stamp_counter;

#[cfg(unix)]
#[path = "unix.rs"]
mod sys;
#[cfg(windows)]
#[path = "windows.rs"]
mod sys;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use abilities::Abilities;
pub use abilities::Version;
use async_trait::async_trait;
pub use command_line::{Emulation, command_line};
use control_socket::Found;
use machine::QemuMachine;
use owner::Owner;
use process::file::{remove_if_there, write_atomic};
use process::spawn::{Child, Spawn};
use process::tree::{Tree, kill_tree_async};
use process::{Identity, Process};
use qmp::Qmp;
use tcg_threads::TcgThreads;
use time_stamp_counter::Measurement;

use crate::machine_spec::Firmware;
use crate::{
    Accelerator, Driver, DriverError, Machine, MachineFiles, MachineRecord, MachineSpec,
    MachineState,
};

/// From QEMU's start to its control socket's answer. It takes 50 ms; a host that is swapping may need seconds.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long an adopted QEMU may take to answer: another client may just be leaving.
const ADOPT_DEADLINE: Duration = Duration::from_secs(10);
/// From a closed control socket to the end of the process that closed it.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Between two looks for the process or its socket.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Where the guest's sshd listens.
const SSH: u16 = 22;
/// A record is a few hundred bytes; more is not ours.
const RECORD_LIMIT: u64 = 64 * 1024;
/// QEMU's own variables: where it finds its libraries, its temporary folder, its time zone.
const ENVIRONMENT: [&str; 8] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "LANG",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SystemRoot",
];

/// The driver for QEMU.
#[derive(Debug, Clone)]
pub struct Qemu {
    search_path: OsString,
    cache_dir: PathBuf,
}

impl Qemu {
    /// `search_path`: where programs are looked for, the value of `PATH`. `cache_dir`: where the accelerator's answer
    /// is kept; it is made when it is missing.
    pub fn new(search_path: impl Into<OsString>, cache_dir: impl Into<PathBuf>) -> Qemu {
        Qemu {
            search_path: search_path.into(),
            cache_dir: cache_dir.into(),
        }
    }

    /// Which accelerator a machine like this would get; what `start` uses.
    ///
    /// # Errors
    /// QEMU is missing, or the probe could not be made.
    pub async fn accelerator(
        &self,
        spec: &MachineSpec,
    ) -> Result<accelerator_probe::Choice, DriverError> {
        let program = program::find(spec.arch, &self.search_path)?;
        accelerator_probe::choose(&program, spec.arch, spec.accelerator, &self.cache_dir).await
    }
}

#[async_trait]
impl Driver for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    async fn start(
        &self,
        spec: &MachineSpec,
        files: &MachineFiles,
    ) -> Result<Arc<dyn Machine>, DriverError> {
        sys::supported()?;
        let counter = Measurement::begin();
        let program = program::find(spec.arch, &self.search_path)?;
        let choice =
            accelerator_probe::choose(&program, spec.arch, spec.accelerator, &self.cache_dir)
                .await?;
        let abilities = Abilities::of(&program).await;
        let threads = TcgThreads::of(abilities.version);
        let accelerator = choice.accelerator;
        let taking_turns = (accelerator == Accelerator::Tcg)
            .then(|| threads.warning(spec.cpus, abilities.version))
            .flatten();
        let warnings: Vec<String> = choice.warning.into_iter().chain(taking_turns).collect();
        let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
        if let Some(warning) = &warning {
            tracing::warn!(vm = %spec.name, "{warning}");
        }
        let spec = with_firmware_of_host(spec, &program);
        let emulation = Emulation {
            threads,
            counter_khz: counter.khz().await,
        };
        let mut args = command_line(&spec, files, accelerator, emulation)?;
        if let Some(setting) = abilities.sandbox {
            args.extend(["-sandbox".to_owned(), setting.to_owned()]);
        }

        let lock = owner::take(files, &spec.name).await?;
        // Left-overs of a QEMU that is gone, as the lock proves: it would refuse to bind to them.
        for socket in [
            &files.qmp_socket,
            &files.agent_socket,
            &files.qmp_spare,
            &files.agent_spare,
        ] {
            remove_if_there(socket).map_err(file_error)?;
        }
        let mut record = MachineRecord {
            accelerator,
            accelerator_warning: warning,
            ssh_local_port: spec.ssh_local_port,
            started_at: unix_seconds(SystemTime::now()),
            program: program.clone(),
            identity: None,
        };
        // Before the start: whoever finds QEMU running finds this too, even if we die in between.
        write_record(files, &record)?;
        process::crash::point("qemu.start.after-record");
        let stderr = open_log(&files.stderr_log)?;
        tracing::debug!(program = %program.display(), ?args, "starting QEMU");
        let failed = |error: &dyn std::fmt::Display| DriverError::Spawn {
            program: program.clone(),
            reason: error.to_string(),
        };
        let spawn = Spawn::new(&program)
            .args(&args)
            .env_only(ENVIRONMENT)
            .cwd(root_folder())
            .stderr(stderr);
        // From here on the lock is QEMU's.
        let spawn = sys::hand_over(lock, spawn).map_err(|error| failed(&error))?;
        let mut child = spawn.spawn().map_err(|error| failed(&error))?;
        process::crash::point("qemu.start.after-spawn");
        // For who comes after us and has no kernel that tells who holds a lock. No await since the start.
        record.identity = Some(child.identity().clone());
        let started = match write_record(files, &record) {
            Ok(()) => {
                process::crash::point("qemu.start.after-identity");
                first_answer(&mut child, files, &program).await
            }
            Err(error) => Err(error),
        };
        match started {
            Ok(qmp) => {
                process::crash::point("qemu.start.after-answer");
                spare::keep(files);
                Ok(Arc::new(QemuMachine::of_child(
                    child,
                    qmp,
                    record,
                    files.clone(),
                )))
            }
            Err(error) => {
                // It may hang with the disks open.
                let killed = kill_tree_async(&child.tree(), Duration::ZERO).await;
                if let Err(kill_error) = killed {
                    tracing::error!(%kill_error, pid = child.identity().pid(), "cannot end the QEMU that failed to start");
                }
                // Its main thread may have ended before the others: gone is when all have.
                let _ = child.wait_async(Instant::now() + LAST_WORDS).await;
                Err(error)
            }
        }
    }

    async fn observe(&self, files: &MachineFiles) -> MachineState {
        match who(files) {
            Owner::Nobody => MachineState::Absent,
            Owner::Process(identity) => MachineState::Alive { identity },
            Owner::Unclear(reason) => MachineState::Unknown { reason },
        }
    }

    async fn adopt(&self, files: &MachineFiles) -> Result<Option<Arc<dyn Machine>>, DriverError> {
        let not_answering = |reason: String| DriverError::NotAnswering {
            socket: files.qmp_socket.clone(),
            reason,
        };
        let deadline = Instant::now() + ADOPT_DEADLINE;
        // One that was just started does not listen yet; another client may just be leaving.
        let (process, stream) = loop {
            let identity = match who(files) {
                Owner::Nobody => return Ok(None),
                Owner::Process(identity) => identity,
                Owner::Unclear(reason) => return Err(not_answering(reason)),
            };
            spare::restore(files);
            let reason = match listener(files, &identity).await {
                Ok(found) => break found,
                Err(reason) => reason,
            };
            if Instant::now() >= deadline {
                let pid = identity.pid();
                return Err(not_answering(format!(
                    "QEMU (process {pid}) runs, but {reason}"
                )));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let qmp = Qmp::handshake(stream)
            .await
            .map_err(|error| not_answering(error.to_string()))?;
        let known = read_record(files);
        let record = match known {
            Some(record) if record.identity.as_ref() == Some(process.identity()) => record,
            _ => {
                let record = record_of(&qmp, &process, files, known).await;
                // The next one would find it out again.
                if let Err(error) = write_record(files, &record) {
                    tracing::warn!(%error, "how the VM was started is not kept");
                }
                record
            }
        };
        spare::keep(files);
        Ok(Some(Arc::new(QemuMachine::adopted(
            process,
            qmp,
            record,
            files.clone(),
        ))))
    }

    async fn destroy(&self, files: &MachineFiles, limit: Duration) -> Result<(), DriverError> {
        let deadline = Instant::now() + limit;
        loop {
            let identity = match who(files) {
                Owner::Nobody => return Ok(()),
                Owner::Process(identity) => identity,
                Owner::Unclear(reason) if Instant::now() >= deadline => {
                    return Err(DriverError::NotAnswering {
                        socket: files.qmp_socket.clone(),
                        reason,
                    });
                }
                Owner::Unclear(_) => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
            };
            let pid = identity.pid();
            let killed = kill_tree_async(&Tree::new(identity, None), Duration::ZERO).await;
            process::crash::point("qemu.destroy.after-kill");
            if Instant::now() >= deadline || killed.is_err() {
                return match (who(files), killed) {
                    (Owner::Nobody, _) => Ok(()),
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

/// The process that is the VM of these files.
fn who(files: &MachineFiles) -> Owner {
    let likely = read_record(files).and_then(|record| record.identity);
    owner::of(&files.lock, likely.as_ref())
}

/// A connection to QEMU's control socket, by whichever of its names leads there.
async fn listener(files: &MachineFiles, qemu: &Identity) -> Result<(Process, sys::Stream), String> {
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
            Found::Nobody => {}
        }
    }
    Err(reason)
}

/// How a QEMU was started, as it says itself: who started it died before he could write it down, or the file is lost or
/// not its own.
async fn record_of(
    qmp: &Qmp,
    process: &Process,
    files: &MachineFiles,
    known: Option<MachineRecord>,
) -> MachineRecord {
    // Written before the start, and only the identity is missing.
    let known = known.filter(|record| record.identity.is_none());
    let port = qmp.forwarded_port(SSH).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "QEMU does not tell its ssh port");
        None
    });
    let accelerator = match &known {
        Some(known) => known.accelerator,
        None if qmp.kvm_enabled().await.unwrap_or(false) => Accelerator::Kvm,
        None => Accelerator::Tcg,
    };
    // Bound in QEMU's first instant.
    let started = std::fs::metadata(&files.qmp_socket).and_then(|socket| socket.modified());
    MachineRecord {
        accelerator,
        ssh_local_port: port
            .or(known.as_ref().map(|known| known.ssh_local_port))
            .unwrap_or(0),
        started_at: known.as_ref().map_or_else(
            || unix_seconds(started.unwrap_or_else(|_| SystemTime::now())),
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

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Waits until the QEMU that was just started speaks QMP.
async fn first_answer(
    child: &mut Child,
    files: &MachineFiles,
    program: &Path,
) -> Result<Qmp, DriverError> {
    let failed = |what: String| DriverError::StartFailed {
        program: program.to_owned(),
        what,
        tail: tail::of_file(&files.stderr_log),
    };
    let deadline = Instant::now() + START_DEADLINE;
    let pid = child.identity().pid();
    let found = tokio::select! {
        biased;
        ended = child.ended() => {
            return Err(failed(ended_at_once(ended.ok().flatten())));
        }
        found = control_socket::wait_for_listener(&files.qmp_socket, deadline) => found,
    };
    match found {
        Found::Listener { process, stream } if process.identity().pid() == pid => {
            match Qmp::handshake(stream).await {
                Ok(qmp) => Ok(qmp),
                // It opens its socket before it looks at its disks and ports, and ends over those.
                Err(error) => match child.wait_async(Instant::now() + LAST_WORDS).await {
                    process::Exit::Exited(status) => Err(failed(ended_at_once(status))),
                    _ => Err(failed(format!("started, but {error}"))),
                },
            }
        }
        Found::Listener { process, .. } => Err(failed(format!(
            "was started as process {pid}, but process {} listens on {}",
            process.identity().pid(),
            files.qmp_socket.display()
        ))),
        Found::Nobody | Found::Unclear { .. } => Err(failed(format!(
            "did not open {} within {} s",
            files.qmp_socket.display(),
            START_DEADLINE.as_secs()
        ))),
    }
}

fn ended_at_once(status: Option<std::process::ExitStatus>) -> String {
    let status = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
    format!("ended at once ({status})")
}

/// A firmware that the image asks for by name and that this host does not have is left out: the default one boots the
/// same kernel, only later.
fn with_firmware_of_host(spec: &MachineSpec, program: &Path) -> MachineSpec {
    let mut spec = spec.clone();
    if let Firmware::Bios(name) | Firmware::Uefi(name) = &spec.firmware {
        let is_uefi = matches!(spec.firmware, Firmware::Uefi(_));
        spec.firmware = match program::find_firmware(program, name) {
            Some(path) if is_uefi => Firmware::Uefi(path),
            Some(path) => Firmware::Bios(path),
            None => {
                tracing::info!(firmware = %name.display(), "QEMU has no such firmware here; booting with its default");
                Firmware::Default
            }
        };
    }
    spec
}

fn root_folder() -> &'static Path {
    // The child must not keep anybody's folder from being removed or unmounted.
    Path::new(if cfg!(windows) { "C:\\" } else { "/" })
}

fn open_log(path: &Path) -> Result<File, DriverError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| DriverError::File {
        action: "open",
        path: path.to_owned(),
        source,
    })
}

fn write_record(files: &MachineFiles, record: &MachineRecord) -> Result<(), DriverError> {
    let bytes = serde_json::to_vec_pretty(record).map_err(|error| DriverError::File {
        action: "write",
        path: files.identity.clone(),
        source: error.into(),
    })?;
    write_atomic(&files.identity, &bytes, 0o600).map_err(file_error)
}

/// How the VM with these files was started last, whether or not it runs.
pub fn last_record(files: &MachineFiles) -> Option<MachineRecord> {
    read_record(files)
}

fn read_record(files: &MachineFiles) -> Option<MachineRecord> {
    let fits = std::fs::metadata(&files.identity).is_ok_and(|m| m.len() <= RECORD_LIMIT);
    let bytes = if fits {
        std::fs::read(&files.identity).ok()?
    } else {
        return None;
    };
    serde_json::from_slice(&bytes).ok()
}

fn file_error(error: process::file::FileError) -> DriverError {
    DriverError::File {
        action: error.action,
        path: error.path,
        source: error.source,
    }
}

/// The accelerator that a template or a user names.
///
/// # Errors
/// It is none of QEMU's.
pub fn accelerator_named(name: &str) -> Result<Accelerator, DriverError> {
    Accelerator::from_name(name).ok_or_else(|| DriverError::Unsupported {
        field: "accelerator".into(),
        reason: format!("{name:?} is none of kvm, hvf, whpx, tcg"),
    })
}
