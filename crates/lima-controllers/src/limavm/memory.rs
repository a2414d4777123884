//! What an actor sees of its VM, and what it remembers of it from one look to the next.

use std::time::{Duration, Instant};

use api::LimaVM;
use api::lima::PhaseStatus;
use controller_kit::RunState;
use controller_kit::back_off::BackOff;
use hostagent::client::{Client as HostagentClient, Observation, observe};
use jiff::Timestamp;
use kube::ResourceExt;
use process::Identity;

use super::actor::Actor;
use super::limits::LONGEST_START;

use super::job::Running;
use super::plan::{Agent, Desired, Fate, Files, Job, Machine, Observed};
use super::status::{Ended, Known};
use super::stopping::{StopClock, wants_up};
use super::{ending, files, look, phases};

/// A hostagent says something within this time of its start, also on a machine that boots eight of them.
const SILENT_LIMIT: Duration = Duration::from_secs(20);
/// The same when the whole daemon waits for it to stop.
const SILENT_LIMIT_LEAVING: Duration = Duration::from_secs(4);
/// So many hostagents in a row that could not take over the machine are enough.
const MAX_ADOPTIONS: u32 = 3;
/// A process that was started holds its lock within this time.
const LOCK_TAKEN: Duration = Duration::from_secs(5);

/// What the last steps have taught.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Failed starts.
    pub(super) starts: BackOff,
    /// Failed work on the files, and failed kills.
    pub(super) work: BackOff,
    pub(super) files_failure: Option<String>,
    pub(super) stop_failure: Option<String>,
    pub(super) delete_failure: Option<String>,
    pub(super) ended: Option<Ended>,
    /// What went wrong last, whatever it was.
    pub(super) failure: Option<String>,
    /// How far the run of the VM that is seen has come, or how far the last one came.
    pub(super) phases: Vec<PhaseStatus>,
    /// This controller has looked at the VM before.
    pub(super) looked: bool,
    /// The notes that its user was told.
    pub(super) told: Vec<String>,
    /// The hostagent that was started last, until it has answered once or is gone.
    pub(super) started: Option<(Identity, Instant)>,
    /// How far a stop has come.
    pub(super) stop: StopClock,
    /// A hostagent was seen alive, and nobody has asked it to stop.
    pub(super) lived: bool,
    /// The last request to the hostagent did not reach it.
    pub(super) unheard: bool,
    /// Since when nobody answers, or it cannot be told whether somebody lives.
    pub(super) silent_since: Option<Instant>,
    /// What the owner wants; a change is worth a new try at once.
    pub(super) wish: Option<(Option<i64>, Option<String>, bool, bool)>,
    pub(super) leaving: bool,
}

impl Memory {
    /// What is seen of the hostagent says of its start: a VM that stays up is no crash loop (hazard 19).
    fn judge_starts(&mut self, agent: Agent, now: Instant) {
        match agent {
            Agent::Up => {
                self.ended = None;
                self.starts.is_up(now);
            }
            _ => self.starts.is_not_up(),
        }
    }

    /// A run has ended that nobody had asked to end; how long until the next start.
    pub(super) fn start_failed(&mut self, machine: Machine, now: Instant) -> Option<Duration> {
        if machine == Machine::Absent {
            self.starts.failed(now, LONGEST_START);
        } else {
            // The guest is well and only its hostagent is gone: the next one takes over at once.
            self.starts.failed_but_retry_at_once(now, LONGEST_START);
        }
        self.starts.left(now)
    }
}

