//! The life of one VM, and the one task that owns its state.
//!
//! ```text
//!            machine found running: adopt
//!          ┌────────────────────────────┐
//!          │                            ▼      login works
//!  ──▶ Preparing ──VM started────▶ Booting ─────────────────▶ Running ◀──┐
//!          │                        │   ▲ ▲                     │        │ no trouble any more
//!          │                no login│   │ └──guest reboots──────┤        │
//!          │                in time │   │                       ▼        │
//!          │                        └───┼────────────────▶ Degraded ─────┘
//!          │                            └──guest reboots────────┘
//!          │
//!          │   stop requested, in every phase: at once         ┌──▶ VM stays, hostagent exits (Detached)
//!          ├──────────────▶ Stopping ──▶ Exiting               │
//!          └── machine ends by itself, in every phase ──▶ Exiting └── detach requested, in every phase but Stopping
//! ```
//! The inputs are the end of the machine, commands from `ha.sock`, and the [`Signal`]s of the components. The phase is
//! derived from the components ([`Component::is_booting`], [`Component::troubles`]), so no order of inputs can lead to a
//! phase that contradicts them. The supervisor never waits for a single input.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driver::{Driver, Exit, Machine};
use futures::future::select_all;
use guestagent::protocol::{self, GuestStatus};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use crate::clock::unix_seconds;
use crate::components::agent::AgentWatch;
use crate::components::clock::ClockWatch;
use crate::components::disk_space::DiskSpace;
use crate::components::login::LoginWatch;
use crate::components::logs::LogSizes;
use crate::components::machine::MachineWatch;
use crate::components::{Component, Signal};
use crate::control::Command;
use crate::guest_channel::GuestChannel;
use crate::known_hosts::KnownHosts;
use crate::memory::Memory;
use crate::options::Options;
use crate::outcome::{Outcome, RunError};
use crate::prepare::{Prepared, prepare};
use crate::report::Report;
use crate::ssh_probe::SshProbe;
use crate::status::{Phase, StageName};
use crate::stop_sequence;

/// How long to wait for a VM that was being started or adopted when a stop was requested.
const ADOPT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a half-started VM may take to end.
const DESTROY_DEADLINE: Duration = Duration::from_secs(5);
/// Signals that one input can cause. More would be a loop between components.
const SIGNALS: usize = 64;

/// Runs the VM until it is gone, or until the hostagent is asked to detach.
pub(crate) async fn supervise(
    options: &Options,
    driver: &dyn Driver,
    report: &Report,
    mut commands: mpsc::Receiver<Command>,
) -> Result<Outcome, RunError> {
    let prepared = match begin(options, driver, report, &mut commands).await? {
        Begun::Runs(prepared) => *prepared,
        Begun::Ended(outcome) => return Ok(outcome),
    };
    let mut supervisor = Supervisor::new(options, driver, report, &prepared);
    let ended = match prepared.stop {
        Some((since, grace)) => supervisor.stop(&mut commands, since, grace).await,
        None => supervisor.run(commands).await,
    };
    if !matches!(ended, Ok(Outcome::Detached)) {
        prepared.ssh.end_master().await;
    }
    ended
}

enum Begun {
    Runs(Box<Prepared>),
    Ended(Outcome),
}

/// Starts or adopts the VM, unless a command comes first.
async fn begin(
    options: &Options,
    driver: &dyn Driver,
    report: &Report,
    commands: &mut mpsc::Receiver<Command>,
) -> Result<Begun, RunError> {
    // `biased`: if the VM is ready and a command comes at the same instant, the VM counts.
    let command = tokio::select! {
        biased;
        prepared = prepare(options, driver, report) => return Ok(Begun::Runs(Box::new(prepared?))),
        command = commands.recv() => command,
    };
    let since = Instant::now();
    let grace = match command {
        // The next hostagent finds either no VM, or one that it can adopt.
        Some(Command::Detach) => return Ok(Begun::Ended(Outcome::Detached)),
        Some(Command::Stop(grace)) => grace.unwrap_or(options.limits.grace),
        None => options.limits.grace,
    };
    report.begin(StageName::Stopping);
    report.update(Some("stop requested"), |info| info.phase = Phase::Stopping);
    // A guest that was already running is asked to shut down. One that was just starting has nothing to lose.
    let adopting = async {
        let machine = driver.adopt(&options.dir).await.ok().flatten()?;
        Some(Prepared::new(options, machine, true, report))
    };
    if report.info().adopted
        && let Ok(Some(mut prepared)) = timeout_at((since + ADOPT_DEADLINE).into(), adopting).await
    {
        prepared.stop = Some((since, grace));
        return Ok(Begun::Runs(Box::new(prepared)));
    }
    driver.destroy(&options.dir, DESTROY_DEADLINE).await?;
    Ok(Begun::Ended(Outcome::Stopped))
}

