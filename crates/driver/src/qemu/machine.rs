//! One running QEMU: its events, its commands, its end.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use process::spawn::Child;
use process::tree::{Tree, kill_tree_async};
use process::{Identity, Process};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::control_socket::{Found, look};
use super::files::QemuFiles;
use super::qmp::{Qmp, QmpError, QmpEvent, RunState};
use super::spare;
use crate::error::DriverError;
use crate::interface::Machine;
use crate::machine::{Exit, MachineEvent, MachineRecord, RunStatus};
use crate::tail;
use crate::watched::Watched;

/// Events kept for a slow receiver; see [`Machine::events`].
const EVENT_BACKLOG: usize = 64;
/// Between two attempts to restore the control connection.
const RECONNECT: Duration = Duration::from_secs(1);
/// How long QEMU's last events may take to arrive after its process ended; they are in the socket's buffer already.
const LAST_EVENTS: Duration = Duration::from_millis(500);

/// A QEMU that this process started or adopted.
#[derive(Debug)]
pub(crate) struct QemuMachine {
    identity: Identity,
    tree: Tree,
    record: MachineRecord,
    files: QemuFiles,
    qmp: watch::Receiver<Option<Qmp>>,
    events: broadcast::Sender<MachineEvent>,
    exit: watch::Receiver<Option<Exit>>,
    watcher: JoinHandle<()>,
}

impl QemuMachine {
    pub(crate) fn of_child(
        child: Child,
        qmp: Qmp,
        record: MachineRecord,
        files: QemuFiles,
    ) -> QemuMachine {
        let (identity, tree) = (child.identity().clone(), child.tree());
        Self::new(identity, tree, Watched::Child(child), qmp, record, files)
    }

    pub(crate) fn adopted(
        process: Process,
        qmp: Qmp,
        record: MachineRecord,
        files: QemuFiles,
    ) -> QemuMachine {
        let identity = process.identity().clone();
        let tree = Tree::new(identity.clone(), None);
        Self::new(
            identity,
            tree,
            Watched::Adopted(process),
            qmp,
            record,
            files,
        )
    }

    fn new(
        identity: Identity,
        tree: Tree,
        watched: Watched,
        qmp: Qmp,
        record: MachineRecord,
        files: QemuFiles,
    ) -> QemuMachine {
        let events = broadcast::Sender::new(EVENT_BACKLOG);
        // Subscribed first, so that no event of QEMU is missed from here on.
        let reports = qmp.events();
        let (qmp_sender, qmp_receiver) = watch::channel(Some(qmp));
        let (exit_sender, exit) = watch::channel(None);
        let watcher = tokio::spawn(
            Watcher {
                files: files.clone(),
                identity: identity.clone(),
                qmp: qmp_sender,
                events: events.clone(),
                exit: exit_sender,
                shutdown: None,
            }
            .run(watched, reports),
        );
        QemuMachine {
            identity,
            tree,
            record,
            files,
            qmp: qmp_receiver,
            events,
            exit,
            watcher,
        }
    }

    fn qmp(&self) -> Result<Qmp, DriverError> {
        self.qmp
            .borrow()
            .clone()
            .ok_or_else(|| self.not_answering(&"the control connection is broken"))
    }

    fn not_answering(&self, reason: &dyn std::fmt::Display) -> DriverError {
        DriverError::NotAnswering {
            socket: self.files.qmp_socket.clone(),
            reason: reason.to_string(),
        }
    }
}

impl Drop for QemuMachine {
    fn drop(&mut self) {
        // QEMU keeps running; only the task that watches it ends.
        self.watcher.abort();
    }
}

#[async_trait]
impl Machine for QemuMachine {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn record(&self) -> &MachineRecord {
        &self.record
    }

    async fn status(&self) -> Result<RunStatus, DriverError> {
        // The next hostagent needs the sockets' names.
        spare::restore(&self.files);
        let state = self
            .qmp()?
            .status()
            .await
            .map_err(|e| self.not_answering(&e))?;
        Ok(match state {
            RunState::Running => RunStatus::Running,
            RunState::IoError => RunStatus::DiskError,
            RunState::GuestPanicked | RunState::InternalError => RunStatus::Broken,
            _ => RunStatus::Frozen,
        })
    }

    fn events(&self) -> broadcast::Receiver<MachineEvent> {
        self.events.subscribe()
    }

    async fn power_button(&self) -> Result<(), DriverError> {
        self.qmp()?
            .power_down()
            .await
            .map_err(|e| self.not_answering(&e))
    }

    async fn resume(&self) -> Result<(), DriverError> {
        self.qmp()?
            .resume()
            .await
            .map_err(|e| self.not_answering(&e))
    }

    async fn quit(&self) -> Result<(), DriverError> {
        self.qmp()?.quit().await.map_err(|e| self.not_answering(&e))
    }

    async fn kill(&self, limit: Duration) -> Result<(), DriverError> {
        let pid = self.identity.pid();
        let deadline = Instant::now() + limit;
        let not_gone = |reason: String| DriverError::NotGone { pid, limit, reason };
        match tokio::time::timeout(limit, kill_tree_async(&self.tree, Duration::ZERO)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(not_gone(error.to_string())),
            Err(_) => {
                return Err(not_gone(
                    "SIGKILL was sent, but it has not ended yet".into(),
                ));
            }
        }
        // The main thread may end before the other threads; the process is gone when all have ended.
        match Process::open(&self.identity) {
            Ok(None) => Ok(()),
            Ok(Some(process)) if process.wait_async(deadline).await.is_exited() => Ok(()),
            Ok(Some(_)) => Err(not_gone("it was killed, but has not ended yet".into())),
            Err(error) => Err(not_gone(error.to_string())),
        }
    }