impl Actor {
    /// Looks at the VM, and learns from it.
    pub(super) async fn observe(
        &mut self,
        vm: &LimaVM,
        desired: &Desired,
        state: RunState,
    ) -> (Observed, Known) {
        let now = Instant::now();
        let accepted = self.blocked.is_none();
        let files = files::state(&self.place.dir, accepted, self.resolved.as_ref());
        let observation = match files {
            Files::Current | Files::Outdated => Some(observe(&self.place.dir).await),
            Files::Absent | Files::Foreign => None,
        };
        let starting = self
            .memory
            .started
            .as_ref()
            .is_some_and(|(identity, since)| {
                now.duration_since(*since) < LOCK_TAKEN && look::is_alive(identity)
            });
        let agent = observation
            .as_ref()
            .map_or(Agent::Absent, |seen| look::agent(seen, starting));
        let machine = observation.as_ref().map_or(Machine::Absent, look::machine);
        self.learn(agent, machine, now);
        if let Some(info) = observation.as_ref().and_then(|seen| seen.info.as_ref())
            && !info.stages.is_empty()
        {
            self.memory.phases = phases::of_stages(&info.stages);
        }
        let wants_up = wants_up(desired, files);
        if wants_up || (agent == Agent::Absent && machine == Machine::Absent) {
            self.memory.stop.not_wanted();
        } else {
            let grace = self.grace(vm, desired, state);
            self.memory.stop.wanted(now, grace);
        }
        let prepares = self
            .job
            .as_ref()
            .is_some_and(|job| job.kind() == Job::Prepare);
        if agent == Agent::Absent && machine == Machine::Absent && !prepares {
            self.end_phases();
        }
        self.memory.looked = true;
        self.listen(agent).await;

        let silent_limit = if desired.leaving {
            SILENT_LIMIT_LEAVING
        } else {
            SILENT_LIMIT
        };
        let silent = self
            .memory
            .silent_since
            .is_some_and(|since| now.duration_since(since) > silent_limit);
        let orphan = agent == Agent::Absent && machine == Machine::Alive;
        let mut observed = Observed {
            files,
            remains: accepted && files::remains(&self.place),
            agent,
            machine,
            stop: self.memory.stop.state(now),
            job: self.job.as_ref().map(Running::kind),
            held_back: false,
            hopeless: silent
                || (orphan && self.memory.starts.failures() >= MAX_ADOPTIONS)
                || self.memory.stop.is_overdue(now),
        };
        let asks_next = machine == Machine::Alive && !observed.hopeless;
        let starts_next = files == Files::Current
            && agent == Agent::Absent
            && desired.fate == Fate::Keep
            && (asks_next || wants_up);
        let back_off = if starts_next {
            &self.memory.starts
        } else {
            &self.memory.work
        };
        observed.held_back = back_off.left(now).is_some();
        let known = self.known(observation.as_ref());
        (observed, known)
    }

    fn known(&self, observation: Option<&Observation>) -> Known {
        let info = observation.and_then(|seen| seen.info.as_ref());
        let template_problem = self
            .resolved
            .as_ref()
            .and_then(|resolved| resolved.template.clone().err());
        Known {
            // It also says that the VM has been given its name and the folder, so not before it has.
            template_config_map: self
                .copy
                .as_ref()
                .filter(|_| self.blocked.is_none())
                .map(ResourceExt::name_any),
            template_resource_version: self.copy.as_ref().and_then(ResourceExt::resource_version),
            files_failure: [
                &self.blocked,
                &self.copy_failure,
                &self.memory.files_failure,
                &template_problem,
            ]
            .into_iter()
            .find_map(Clone::clone),
            progress: self.job.as_ref().and_then(Running::progress),
            ended: self.memory.ended.clone(),
            stop_failure: self.memory.stop_failure.clone(),
            delete_failure: self.memory.delete_failure.clone(),
            running_note: info.map(look::note).unwrap_or_default(),
            unknown: observation.and_then(look::unknown),
            started_agent: self.memory.started.is_some(),
            asked_to_stop: self.memory.stop.is_told()
                || self.job.as_ref().is_some_and(|job| job.kind() == Job::Kill),
            observation: observation.cloned(),
            phases: self.memory.phases.clone(),
            failure: self.memory.failure.clone(),
        }
    }

