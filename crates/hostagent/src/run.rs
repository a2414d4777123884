//! One run of a hostagent: its lock, its files, its socket, its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use driver::{Driver, Host};
use lima::layout::InstanceDir;
use lima::template::VmType;
use parking_lot::Mutex;
use process::file::{remove_if_there, remove_temporaries, write_atomic};
use process::{FileLock, Identity};
use tokio::sync::mpsc;

use crate::clock::unix_seconds;
use crate::control::{Command, Control};
use crate::options::Options;
use crate::outcome::{Outcome, RunError};
use crate::report::Report;
use crate::status::{Ended, GuestStatus, Info, Phase, StageName};
use crate::{supervisor, sys};

/// Commands that wait for the supervisor, which takes each at once.
const COMMANDS: usize = 16;
/// How long clients may take to read the last event before the hostagent exits.
const LAST_EVENT_LIMIT: Duration = Duration::from_millis(500);

/// Runs the VM of `options.dir` until it is gone, or until this hostagent is asked to detach.
///
/// `stop` resolves when the process is asked to end (SIGTERM); the VM is then stopped within `options.limits.grace`.
/// Call this once in a process, and end the process when it returns, because the VM's lock is held until then.
///
/// The caller has initialised tracing and turns [`Outcome::exit_code`] into the exit code of the process.
///
/// # Errors
/// Another hostagent runs this VM; or the VM cannot be prepared or started, or could not be proved gone.
pub async fn run(
    options: Options,
    stop: impl Future<Output = ()> + Send,
) -> Result<Outcome, RunError> {
    let dir = &options.dir;
    hold_for_life(take_lock(dir)?);
    process::crash::point("hostagent.after-lock");
    remove_stale_files(dir)?;
    let identity = Identity::of_current().map_err(|error| RunError::Prepare {
        name: dir.name().to_owned(),
        reason: error.to_string(),
    })?;
    write_pid(dir, &identity);
    let report = Arc::new(Report::new(first_info(dir, identity), open_event_log(dir)));
    let (command, commands) = mpsc::channel(COMMANDS);
    report.begin(StageName::Preparing);
    let control =
        Control::start(&dir.ha_sock(), report.clone(), command.clone()).map_err(|source| {
            RunError::File {
                action: "listen on",
                path: dir.ha_sock(),
                reason: source.to_string(),
            }
        })?;

    process::crash::point("hostagent.after-socket");
    let driver = driver_of(&options);
    let stop_by_signal = async {
        stop.await;
        // Sending fails only if the supervisor has ended.
        let _ = command.send(Command::Stop(None)).await;
        std::future::pending().await
    };
    let outcome = match &driver {
        Ok(driver) => tokio::select! {
            outcome = supervisor::supervise(&options, &**driver, &report, commands) => outcome,
            outcome = stop_by_signal => outcome,
        },
        Err(error) => Err(RunError::Prepare {
            name: dir.name().to_owned(),
            reason: error.to_string(),
        }),
    };

    process::crash::point("hostagent.after-end");
    let (ended, reason) = match &outcome {
        Ok(Outcome::Stopped) => (Ended::Stopped, "stopped".to_owned()),
        Ok(Outcome::Detached) => (
            Ended::Detached,
            "detached: the VM runs on without this hostagent".to_owned(),
        ),
        Ok(Outcome::GuestPoweredOff) => (
            Ended::GuestPoweredOff,
            "the guest powered itself off".to_owned(),
        ),
        Ok(Outcome::MachineEnded { .. }) => (
            Ended::MachineEnded,
            "the VM's process ended by itself".to_owned(),
        ),
        Err(error) => (Ended::Failed, error.to_string()),
    };
    report.end_stage();
    report.update(Some(&reason), |info| {
        info.phase = Phase::Exiting;
        info.ended = Some(ended);
        if let Err(error) = &outcome {
            info.errors.insert(0, error.to_string());
        }
    });
    control.stop(&report, LAST_EVENT_LIMIT).await;
    process::crash::point("hostagent.after-farewell");
    let transient = match &driver {
        Ok(driver) => driver.files(dir).transient,
        Err(_) => Vec::new(),
    };
    clean_up(dir, transient, &outcome);
    process::crash::point("hostagent.after-clean-up");
    outcome
}

