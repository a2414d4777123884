//! The process of one VM: boots it or takes it over, watches it, reports, stops it.
//!
//! It runs in its own session and holds `ha.lock` for its whole life, so it outlives the daemon and is found again by
//! the next one. The VM's process has its own session too and outlives the hostagent: the next hostagent adopts it
//! over its control socket, without touching the guest.
//!
//! | module | what it knows |
//! |---|---|
//! | `supervisor` | the state machine of one VM, and the task that owns it |
//! | `state` | what is known of the VM, and the phase that follows |
//! | `prepare` | the files and the start of a VM, or its adoption |
//! | `memory` | what the next hostagent of the same VM should know |
//! | `login` | when to try a login, and what its results mean |
//! | `stop_sequence` | ending a VM, whatever it thinks of that |
//! | `guest_channel` | the line to the agent inside the guest |
//! | `guest_clock` | whether the guest's clock is right, and when to set it |
//! | `control` | `ha.sock`: HTTP for whoever asks, stops, listens |
//! | `report` | the present status and its events |
//! | `stages` | how long each stretch of the VM's life took |
//! | [`client`] | the other end of `ha.sock`, and what can be done without it |
//! | [`status`] | phases, the answer of `/v1/info`, Lima's events |

pub mod client;
mod control;
mod guest_channel;
mod guest_clock;
mod login;
mod memory;
mod options;
mod outcome;
mod prepare;
mod report;
mod ssh_port;
mod ssh_probe;
mod stages;
mod state;
pub mod status;
mod stop_sequence;
mod supervisor;
#[cfg(unix)]
#[path = "unix.rs"]
mod sys;
#[cfg(windows)]
#[path = "windows.rs"]
mod sys;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driver::qemu::Qemu;
use lima::layout::InstanceDir;
pub use options::{Limits, Options};
pub use outcome::{Outcome, RunError};
use process::file::{remove_if_there, remove_temporaries, write_atomic};
use process::{FileLock, Identity};
use tokio::sync::mpsc;

use crate::control::{Control, Wish};
use crate::report::Report;
use crate::status::{GuestStatus, Info, Phase, StageName};

/// Wishes that wait for the supervisor: it takes each at once.
const WISHES: usize = 16;
/// How long listeners may take to read the last event before the hostagent exits.
const FAREWELL: Duration = Duration::from_millis(500);

/// Runs the VM of `options.dir` until it is gone, or until somebody asks this hostagent to detach.
///
/// `stop` resolves when the process is asked to end (SIGTERM): the VM is then stopped within `options.limits.grace`.
/// Call it once in a process, and end the process when it returns: the VM's lock is held until then.
///
/// The caller has initialised tracing and turns [`Outcome::exit_code`] into the exit code of the process.
///
/// # Errors
/// Another hostagent runs this VM; it cannot be prepared or started; it could not be proved gone.
pub async fn run(
    options: Options,
    stop: impl Future<Output = ()> + Send,
) -> Result<Outcome, RunError> {
    let dir = &options.dir;
    hold_for_life(take_lock(dir)?);
    process::crash::point("hostagent.after-lock");
    clear_left_overs(dir)?;
    let identity = Identity::of_current().map_err(|error| RunError::Prepare {
        name: dir.name().to_owned(),
        reason: error.to_string(),
    })?;
    write_pid(dir, &identity);
    let report = Arc::new(Report::new(first_info(dir, identity), open_event_log(dir)));
    let (wish, wishes) = mpsc::channel(WISHES);
    report.begin(StageName::Preparing);
    let control =
        Control::start(&dir.ha_sock(), report.clone(), wish.clone()).map_err(|source| {
            RunError::File {
                action: "listen on",
                path: dir.ha_sock(),
                reason: source.to_string(),
            }
        })?;

    process::crash::point("hostagent.after-socket");
    let driver = Qemu::new(&options.search_path, &options.cache_dir);
    let asked_by_signal = async {
        stop.await;
        // The supervisor takes it, or has ended.
        let _ = wish.send(Wish::Stop(None)).await;
        std::future::pending().await
    };
    let outcome = tokio::select! {
        outcome = supervisor::supervise(&options, &driver, &report, wishes) => outcome,
        outcome = asked_by_signal => outcome,
    };

    process::crash::point("hostagent.after-end");
    let reason = match &outcome {
        Ok(Outcome::Stopped) => "stopped".to_owned(),
        Ok(Outcome::Detached) => "detached: the VM goes on without this hostagent".to_owned(),
        Ok(Outcome::GuestPoweredOff) => "the guest powered itself off".to_owned(),
        Ok(Outcome::MachineEnded { .. }) => "the VM's process ended by itself".to_owned(),
        Err(error) => error.to_string(),
    };
    report.end_stage();
    report.update(Some(&reason), |info| {
        info.phase = Phase::Exiting;
        if let Err(error) = &outcome {
            info.errors.push(error.to_string());
        }
    });
    control.stop(&report, FAREWELL).await;
    process::crash::point("hostagent.after-farewell");
    clean_up(dir, &outcome);
    process::crash::point("hostagent.after-clean-up");
    outcome
}

/// Our death is what gives the lock back, and nothing earlier: who takes it has the proof that this process is gone.
fn hold_for_life(lock: FileLock) {
    static HELD: Mutex<Vec<FileLock>> = Mutex::new(Vec::new());
    HELD.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(lock);
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

/// Hazard 15: what an earlier hostagent left is nobody's, since we hold the lock. QEMU's own files stay: it may run.
fn clear_left_overs(dir: &InstanceDir) -> Result<(), RunError> {
    let failed = |error: process::file::FileError| RunError::File {
        action: error.action,
        path: error.path,
        reason: error.source.to_string(),
    };
    for stale in [dir.ha_sock(), dir.ha_pid()] {
        remove_if_there(&stale).map_err(failed)?;
    }
    for removed in remove_temporaries(dir.path()).map_err(failed)? {
        tracing::info!(file = %removed.display(), "removed what an interrupted write left");
    }
    Ok(())
}

/// For people and for Lima's tools; nothing here reads it.
fn write_pid(dir: &InstanceDir, identity: &Identity) {
    if let Err(error) = write_atomic(
        &dir.ha_pid(),
        format!("{}\n", identity.pid()).as_bytes(),
        0o600,
    ) {
        tracing::warn!(%error, "the hostagent goes on without its PID file");
    }
}

fn open_event_log(dir: &InstanceDir) -> Option<std::fs::File> {
    match sys::append(&dir.ha_stdout_log()) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!(%error, path = %dir.ha_stdout_log().display(), "events are not kept");
            None
        }
    }
}

fn first_info(dir: &InstanceDir, hostagent: Identity) -> Info {
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
    }
}

/// Removes what this hostagent made, and what its VM made when that is gone. Each failure is logged with its path; none
/// keeps the others from being removed.
fn clean_up(dir: &InstanceDir, outcome: &Result<Outcome, RunError>) {
    let mut made = vec![dir.ha_sock(), dir.ha_pid()];
    // After an error the VM may be there, and these files are how it is found.
    if matches!(
        outcome,
        Ok(Outcome::Stopped | Outcome::GuestPoweredOff | Outcome::MachineEnded { .. })
    ) {
        let files = driver::MachineFiles::of(dir);
        made.extend([
            files.qmp_socket,
            files.agent_socket,
            files.qmp_spare,
            files.agent_spare,
        ]);
    }
    for path in made {
        if let Err(error) = remove_if_there(&path) {
            tracing::warn!(%error, "left behind; the next start removes it");
        }
    }
}

/// Now, in seconds since 1970.
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