    async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| exit.clone());
        ended.unwrap_or_else(|| Exit {
            guest_powered_off: false,
            reason: "QEMU's end was not observed".into(),
        })
    }
}

/// The task that watches one QEMU until its end.
struct Watcher {
    files: QemuFiles,
    identity: Identity,
    qmp: watch::Sender<Option<Qmp>>,
    events: broadcast::Sender<MachineEvent>,
    exit: watch::Sender<Option<Exit>>,
    /// The reason of QEMU's last `SHUTDOWN` event, and whether the guest asked for it.
    shutdown: Option<(bool, String)>,
}

impl Watcher {
    async fn run(mut self, mut watched: Watched, mut reports: broadcast::Receiver<QmpEvent>) {
        let status = loop {
            tokio::select! {
                status = watched.ended() => break status,
                report = reports.recv() => match report {
                    Ok(report) => self.take(report),
                    // The missed events are unknown; receivers that depend on them query the status.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => {
                        self.qmp.send_replace(None);
                        // Either QEMU is ending, or the connection broke and is restored.
                        tokio::select! {
                            status = watched.ended() => break status,
                            qmp = reconnected(&self.files, &self.identity) => {
                                reports = qmp.events();
                                self.qmp.send_replace(Some(qmp));
                            }
                        }
                    }
                }
            }
        };
        // The process can exit before its last QMP events are read.
        let _ = tokio::time::timeout(LAST_EVENTS, async {
            loop {
                match reports.recv().await {
                    Ok(report) => self.take(report),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        })
        .await;
        self.qmp.send_replace(None);
        let exit = self.describe(status);
        self.exit.send_replace(Some(exit.clone()));
        let _ = self.events.send(MachineEvent::Exited(exit));
    }

    fn take(&mut self, report: QmpEvent) {
        let event = match report {
            QmpEvent::Shutdown { guest, reason } => {
                self.shutdown = Some((guest, reason.clone()));
                MachineEvent::ShuttingDown { guest, reason }
            }
            QmpEvent::Reset { reason, .. } => MachineEvent::Rebooting { reason },
            QmpEvent::Stop => MachineEvent::Frozen,
            QmpEvent::Resume => MachineEvent::Resumed,
            QmpEvent::GuestPanicked => MachineEvent::Panicked,
            QmpEvent::BlockIoError { reason } => MachineEvent::DiskFailed { reason },
            QmpEvent::PowerDown | QmpEvent::Other(_) => return,
        };
        // Sending fails only if there is no subscriber.
        let _ = self.events.send(event);
    }

    fn describe(&self, status: Option<ExitStatus>) -> Exit {
        let guest_powered_off =
            matches!(&self.shutdown, Some((true, reason)) if reason == "guest-shutdown");
        if guest_powered_off {
            return Exit {
                guest_powered_off,
                reason: "the guest powered itself off".into(),
            };
        }
        let mut reason = match (&self.shutdown, status) {
            (Some((_, cause)), _) if cause == "host-qmp-quit" => {
                return ended("QEMU ended on request");
            }
            (Some((_, cause)), _) if cause == "host-signal" => {
                "QEMU was ended by a signal".to_owned()
            }
            (Some((_, cause)), _) if cause == "guest-panic" => {
                // The kernel prints its registers after the cause, so the last lines would not show the cause.
                match tail::last_with(&self.files.serial_log, "Kernel panic") {
                    Some(line) => format!("the guest's kernel panicked: {line}"),
                    None => "the guest's kernel panicked".to_owned(),
                }
            }
            (Some((_, cause)), _) => format!("QEMU ended: {cause}"),
            (None, Some(status)) => format!("QEMU ended without a reason ({status})"),
            (None, None) => "QEMU ended without a reason".to_owned(),
        };
        for (name, path) in [
            ("QEMU", &self.files.stderr_log),
            ("the guest's console", &self.files.serial_log),
        ] {
            let lines = tail::of_file(path);
            if !lines.is_empty() {
                reason.push_str(&format!("; last lines of {name}:\n{lines}"));
            }
        }
        ended(&reason)
    }
}

fn ended(reason: &str) -> Exit {
    Exit {
        guest_powered_off: false,
        reason: reason.to_owned(),
    }
}

/// Retries without a limit until the same QEMU answers again; meanwhile the caller watches for QEMU's end.
async fn reconnected(files: &QemuFiles, identity: &Identity) -> Qmp {
    loop {
        if let Found::Listener { process, stream } = look(&files.qmp_socket).await {
            if process.identity() == identity {
                match Qmp::handshake(stream).await {
                    Ok(qmp) => return qmp,
                    Err(error @ QmpError::Closed) => tracing::debug!(%error, "QEMU is ending"),
                    Err(error) => {
                        tracing::warn!(%error, "cannot restore the control connection to QEMU");
                    }
                }
            } else {
                tracing::error!(
                    socket = %files.qmp_socket.display(),
                    "another process listens on QEMU's control socket; it is left alone"
                );
            }
        }
        tokio::time::sleep_until((Instant::now() + RECONNECT).into()).await;
    }
}