/// What the supervisor waits for while the VM runs.
enum Input {
    Exit(Exit),
    Command(Option<Command>),
    Signals(Vec<Signal>),
}

/// A VM that runs, with the components that watch it.
struct Supervisor<'a> {
    options: &'a Options,
    report: &'a Report,
    machine: Arc<dyn Machine>,
    guest: Option<GuestChannel>,
    /// Whether the guest can be asked to shut down by its power button.
    power_button: bool,
    components: Vec<Box<dyn Component>>,
    boot_id: Option<String>,
}

impl<'a> Supervisor<'a> {
    fn new(
        options: &'a Options,
        driver: &dyn Driver,
        report: &'a Report,
        prepared: &Prepared,
    ) -> Supervisor<'a> {
        let machine = prepared.machine.clone();
        let capabilities = driver.capabilities();
        let files = driver.files(&options.dir);
        let memory = Memory::read(&options.dir, machine.identity());
        let known_good = memory.as_ref().is_some_and(|m| m.ready_at.is_some());
        let boot_id = memory.as_ref().and_then(|memory| memory.boot_id.clone());
        if let Some(memory) = memory {
            recall(report, memory);
        }
        let health = options.limits.health;
        let mut components: Vec<Box<dyn Component>> = vec![
            Box::new(MachineWatch::new(machine.clone(), health)),
            Box::new(LogSizes::new(logs(options, &files))),
        ];
        if capabilities.freeze {
            components.push(Box::new(DiskSpace::new(
                machine.clone(),
                options.dir.path().to_owned(),
            )));
        }
        let mut guest = None;
        if let Some(socket) = files.agent_socket.filter(|_| capabilities.agent_channel) {
            let (channel, news) = GuestChannel::open(socket);
            guest = Some(channel.clone());
            components.push(Box::new(AgentWatch::new(
                (channel, news),
                boot_id.clone(),
                known_good,
                health,
            )));
            components.push(Box::new(ClockWatch::new(options.wall_clock)));
        }
        if capabilities.ssh_port {
            components.push(Box::new(login_watch(options, &prepared.ssh, known_good)));
        }
        Supervisor {
            options,
            report,
            machine,
            guest,
            power_button: capabilities.power_button,
            components,
            boot_id,
        }
    }

    async fn run(&mut self, mut commands: mpsc::Receiver<Command>) -> Result<Outcome, RunError> {
        loop {
            self.update_report();
            let components = self.components.iter_mut().map(|c| c.next());
            let input = tokio::select! {
                exit = self.machine.exited() => Input::Exit(exit),
                command = commands.recv() => Input::Command(command),
                (signals, _, _) = select_all(components) => Input::Signals(signals),
            };
            match input {
                Input::Exit(exit) => return Ok(self.ended(exit)),
                Input::Signals(signals) => self.distribute(signals),
                Input::Command(command) => {
                    for component in &mut self.components {
                        component.stop();
                    }
                    let grace = match command {
                        Some(Command::Detach) => return Ok(Outcome::Detached),
                        Some(Command::Stop(grace)) => grace.unwrap_or(self.options.limits.grace),
                        None => self.options.limits.grace,
                    };
                    return self.stop(&mut commands, Instant::now(), grace).await;
                }
            }
        }
    }

    /// Passes signals to all components, with the signals that follow from them.
    fn distribute(&mut self, signals: Vec<Signal>) {
        let mut queue = VecDeque::from(signals);
        for _ in 0..SIGNALS {
            let Some(signal) = queue.pop_front() else {
                return;
            };
            self.handle(&signal);
            for component in &mut self.components {
                queue.extend(component.notify(&signal));
            }
        }
        tracing::error!(
            ?queue,
            "dropped signals: components answer each other without end"
        );
    }

    /// Takes a signal into the status.
    fn handle(&mut self, signal: &Signal) {
        match signal {
            Signal::MachineStatus(status) => {
                self.report.update(None, |info| info.run_status = *status);
            }
            Signal::GuestRebooted { reason, boot_id } => {
                self.boot_id.clone_from(boot_id);
                self.rebooted(reason);
            }
            Signal::GuestStatus(status) => self.guest_status(status),
            Signal::GuestDisconnected => {
                self.report
                    .update(None, |info| info.guest.connected = false);
            }
            Signal::LoggedIn => self.logged_in(),
            Signal::AskGuest(_) => {}
        }
    }

    /// The guest boots again, so what was known about it is stale.
    fn rebooted(&self, reason: &str) {
        self.report.begin(StageName::Booting);
        self.report
            .update(Some(&format!("the guest reboots ({reason})")), |info| {
                info.boot_count += 1;
                info.ready_at = None;
                info.phase = Phase::Booting;
                info.errors.clear();
            });
        self.write_memory();
    }

    fn guest_status(&mut self, status: &GuestStatus) {
        self.boot_id = Some(status.boot_id.clone());
        let provisioned = status.phase == protocol::Phase::Provisioned;
        let ready = provisioned || status.phase == protocol::Phase::Ready;
        match (self.report.stage(), ready) {
            (Some(StageName::Booting), false) => self.report.begin(StageName::Services),
            (Some(StageName::Booting | StageName::Services), true) => {
                self.report.begin(StageName::Login);
            }
            _ => {}
        }
        self.report.update(None, |info| {
            info.guest.connected = true;
            info.guest.ready = ready;
            info.guest.provisioned = provisioned;
            info.guest.boot_id = Some(status.boot_id.clone());
        });
    }

    fn logged_in(&self) {
        if self.report.info().ready_at.is_some() {
            return;
        }
        self.report.end_stage();
        self.report
            .update(None, |info| info.ready_at = Some(unix_seconds()));
        self.write_memory();
        process::crash::point("hostagent.after-ready");
    }

    /// Derives the phase, the errors and the notes from the components.
    fn update_report(&self) {
        let now = Instant::now();
        let components = self.components.iter();
        let errors: Vec<String> = components
            .clone()
            .flat_map(|component| component.troubles(now))
            .collect();
        let notes: Vec<String> = components
            .clone()
            .flat_map(|component| component.notes())
            .collect();
        let phase = if components.clone().any(|c| c.is_booting(now)) {
            Phase::Booting
        } else if errors.is_empty() {
            Phase::Running
        } else {
            Phase::Degraded
        };
        let changed = self.report.info().notes != notes;
        let new = notes.last().filter(|_| changed).cloned();
        self.report.update(new.as_deref(), |info| {
            info.phase = phase;
            info.errors = errors;
            info.notes = notes;
        });
    }

    /// Writes what the next hostagent needs to know.
    fn write_memory(&self) {
        let info = self.report.info();
        Memory {
            qemu: self.machine.identity().clone(),
            boot_count: info.boot_count,
            ready_at: info.ready_at,
            boot_id: self.boot_id.clone(),
            stages: info.stages,
        }
        .write(&self.options.dir);
    }

    async fn stop(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        since: Instant,
        grace: Duration,
    ) -> Result<Outcome, RunError> {
        if self.report.stage() != Some(StageName::Stopping) {
            self.report.begin(StageName::Stopping);
        }
        self.report.update(Some("stop requested"), |info| {
            info.phase = Phase::Stopping;
            info.errors.clear();
        });
        process::crash::point("hostagent.stop.after-request");
        let stopping = stop_sequence::Stopping {
            machine: &self.machine,
            guest: self.guest.as_ref(),
            power_button: self.power_button,
            default_grace: self.options.limits.grace,
        };
        let exit = stopping.run(since, grace, commands).await?;
        tracing::info!(reason = %exit.reason, "the VM is gone");
        Ok(Outcome::Stopped)
    }

    fn ended(&self, exit: Exit) -> Outcome {
        if exit.guest_powered_off {
            self.report
                .update(Some(&exit.reason), |info| info.phase = Phase::Exiting);
            return Outcome::GuestPoweredOff;
        }
        self.report
            .update(Some("the VM's process ended by itself"), |info| {
                info.phase = Phase::Exiting;
                // Earlier errors would hide the cause of the end.
                info.errors = vec![exit.reason.clone()];
            });
        Outcome::MachineEnded {
            reason: exit.reason,
        }
    }
}

fn login_watch(options: &Options, ssh: &SshProbe, known_good: bool) -> LoginWatch {
    let known_hosts = KnownHosts::of(&options.dir, ssh.host.clone());
    LoginWatch::new(ssh.clone(), known_hosts, options.limits.clone(), known_good)
}

/// The logs that grow while the VM runs.
fn logs(options: &Options, files: &driver::MachineFiles) -> Vec<std::path::PathBuf> {
    let own = [options.dir.ha_stdout_log(), options.dir.ha_stderr_log()];
    let machine = files.logs.iter().map(|log| log.path.clone());
    machine.chain(own).collect()
}

/// Hazard 20: takes what an earlier hostagent knew into the status, so that the guest of an adopted VM that was running
/// does not seem to boot.
fn recall(report: &Report, memory: Memory) {
    report.update(None, |info| {
        info.boot_count = memory.boot_count;
        info.ready_at = memory.ready_at;
        // First how the guest came up, then how this hostagent adopted it. A stage that was open has no known end.
        let ended = memory
            .stages
            .into_iter()
            .filter(|stage| stage.millis.is_some() && stage.name != StageName::Adopting);
        info.stages
            .retain(|stage| stage.name == StageName::Adopting);
        info.stages.splice(0..0, ended);
    });
}
