//! The life of one VM, and the one task that owns its state.
//!
//! ```text
//!            QEMU found running: adopt
//!          ┌────────────────────────────┐
//!          │                            ▼      login works
//!  ──▶ Preparing ──QEMU started──▶ Booting ─────────────────▶ Running ◀──┐
//!          │                        │   ▲ ▲                     │        │ all well again
//!          │                no login│   │ └──guest reboots──────┤        │
//!          │                in time │   │                       ▼        │
//!          │                        └───┼────────────────▶ Degraded ─────┘
//!          │                            └──guest reboots────────┘
//!          │
//!          │   stop asked for, in every phase: at once        ┌──▶ VM stays, hostagent exits (Detached)
//!          ├──────────────▶ Stopping ──▶ Exiting              │
//!          └── QEMU ends by itself, in every phase ──▶ Exiting└── detach asked for, in every phase but Stopping
//! ```
//! Inputs are QEMU's events and end, the guest agent's news, the results of logins, wishes from `ha.sock`, and time.
//! Each changes the state and nothing else; the phase is then derived from the state ([`State::phase`]), so that no
//! order of inputs can leave a phase that does not fit. Nothing here waits for more than one input at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use driver::{Driver, Exit, Machine, MachineEvent, MachineFiles, RunStatus};
use guestagent::protocol::{self, GuestStatus, Request};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, interval_at, sleep_until, timeout_at};

use crate::control::Wish;
use crate::guest_channel::{GuestChannel, GuestError, GuestNews};
use crate::guest_clock::JumpWatch;
use crate::login::Login;
use crate::memory::Memory;
use crate::prepare::{Prepared, prepare};
use crate::report::Report;
use crate::ssh_probe::{FIRST_LOGIN, LATER_LOGIN, SshProbe};
use crate::state::State;
use crate::status::{Phase, StageName};
use crate::{Options, Outcome, RunError, stop_sequence};

/// How long a VM that was being started or adopted is given to appear when a stop comes in between.
const ADOPT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a half-started QEMU may take to be gone.
const DESTROY_DEADLINE: Duration = Duration::from_secs(5);
/// How often the clock is looked at for a jump: the host slept, or its time was set.
const CLOCK_LOOK: Duration = Duration::from_secs(5);
/// Questions to an agent that answered before, in a row without an answer, until that is told: one may be a guest under
/// load.
const AGENT_TOLERATED: u32 = 1;
/// What the user of a guest without our agent should know. It is no trouble: all else works.
const NO_AGENT: &str = "the guest has no agent of rdd: an NTP service inside has to set its clock after this host slept, and a stop relies on its power button";

/// Runs the VM until it is gone, or until it is to be left alone.
pub(crate) async fn supervise(
    options: &Options,
    driver: &dyn Driver,
    report: &Report,
    mut wishes: mpsc::Receiver<Wish>,
) -> Result<Outcome, RunError> {
    let files = MachineFiles::of(&options.dir);
    let prepared = match begin(options, driver, &files, report, &mut wishes).await? {
        Begun::Runs(prepared) => *prepared,
        Begun::Ended(outcome) => return Ok(outcome),
    };
    let (guest, news) = GuestChannel::open(files.agent_socket.clone());
    let mut running = Running {
        options,
        report,
        events: prepared.machine.events(),
        machine: prepared.machine,
        probe: prepared.probe,
        guest,
        state: State::new(Instant::now()),
        tasks: Tasks::default(),
        question: None,
    };
    running.remember_the_past();
    if let Some((since, grace)) = prepared.stop {
        return running.stop(&mut wishes, since, grace).await;
    }
    running.watch(wishes, news).await
}

enum Begun {
    Runs(Box<Prepared>),
    Ended(Outcome),
}

