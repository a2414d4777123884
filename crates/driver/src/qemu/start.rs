//! Starting one QEMU.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use process::file::remove_if_there;
use process::spawn::{Child, Spawn};
use process::tree::kill_tree_async;

use super::abilities::Abilities;
use super::accelerator_probe;
use super::command_line::{Emulation, command_line};
use super::control_socket::{self, Found};
use super::files::QemuFiles;
use super::machine::QemuMachine;
use super::machine_spec::{Firmware, MachineSpec};
use super::qmp::Qmp;
use super::tcg_threads::TcgThreads;
use super::time_stamp_counter::Measurement;
use super::{owner, program, spare, sys};
use crate::accelerator::Accelerator;
use crate::error::DriverError;
use crate::machine::MachineRecord;
use crate::{record, tail};

/// From QEMU's start to the answer on its control socket. It takes 50 ms; a host that is swapping may need seconds.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// From the closed control socket to the end of the process that closed it.
const EXIT_DEADLINE: Duration = Duration::from_secs(2);
/// The variables of this process that QEMU gets: they say where its libraries, its temporary folder and its time zone
/// are.
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
/// What QEMU writes when it cannot bind a forwarded port (`net/slirp.c`).
const PORT_TAKEN: &str = "Could not set up host forwarding rule";

/// Starts `program` as the machine `spec` and waits until it answers on its control socket.
pub(super) async fn start(
    program: &Path,
    spec: &MachineSpec,
    files: &QemuFiles,
    cache_dir: &Path,
) -> Result<QemuMachine, DriverError> {
    let counter = Measurement::begin();
    let choice = accelerator_probe::choose(program, spec.arch, spec.accelerator, cache_dir).await?;
    let abilities = Abilities::of(program).await;
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
    let spec = with_firmware_of_host(spec, program);
    let emulation = Emulation {
        threads,
        counter_khz: counter.khz().await,
    };
    let mut args = command_line(&spec, files, accelerator, emulation)?;
    if let Some(setting) = abilities.sandbox {
        args.extend(["-sandbox".to_owned(), setting.to_owned()]);
    }

    let lock = owner::take(files, &spec.name).await?;
    // The lock proves that no QEMU of this VM lives, so its sockets are stale; QEMU would refuse to bind to them.
    for socket in files.sockets() {
        remove_if_there(socket)?;
    }
    let mut record = MachineRecord {
        accelerator: Some(accelerator),
        accelerator_warning: warning,
        ssh_local_port: spec.ssh_local_port,
        started_at: record::unix_seconds(SystemTime::now()),
        program: program.to_owned(),
        identity: None,
    };
    // Written before the start, so that a process that finds QEMU running also finds this, even if this process dies
    // in between.
    record::write(&files.record, &record)?;
    process::crash::point("qemu.start.after-record");
    let stderr = empty_log(&files.stderr_log)?;
    // QEMU appends to it, so that it can be truncated while QEMU runs.
    drop(empty_log(&files.serial_log)?);
    tracing::debug!(program = %program.display(), ?args, "starting QEMU");
    let failed = |error: &dyn std::fmt::Display| DriverError::Spawn {
        program: program.to_owned(),
        reason: error.to_string(),
    };
    let spawn = Spawn::new(program)
        .args(&args)
        .env_only(ENVIRONMENT)
        .long_lived()
        .stderr(stderr);
    // From here on QEMU holds the lock.
    let spawn = sys::hand_over(lock, spawn).map_err(|error| failed(&error))?;
    let mut child = spawn.spawn().map_err(|error| failed(&error))?;
    process::crash::point("qemu.start.after-spawn");
    // The next hostagent needs it on platforms that cannot query a lock's holder. No await since the start.
    record.identity = Some(child.identity().clone());
    let started = match record::write(&files.record, &record) {
        Ok(()) => {
            process::crash::point("qemu.start.after-identity");
            first_answer(&mut child, files, program, spec.ssh_local_port).await
        }
        Err(error) => Err(error),
    };
    match started {
        Ok(qmp) => {
            process::crash::point("qemu.start.after-answer");
            spare::keep(files);
            Ok(QemuMachine::of_child(child, qmp, record, files.clone()))
        }
        Err(error) => {
            // QEMU may hang with the disks open.
            let killed = kill_tree_async(&child.tree(), Duration::ZERO).await;
            if let Err(kill_error) = killed {
                tracing::error!(%kill_error, pid = child.identity().pid(), "cannot end the QEMU that failed to start");
            }
            // Its main thread may end before its other threads, and the disks are free only after the last one.
            let _ = child.wait_async(Instant::now() + EXIT_DEADLINE).await;
            Err(error)
        }
    }
}

/// Waits until the QEMU that was just started speaks QMP.
async fn first_answer(
    child: &mut Child,
    files: &QemuFiles,
    program: &Path,
    ssh_local_port: u16,
) -> Result<Qmp, DriverError> {
    let failed = |what: String| {
        let tail = tail::of_file(&files.stderr_log);
        if tail.contains(PORT_TAKEN) {
            return DriverError::PortInUse {
                port: ssh_local_port,
            };
        }
        DriverError::StartFailed {
            program: program.to_owned(),
            what,
            tail,
        }
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
                // QEMU opens its socket before it opens its disks and ports, and exits if those fail.
                Err(error) => match child.wait_async(Instant::now() + EXIT_DEADLINE).await {
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
        Found::None | Found::Unclear { .. } => Err(failed(format!(
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

/// Leaves out a firmware that the image asks for by name if this host does not have it: QEMU's default firmware boots
/// the same kernel, only more slowly.
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

/// Makes `path` an empty file of mode 0600, opened for appending.
fn empty_log(path: &Path) -> Result<File, DriverError> {
    let failed = |source| DriverError::File {
        action: "open",
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    Ok(file)
}