/// The driver of the VM's `vmType`. A template that cannot be read is reported later, by `prepare`; a VM that runs is
/// adopted all the same.
fn driver_of(options: &Options) -> Result<Arc<dyn Driver>, driver::DriverError> {
    let host = Host {
        search_path: options.search_path.clone(),
        cache_dir: options.cache_dir.clone(),
    };
    match lima::instance::load(&options.dir) {
        Ok(instance) => {
            let vm_type = instance.template.vm_type.unwrap_or(VmType::Qemu);
            driver::for_vm_type(vm_type, &host)
        }
        Err(_) => Ok(driver::for_instance(&options.dir, &host)),
    }
}

/// Keeps the lock until the process exits. The kernel releases the lock then and never before, so a process that can take
/// it knows that this process is gone.
fn hold_for_life(lock: FileLock) {
    static HELD: Mutex<Vec<FileLock>> = Mutex::new(Vec::new());
    HELD.lock().push(lock);
}

fn take_lock(dir: &InstanceDir) -> Result<FileLock, RunError> {
    let failed = |error: process::lock::LockError| RunError::File {
        action: "take the lock",
        path: dir.ha_lock(),
        reason: error.to_string(),
    };
    match FileLock::try_acquire(&dir.ha_lock(), &format!("hostagent of VM {}", dir.name()))
        .map_err(failed)?
    {
        Some(lock) => Ok(lock),
        None => Err(RunError::AlreadyRunning {
            name: dir.name().to_owned(),
            holder: process::lock::holder(&dir.ha_lock())
                .map_err(failed)?
                .to_string(),
        }),
    }
}

/// Hazard 15: removes what an earlier hostagent left. The held lock proves that it is gone. The files of the VM's process
/// stay, because that process may run.
fn remove_stale_files(dir: &InstanceDir) -> Result<(), RunError> {
    let failed = |error: process::file::FileError| RunError::File {
        action: error.action,
        path: error.path,
        reason: error.source.to_string(),
    };
    for stale in [dir.ha_sock(), dir.ha_pid()] {
        remove_if_there(&stale).map_err(failed)?;
    }
    for removed in remove_temporaries(dir.path()).map_err(failed)? {
        tracing::info!(file = %removed.display(), "removed the file of an interrupted write");
    }
    Ok(())
}

/// Writes the PID file for people and for Lima's tools; rdd never reads it.
fn write_pid(dir: &InstanceDir, identity: &Identity) {
    if let Err(error) = write_atomic(
        &dir.ha_pid(),
        format!("{}\n", identity.pid()).as_bytes(),
        0o600,
    ) {
        tracing::warn!(%error, "cannot write the hostagent's PID file");
    }
}

fn open_event_log(dir: &InstanceDir) -> Option<std::fs::File> {
    match sys::append(&dir.ha_stdout_log()) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(%error, path = %dir.ha_stdout_log().display(), "cannot open the log of events; events are not kept");
            None
        }
    }
}

pub(crate) fn first_info(dir: &InstanceDir, hostagent: Identity) -> Info {
    Info {
        ssh_local_port: 0,
        name: dir.name().to_owned(),
        phase: Phase::Preparing,
        errors: Vec::new(),
        hostagent,
        hostagent_started_at: Some(unix_seconds()),
        qemu: None,
        run_status: None,
        adopted: false,
        accelerator: None,
        accelerator_warning: None,
        started_at: None,
        ready_at: None,
        boot_count: 0,
        guest: GuestStatus::default(),
        stages: Vec::new(),
        notes: Vec::new(),
        ended: None,
    }
}

/// Removes the files of this hostagent, and those of its VM if the VM is gone. A file that cannot be removed is logged, and
/// the others are removed all the same.
fn clean_up(dir: &InstanceDir, transient: Vec<PathBuf>, outcome: &Result<Outcome, RunError>) {
    let mut made = vec![dir.ha_sock(), dir.ha_pid()];
    // After an error the VM may still run, and is found by these files.
    if matches!(
        outcome,
        Ok(Outcome::Stopped | Outcome::GuestPoweredOff | Outcome::MachineEnded { .. })
    ) {
        made.extend(transient);
        // It names a port that any program may use from now on.
        made.push(dir.ssh_config());
    }
    for path in made {
        if let Err(error) = remove_if_there(&path) {
            tracing::warn!(%error, "a file is left behind; the next start removes it");
        }
    }
}