/// Gets to a running VM, unless somebody wants something else first.
async fn begin(
    options: &Options,
    driver: &dyn Driver,
    files: &MachineFiles,
    report: &Report,
    wishes: &mut mpsc::Receiver<Wish>,
) -> Result<Begun, RunError> {
    // `biased`: a VM that is there counts, also when a wish came in the same instant.
    let wish = tokio::select! {
        biased;
        prepared = prepare(options, driver, files, report) => return Ok(Begun::Runs(Box::new(prepared?))),
        wish = wishes.recv() => wish,
    };
    let since = Instant::now();
    let grace = match wish {
        // The next hostagent finds what there is: nothing, or a QEMU that it can adopt.
        Some(Wish::Detach) => return Ok(Begun::Ended(Outcome::Detached)),
        Some(Wish::Stop(grace)) => grace.unwrap_or(options.limits.grace),
        None => options.limits.grace,
    };
    report.begin(StageName::Stopping);
    report.update(Some("stop requested"), |info| info.phase = Phase::Stopping);
    // A guest that ran before we came deserves to be asked. One that we were just starting has nothing to lose.
    let adopting = async {
        let machine = driver.adopt(files).await.ok().flatten()?;
        Some(Prepared::new(options, machine, true, report))
    };
    if report.info().adopted
        && let Ok(Some(mut prepared)) = timeout_at((since + ADOPT_DEADLINE).into(), adopting).await
    {
        prepared.stop = Some((since, grace));
        return Ok(Begun::Runs(Box::new(prepared)));
    }
    driver.destroy(files, DESTROY_DEADLINE).await?;
    Ok(Begun::Ended(Outcome::Stopped))
}

struct Running<'a> {
    options: &'a Options,
    report: &'a Report,
    machine: Arc<dyn Machine>,
    events: broadcast::Receiver<MachineEvent>,
    probe: SshProbe,
    guest: GuestChannel,
    state: State,
    tasks: Tasks,
    /// What the agent is asked as soon as it has answered, or not answered, the question before.
    question: Option<Request>,
}

/// What is being tried, one of each at a time and each bounded by itself. The supervisor never waits for one alone, so
/// that whatever hangs, a stop is obeyed at once.
#[derive(Default)]
struct Tasks {
    login: Option<JoinHandle<Result<(), String>>>,
    look: Option<JoinHandle<Result<RunStatus, String>>>,
    question: Option<JoinHandle<Result<GuestStatus, GuestError>>>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in [
            self.login.as_ref().map(JoinHandle::abort_handle),
            self.look.as_ref().map(JoinHandle::abort_handle),
            self.question.as_ref().map(JoinHandle::abort_handle),
        ]
        .into_iter()
        .flatten()
        {
            task.abort();
        }
    }
}

