//! The run of a VM, as its hostagent shows it: started, alive, asked to stop, ended; and the back-off between starts.

use std::time::{Duration, Instant};

use controller_kit::back_off::BackOff;
use process::Identity;

use super::ending::Ending;
use super::hostagent_process::{end_process, is_alive};
use super::limits::LONGEST_START;
use super::look;
use super::plan::{Agent, Machine, Stop};
use super::status::Ended;
use super::stopping::StopClock;

/// A process that was started holds its lock within this time.
const LOCK_TAKEN: Duration = Duration::from_secs(5);
/// A hostagent answers within this time of its start, also on a machine that boots eight of them.
const SILENT_LIMIT: Duration = Duration::from_secs(20);
/// The same while the whole daemon waits for the VM to stop.
const SILENT_LIMIT_SHUTDOWN: Duration = Duration::from_secs(4);
/// After this number of hostagents in a row that could not adopt the machine, the machine is killed.
const MAX_ADOPTIONS: u32 = 3;

/// What an actor remembers of its VM's run from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// The hostagent that this controller started, until it has answered once or is gone.
    started: Option<(Identity, Instant)>,
    /// A hostagent was alive, and was not asked to stop.
    expected_alive: bool,
    /// The actor has looked at the VM before.
    looked: bool,
    /// Since when the hostagent does not answer, or its state or that of the machine is unknown.
    silent_since: Option<Instant>,
    /// The last request to the hostagent did not reach it.
    request_lost: bool,
    starts: BackOff,
    ended: Option<Ended>,
    stop: StopClock,
}

/// What the actor must do after [`Run::observe`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Followup {
    /// The hostagent is gone: read what it has measured.
    pub(super) read_phases: bool,
    /// The run ended although it was not asked to: read why, and call [`Run::failed`].
    pub(super) read_ending: bool,
}

impl Run {
    /// `expected_alive`: the status shows a hostagent that was not being stopped, so its end is a failure.
    pub(super) fn new(expected_alive: bool) -> Run {
        Run {
            expected_alive,
            ..Run::default()
        }
    }

    /// Whether a hostagent that was started just now may not hold its lock yet.
    pub(super) fn is_starting(&self, now: Instant) -> bool {
        self.started.as_ref().is_some_and(|(identity, since)| {
            now.duration_since(*since) < LOCK_TAKEN && is_alive(identity)
        })
    }

    /// Takes in what was observed.
    pub(super) fn observe(&mut self, agent: Agent, machine: Machine, now: Instant) -> Followup {
        match (agent, machine) {
            (Agent::Silent | Agent::Unknown, _) | (Agent::Absent, Machine::Unknown) => {
                self.silent_since.get_or_insert(now);
            }
            _ => self.silent_since = None,
        }
        self.judge_starts(agent, now);
        let mut followup = Followup::default();
        match agent {
            Agent::Booting | Agent::Up => {
                self.started = None;
                self.expected_alive = !self.stop.is_requested();
            }
            Agent::Stopping => {
                self.started = None;
                // If it was not asked, the guest has powered off or the machine has crashed.
                self.expected_alive |= !self.stop.is_requested();
            }
            Agent::Absent => followup = self.hostagent_is_gone(machine),
            Agent::Silent | Agent::Unknown => {}
        }
        self.looked = true;
        followup
    }

    /// A VM that stays up is in no crash loop (hazard 19).
    fn judge_starts(&mut self, agent: Agent, now: Instant) {
        match agent {
            Agent::Up => {
                self.ended = None;
                self.starts.is_up(now);
            }
            _ => self.starts.is_not_up(),
        }
    }

    /// No hostagent is alive. If one should be, that was the end of a run.
    fn hostagent_is_gone(&mut self, machine: Machine) -> Followup {
        let should_be_alive = self.expected_alive || self.started.is_some();
        let was_asked = self.stop.take_requested();
        let read_phases = should_be_alive || was_asked || !self.looked;
        self.expected_alive = false;
        self.end_started();
        let stopped_as_asked = was_asked && machine == Machine::Absent;
        if stopped_as_asked {
            self.ended = None;
        }
        Followup {
            read_phases,
            // A hostagent that was asked to stop and left its machine behind has failed, too. After several of those
            // the machine is killed.
            read_ending: !stopped_as_asked && (should_be_alive || was_asked),
        }
    }

