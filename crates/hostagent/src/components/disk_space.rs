//! Watches the host's disk behind the VM's disks.
//!
//! QEMU freezes the guest when the host's disk is full or fails, because a guest that gets an I/O error stops using its
//! file system. The component reports the cause and the missing space, and lets the guest continue once there is space
//! again; QEMU then repeats the failed requests, so the guest loses nothing. Before that it warns.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use driver::{Machine, RunStatus};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Component, Signal, Task};

/// How often the free space is read: one system call.
const CHECK: Duration = Duration::from_secs(2);
/// Below this the user is warned.
const LOW: u64 = 1 << 30;
/// A frozen guest continues once this much is free. It is more than a guest writes between two checks.
const ENOUGH: u64 = 64 << 20;
/// Between two attempts to continue while the disk has space: it failed for another reason, which may last.
const RETRY: Duration = Duration::from_secs(15);

/// The component.
#[derive(Debug)]
pub(crate) struct DiskSpace {
    machine: Arc<dyn Machine>,
    /// The instance folder.
    folder: PathBuf,
    checks: Interval,
    free: Option<u64>,
    /// Since when the guest is frozen because of its disk.
    frozen: bool,
    next_attempt: Instant,
    resume: Task<Result<(), String>>,
}

impl DiskSpace {
    pub(crate) fn new(machine: Arc<dyn Machine>, folder: PathBuf) -> DiskSpace {
        let mut checks = interval(CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        DiskSpace {
            machine,
            folder,
            checks,
            free: None,
            frozen: false,
            next_attempt: Instant::now(),
            resume: Task::none(),
        }
    }

    fn check(&mut self, now: Instant) {
        self.free = free_space(&self.folder);
        let enough = self.free.is_none_or(|free| free >= ENOUGH);
        if self.frozen && enough && now >= self.next_attempt && !self.resume.is_running() {
            self.next_attempt = now + RETRY;
            tracing::info!(
                free = self.free,
                "the host's disk has space; the guest continues"
            );
            let machine = self.machine.clone();
            self.resume
                .start(async move { machine.resume().await.map_err(|error| error.to_string()) });
        }
    }
}

/// The bytes that this user may still write to the file system of `folder`; `None` if the system does not report it.
fn free_space(folder: &std::path::Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let fs = rustix::fs::statvfs(folder).ok()?;
        Some(fs.f_bavail.saturating_mul(fs.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

#[async_trait]
impl Component for DiskSpace {
    async fn next(&mut self) -> Vec<Signal> {
        tokio::select! {
            result = self.resume.finished() => {
                if let Ok(Err(error)) = result {
                    tracing::warn!(error, "cannot let the guest continue; trying again");
                }
            }
            _ = self.checks.tick() => self.check(Instant::now()),
        }
        Vec::new()
    }

    fn notify(&mut self, signal: &Signal) -> Vec<Signal> {
        if let Signal::MachineStatus(Some(status)) = signal {
            let frozen = *status == RunStatus::DiskError;
            if frozen && !self.frozen {
                self.free = free_space(&self.folder);
            }
            if !frozen {
                // The next failure is a new one.
                self.next_attempt = Instant::now();
            }
            self.frozen = frozen;
        }
        Vec::new()
    }

    fn troubles(&self, _now: Instant) -> Vec<String> {
        if !self.frozen {
            return Vec::new();
        }
        let folder = self.folder.display();
        vec![match self.free {
            Some(free) if free < ENOUGH => format!(
                "the guest is paused, because the disk of this host is full: {} MiB are free on the file system of {folder}; \
                 free {} MiB more, and the guest continues by itself without losing data",
                mib(free),
                mib(ENOUGH - free).max(1)
            ),
            _ => format!(
                "the guest is paused, because this host cannot read or write its disk in {folder} (see qemu.stderr.log and \
                 the log of this host's kernel); it continues by itself when that works again"
            ),
        }]
    }

    fn notes(&self) -> Vec<String> {
        match self.free {
            // One sentence without the number, so that it is reported once.
            Some(free) if free < LOW && !self.frozen => vec![format!(
                "the disk of this host is nearly full: less than {} MiB are free on the file system of {}; the guest is \
                 paused when it is full",
                mib(LOW),
                self.folder.display()
            )],
            _ => Vec::new(),
        }
    }

    fn stop(&mut self) {
        self.resume.abort();
    }
}