    /// Takes in what has changed since the last look.
    fn learn(&mut self, agent: Agent, machine: Machine, now: Instant) {
        let memory = &mut self.memory;
        match (agent, machine) {
            (Agent::Silent | Agent::Unknown, _) | (Agent::Absent, Machine::Unknown) => {
                memory.silent_since.get_or_insert(now);
            }
            _ => memory.silent_since = None,
        }
        memory.judge_starts(agent, now);
        match agent {
            Agent::Booting | Agent::Up => {
                memory.started = None;
                memory.lived = !memory.stop.is_told();
            }
            Agent::Stopping => {
                memory.started = None;
                // It stops by itself: the guest has powered off, or the machine has crashed.
                memory.lived |= !memory.stop.is_told();
            }
            Agent::Absent => self.agent_is_gone(machine, now),
            Agent::Silent | Agent::Unknown => {}
        }
        if agent == Agent::Absent && machine == Machine::Absent {
            self.memory.stop_failure = None;
        }
    }

    /// No hostagent lives. When one should, that was the end of a run.
    fn agent_is_gone(&mut self, machine: Machine, now: Instant) {
        let should_live = self.memory.lived || self.memory.started.is_some();
        let asked = self.memory.stop.take_told();
        if should_live || asked || !self.memory.looked {
            self.take_last_phases();
        }
        self.memory.lived = false;
        self.end_started();
        if asked && machine == Machine::Absent {
            self.memory.ended = None;
            return;
        }
        // One that was asked to stop and has left its machine behind has failed, too: after some of those it is killed.
        if should_live || asked {
            self.run_failed(ending::read(&self.place.dir, machine), machine, now);
        }
    }

    /// What the hostagent that is gone has measured; it may have ended while no controller was there.
    fn take_last_phases(&mut self) {
        let stages = ending::stages(&self.place.dir);
        if !stages.is_empty() {
            self.memory.phases = phases::of_stages(&stages);
        }
    }

    /// Nothing lives: what nobody has ended, as its hostagent was killed, ended just now.
    fn end_phases(&mut self) {
        let is_open = |phase: &PhaseStatus| phase.duration.is_none();
        if self.memory.phases.iter().any(is_open) {
            self.take_last_phases();
            phases::end(&mut self.memory.phases, Timestamp::now());
        }
    }

    /// Listens to the hostagent, so that what it does is seen at once.
    async fn listen(&mut self, agent: Agent) {
        match agent {
            Agent::Booting | Agent::Up | Agent::Stopping if self.events.is_none() => {
                let events = async {
                    HostagentClient::connect(&self.place.dir)
                        .await?
                        .events()
                        .await
                };
                self.events = events.await.ok();
            }
            Agent::Absent => self.events = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h19_a_vm_that_keeps_failing_waits_five_minutes_until_it_has_stayed_up_for_ten() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut memory = Memory::default();
        let mut longest = None;
        for _ in 0..12 {
            memory.judge_starts(Agent::Absent, start);
            longest = memory.start_failed(Machine::Absent, start);
        }
        assert_eq!(longest, Some(Duration::from_secs(300)));
        // It comes up, and crashes after nine minutes; it hangs in between the next time.
        for (agent, seconds) in [
            (Agent::Up, 300),
            (Agent::Up, 840),
            (Agent::Absent, 841),
            (Agent::Up, 900),
            (Agent::Silent, 1200),
            (Agent::Up, 1201),
            (Agent::Up, 1700),
        ] {
            memory.judge_starts(agent, at(seconds));
        }
        let pause = memory.start_failed(Machine::Absent, at(1700));
        assert_eq!(pause, Some(Duration::from_secs(300)));
        memory.judge_starts(Agent::Up, at(1801));
        let pause = memory.start_failed(Machine::Absent, at(1802));
        assert_eq!(pause, Some(Duration::from_secs(1)));
        // Its hostagent alone is gone: at once, and the next time not.
        let mut memory = Memory::default();
        assert_eq!(memory.start_failed(Machine::Alive, start), None);
        let pause = memory.start_failed(Machine::Alive, start);
        assert_eq!(pause, Some(Duration::from_secs(2)));
    }
}