    /// Kills the hostagent that was started last if it holds no lock after its time, because no later hostagent or daemon
    /// would find it. It has no machine: a hostagent takes the lock first.
    fn end_started(&mut self) {
        let Some((identity, _)) = self.started.take() else {
            return;
        };
        match end_process(&identity) {
            Ok(Some(pid)) => {
                tracing::warn!(pid, "killed the hostagent that did not take its lock");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("cannot kill the hostagent that did not take its lock: {error}");
            }
        }
    }

    /// A hostagent was started.
    pub(super) fn started(&mut self, identity: Identity, now: Instant) {
        self.started = Some((identity, now));
        self.stop.take_requested();
        self.ended = None;
    }

    /// A run ended although it was not asked to. Returns the message for the status.
    pub(super) fn failed(&mut self, ending: Ending, machine: Machine, now: Instant) -> String {
        let Ending { powered_off, cause } = ending;
        let again = match self.start_failed(machine, now) {
            Some(pause) => format!("starting again in {} s", pause.as_secs().max(1)),
            None => "starting again".into(),
        };
        let message = format!("{cause}; {again}");
        self.ended = Some(Ended {
            powered_off,
            message: message.clone(),
        });
        message
    }

    /// How long until the next start.
    fn start_failed(&mut self, machine: Machine, now: Instant) -> Option<Duration> {
        if machine == Machine::Absent {
            self.starts.failed(now, LONGEST_START);
        } else {
            // Only the hostagent is gone and the guest runs on: the next hostagent adopts it at once.
            self.starts.failed_but_retry_at_once(now, LONGEST_START);
        }
        self.starts.left(now)
    }

    /// The hostagent was asked to stop, and knows its time.
    pub(super) fn stop_requested(&mut self, now: Instant) {
        self.stop.requested(now);
        self.expected_alive = false;
    }

    /// The request to stop did not reach the hostagent.
    pub(super) fn stop_request_lost(&mut self) {
        self.request_lost = true;
    }

    /// Whether the last request was lost since this was called last.
    pub(super) fn take_request_lost(&mut self) -> bool {
        std::mem::take(&mut self.request_lost)
    }

    /// A stop is wanted, with this grace period from now on.
    pub(super) fn stop_wanted(&mut self, now: Instant, grace: Duration) {
        self.stop.wanted(now, grace);
    }

    /// No stop is wanted, or nothing is left to be stopped.
    pub(super) fn stop_not_wanted(&mut self) {
        self.stop.not_wanted();
    }

    /// Hostagent and machine were killed on purpose: no run has failed.
    pub(super) fn killed(&mut self) {
        self.stop.take_requested();
        self.expected_alive = false;
        self.started = None;
    }

    /// The files are gone, and all that was known of earlier runs with them.
    pub(super) fn files_deleted(&mut self) {
        self.ended = None;
        self.expected_alive = false;
        self.starts.reset();
    }

    /// The request has changed: what failed before may work now, and is no answer to the new request.
    pub(super) fn request_changed(&mut self) {
        self.starts.reset();
        self.ended = None;
    }

    /// How far the stop has come.
    pub(super) fn stop_state(&self, now: Instant) -> Stop {
        self.stop.state(now)
    }

    /// What is left of the guest's time.
    pub(super) fn grace_left(&self, now: Instant) -> Duration {
        self.stop.left(now)
    }

    /// Whether the hostagent was asked to stop.
    pub(super) fn is_stop_requested(&self) -> bool {
        self.stop.is_requested()
    }

    /// Whether this controller has started a hostagent that has not answered yet.
    pub(super) fn has_started(&self) -> bool {
        self.started.is_some()
    }