impl Running<'_> {
    async fn watch(
        mut self,
        mut wishes: mpsc::Receiver<Wish>,
        mut news: mpsc::Receiver<GuestNews>,
    ) -> Result<Outcome, RunError> {
        self.look_at_machine();
        let mut jumps = JumpWatch::new(Instant::now(), (self.options.wall_clock)());
        let mut clock_look = interval(CLOCK_LOOK);
        clock_look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Not at once: an agent that lives needs a moment to be heard by a hostagent that has just taken over.
        let every = self.options.limits.health;
        let mut health_look = interval_at(tokio::time::Instant::now() + every, every);
        health_look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.tell(None);
            self.ask_next();
            let limits = &self.options.limits;
            let next_try = self
                .state
                .login
                .next_try(limits)
                .filter(|_| self.tasks.login.is_none());
            let patience_ends = self
                .state
                .login
                .patience_ends(limits)
                .filter(|at| *at > Instant::now());
            tokio::select! {
                exit = self.machine.exited() => return Ok(self.ended(exit)),
                event = self.events.recv() => self.machine_says(event),
                Some(heard) = news.recv() => self.guest_says(heard),
                wish = wishes.recv() => {
                    self.tasks = Tasks::default();
                    match wish {
                        Some(Wish::Detach) => return Ok(Outcome::Detached),
                        Some(Wish::Stop(grace)) => {
                            let grace = grace.unwrap_or(self.options.limits.grace);
                            return self.stop(&mut wishes, Instant::now(), grace).await;
                        }
                        None => return self.stop(&mut wishes, Instant::now(), self.options.limits.grace).await,
                    }
                }
                () = at(next_try) => self.try_login(),
                result = finished(&mut self.tasks.login) => {
                    self.tasks.login = None;
                    self.login_ended(result.unwrap_or_else(|error| Err(error.to_string())));
                }
                result = finished(&mut self.tasks.look) => {
                    self.tasks.look = None;
                    self.machine_looked_at(result.unwrap_or_else(|error| Err(error.to_string())));
                }
                result = finished(&mut self.tasks.question) => {
                    self.tasks.question = None;
                    self.agent_asked(result.unwrap_or(Err(GuestError::Broken)));
                }
                () = at(patience_ends) => {}
                _ = clock_look.tick() => if jumps.jumped(Instant::now(), (self.options.wall_clock)()) {
                    tracing::info!("this host's clock jumped; looking at the guest's");
                    self.question.get_or_insert(Request::Status);
                },
                _ = health_look.tick() => self.look_at_health(),
            }
        }
    }

    /// What is looked at again and again, whether or not anything was heard.
    fn look_at_health(&mut self) {
        self.look_at_machine();
        if self.state.login.agent_was_heard() {
            self.question.get_or_insert(Request::Status);
        } else if self.state.login.has_worked() && self.report.info().notes.is_empty() {
            self.report
                .update(Some(NO_AGENT), |info| info.notes.push(NO_AGENT.to_owned()));
        }
    }

    /// Hazard 20: a guest that was up before we came is up, and not booting.
    fn remember_the_past(&mut self) {
        let Some(memory) = Memory::read(&self.options.dir, self.machine.identity()) else {
            return;
        };
        if memory.ready_at.is_some() {
            self.state.login = Login::known_good(Instant::now());
        }
        self.state.boot_id = memory.boot_id;
        self.report.update(None, |info| {
            info.boot_count = memory.boot_count;
            info.ready_at = memory.ready_at;
            // How it came up, and then how we came to it. What was open ended unseen.
            let ended = memory
                .stages
                .into_iter()
                .filter(|stage| stage.millis.is_some() && stage.name != StageName::Adopting);
            info.stages
                .retain(|stage| stage.name == StageName::Adopting);
            info.stages.splice(0..0, ended);
        });
    }

    /// For who comes after us.
    fn keep_memory(&self) {
        let info = self.report.info();
        Memory {
            qemu: self.machine.identity().clone(),
            boot_count: info.boot_count,
            ready_at: info.ready_at,
            boot_id: self.state.boot_id.clone(),
            stages: info.stages,
        }
        .write(&self.options.dir);
    }

    /// The guest begins anew: nothing that was known about it holds.
    fn rebooted(&mut self, reason: &str) {
        self.state.rebooted(Instant::now());
        self.report.begin(StageName::Booting);
        self.report
            .update(Some(&format!("the guest reboots ({reason})")), |info| {
                info.boot_count += 1;
                info.ready_at = None;
                info.phase = Phase::Booting;
                info.errors.clear();
            });
        self.keep_memory();
    }

    async fn stop(
        &mut self,
        wishes: &mut mpsc::Receiver<Wish>,
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
        let default = self.options.limits.grace;
        let exit =
            stop_sequence::stop(&self.machine, &self.guest, since, grace, wishes, default).await?;
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
                // What was wrong before is part of how it ended, at most.
                info.errors = vec![exit.reason.clone()];
            });
        Outcome::MachineEnded {
            reason: exit.reason,
        }
    }

    fn machine_says(&mut self, event: Result<MachineEvent, broadcast::error::RecvError>) {
        let troubles = &mut self.state.troubles;
        match event {
            Ok(MachineEvent::Rebooting { reason }) => {
                // The agent of the guest that is gone spoke with this boot id; the new one has another.
                self.state.boot_id = None;
                self.rebooted(&reason);
            }
            Ok(MachineEvent::DiskFailed { reason }) => {
                troubles.disk = Some(format!(
                    "the guest's disk cannot be written on this host: {reason}; make room, then restart the VM"
                ));
            }
            Ok(MachineEvent::Panicked) => {
                troubles.panicked = Some("the guest's kernel panicked".into());
            }
            Ok(MachineEvent::Frozen | MachineEvent::Resumed)
            | Err(broadcast::error::RecvError::Lagged(_)) => {
                // The look that is under way may be older than the event.
                if let Some(look) = self.tasks.look.take() {
                    look.abort();
                }
                self.look_at_machine();
            }
            // The end of the process is waited for by itself; the channel closes after it at the earliest.
            Ok(MachineEvent::ShuttingDown { .. } | MachineEvent::Exited(_)) => {}
            Err(broadcast::error::RecvError::Closed) => {}
        }
    }

    /// Asks QEMU whether the guest runs. Bounded by the control protocol's own deadline.
    fn look_at_machine(&mut self) {
        if self.tasks.look.is_none() {
            let machine = self.machine.clone();
            self.tasks.look = Some(tokio::spawn(async move {
                machine.status().await.map_err(|error| error.to_string())
            }));
        }
    }

    fn machine_looked_at(&mut self, status: Result<RunStatus, String>) {
        self.state.troubles.frozen = match &status {
            Ok(RunStatus::Running) => None,
            Ok(RunStatus::Frozen) => Some("the guest is frozen".into()),
            Ok(RunStatus::Broken) => Some("the guest crashed and cannot go on".into()),
            Err(error) => Some(error.clone()),
        };
        if matches!(status, Ok(RunStatus::Running)) {
            self.state.troubles.disk = None;
        }
        self.report
            .update(None, |info| info.run_status = status.ok());
    }

    fn guest_says(&mut self, heard: GuestNews) {
        match heard {
            GuestNews::Lost => self
                .report
                .update(None, |info| info.guest.connected = false),
            GuestNews::Status(status) => self.guest_status(status),
        }
    }

    fn guest_status(&mut self, status: GuestStatus) {
        if self
            .state
            .boot_id
            .as_ref()
            .is_some_and(|known| *known != status.boot_id)
        {
            // QEMU's own event comes first, unless it came while nobody watched.
            self.rebooted("seen by its agent");
        }
        self.state.boot_id = Some(status.boot_id.clone());
        let ready = matches!(
            status.phase,
            protocol::Phase::Ready | protocol::Phase::Provisioned
        );
        let provisioned = status.phase == protocol::Phase::Provisioned;
        self.state.login.agent_says(ready);
        self.stage_by_agent(ready);
        self.state.troubles.provisioning = status.failures.clone();
        self.state.troubles.agent = None;
        self.state.unanswered = 0;
        // Setting the clock goes before any other question.
        let clock = &mut self.state.clock;
        if let Some(set) = clock.heard(
            Instant::now(),
            (self.options.wall_clock)(),
            status.unix_millis,
        ) {
            self.question = Some(set);
        }
        self.report.update(None, |info| {
            info.guest.connected = true;
            info.guest.ready = ready;
            info.guest.provisioned = provisioned;
            info.guest.boot_id = Some(status.boot_id);
            // Ours is the only note, and it no longer holds.
            info.notes.clear();
        });
    }

    /// The agent's word moves a boot on.
    fn stage_by_agent(&self, ready: bool) {
        match (self.report.stage(), ready) {
            (Some(StageName::Booting), false) => self.report.begin(StageName::Services),
            (Some(StageName::Booting | StageName::Services), true) => {
                self.report.begin(StageName::Login);
            }
            _ => {}
        }
    }

    /// Asks the agent what is to be asked, unless it still owes an answer. Its answer comes as news, too.
    fn ask_next(&mut self) {
        if self.tasks.question.is_none()
            && let Some(request) = self.question.take()
        {
            let guest = self.guest.clone();
            self.tasks.question = Some(tokio::spawn(async move { guest.ask(request).await }));
        }
    }

    /// Hazard 30: an agent that hangs is told, and does not keep anything from going on.
    fn agent_asked(&mut self, answer: Result<GuestStatus, GuestError>) {
        let Err(error) = answer else { return };
        tracing::debug!(%error, "the guest agent");
        self.state.unanswered = self.state.unanswered.saturating_add(1);
        if self.state.unanswered > AGENT_TOLERATED && self.state.login.agent_was_heard() {
            self.state.troubles.agent = Some(error.to_string());
        }
    }

    fn try_login(&mut self) {
        let limit = if self.state.login.has_worked() {
            LATER_LOGIN
        } else {
            FIRST_LOGIN
        };
        let probe = self.probe.clone();
        self.tasks.login = Some(tokio::spawn(async move { probe.login(limit).await }));
    }

    fn login_ended(&mut self, result: Result<(), String>) {
        let now = Instant::now();
        match &result {
            Ok(()) => tracing::debug!("logged in"),
            Err(error) => tracing::debug!(%error, "cannot log in"),
        }
        let works = result.is_ok();
        self.state.login.tried(now, result);
        if works && self.report.info().ready_at.is_none() {
            self.report.end_stage();
            self.report
                .update(None, |info| info.ready_at = Some(crate::unix_seconds()));
            self.keep_memory();
            process::crash::point("hostagent.after-ready");
        }
    }

    fn tell(&self, reason: Option<&str>) {
        let (now, limits) = (Instant::now(), &self.options.limits);
        let (phase, errors) = (
            self.state.phase(now, limits),
            self.state.errors(now, limits),
        );
        self.report.update(reason, |info| {
            info.phase = phase;
            info.errors = errors;
        });
    }
}

/// Waits until `when`; for ever without one.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits for what is being tried; for ever when nothing is.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