    /// How the last run ended, if it was not asked to.
    pub(super) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Whether asking and waiting has gone on for too long, so that hostagent or machine must be killed.
    pub(super) fn is_hopeless(
        &self,
        agent: Agent,
        machine: Machine,
        shutdown: bool,
        now: Instant,
    ) -> bool {
        let limit = if shutdown {
            SILENT_LIMIT_SHUTDOWN
        } else {
            SILENT_LIMIT
        };
        let silent = self
            .silent_since
            .is_some_and(|since| now.duration_since(since) > limit);
        let orphan = agent == Agent::Absent && machine == Machine::Alive;
        silent || (orphan && self.starts.failures() >= MAX_ADOPTIONS) || self.stop.is_overdue(now)
    }

    /// How long until the next start; `None` when it is due.
    pub(super) fn start_left(&self, now: Instant) -> Option<Duration> {
        self.starts.left(now)
    }

    /// The times after which the actor must look again.
    pub(super) fn deadlines(&self, now: Instant) -> [Option<Duration>; 3] {
        let silent = self
            .silent_since
            .map(|since| look::again_after(now.duration_since(since)));
        [self.starts.left(now), self.stop.until_overdue(now), silent]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(run: &mut Run, machine: Machine, now: Instant) -> String {
        let ending = Ending {
            powered_off: false,
            cause: "cause".into(),
        };
        run.failed(ending, machine, now)
    }

    #[test]
    fn h19_vm_that_keeps_failing_waits_five_minutes_until_it_has_stayed_up_for_ten() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut run = Run::default();
        for _ in 0..12 {
            run.judge_starts(Agent::Absent, start);
            failed(&mut run, Machine::Absent, start);
        }
        assert_eq!(run.start_left(start), Some(Duration::from_secs(300)));
        // It comes up and crashes after nine minutes; the next time it hangs in between.
        for (agent, seconds) in [
            (Agent::Up, 300),
            (Agent::Up, 840),
            (Agent::Absent, 841),
            (Agent::Up, 900),
            (Agent::Silent, 1200),
            (Agent::Up, 1201),
            (Agent::Up, 1700),
        ] {
            run.judge_starts(agent, at(seconds));
        }
        let message = failed(&mut run, Machine::Absent, at(1700));
        assert_eq!(message, "cause; starting again in 300 s");
        run.judge_starts(Agent::Up, at(1801));
        let message = failed(&mut run, Machine::Absent, at(1802));
        assert_eq!(message, "cause; starting again in 1 s");
    }

    #[test]
    fn h18_machine_without_hostagent_is_adopted_at_once_and_then_with_back_off() {
        let start = Instant::now();
        let mut run = Run::default();
        assert_eq!(
            failed(&mut run, Machine::Alive, start),
            "cause; starting again"
        );
        assert_eq!(run.start_left(start), None);
        failed(&mut run, Machine::Alive, start);
        assert_eq!(run.start_left(start), Some(Duration::from_secs(2)));
        assert!(!run.is_hopeless(Agent::Absent, Machine::Alive, false, start));
        failed(&mut run, Machine::Alive, start);
        assert!(run.is_hopeless(Agent::Absent, Machine::Alive, false, start));
    }

    #[test]
    fn end_of_a_run_is_a_failure_unless_it_was_asked_to_stop() {
        let now = Instant::now();
        let up = |run: &mut Run| run.observe(Agent::Up, Machine::Alive, now);
        let gone = |run: &mut Run, machine| run.observe(Agent::Absent, machine, now);
        let mut run = Run::default();
        up(&mut run);
        assert!(gone(&mut run, Machine::Absent).read_ending);
        assert!(
            !gone(&mut run, Machine::Absent).read_ending,
            "reported once"
        );
        up(&mut run);
        run.stop_wanted(now, Duration::from_secs(30));
        run.stop_requested(now);
        let followup = gone(&mut run, Machine::Absent);
        assert!(followup.read_phases && !followup.read_ending);
        // It left its machine behind.
        up(&mut run);
        run.stop_requested(now);
        assert!(gone(&mut run, Machine::Alive).read_ending);
    }
}
