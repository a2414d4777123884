//! The daemon: its actor observes, `plan` decides, the actor performs the step later; jobs run beside it.
//!
//! Anything can happen between an observation and the step that follows from it.

use lima_controllers::limavm::plan::{
    Action, Agent as SeenAgent, Desired, Fate, Files, Job, Machine, Observed, Stop, lives,
};

use crate::jobs::start_task;
use crate::world::{
    Asked, Broken, Clock, Daemon, Flaw, Health, Lock, Mode, Named, Phase, Request, Rules, Silent,
    Stage, Started, World,
};

/// How an observation is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Clear,
    /// The lock file cannot be examined.
    LockUnreadable,
    /// The holder of `qemu.lock` cannot be identified.
    MachineUnclear,
    /// The hostagent's answer does not come.
    AnswerLost,
    /// A hostagent that was started has not taken its lock within `LOCK_TAKEN`.
    SlowStart,
}

/// `actor.rs: desired`. There is always a usable template.
fn desired(seen: &Request, mode: Mode) -> Desired {
    Desired {
        fate: if seen.deleting {
            Fate::Delete
        } else if seen.reset {
            Fate::Reset
        } else {
            Fate::Keep
        },
        running: seen.running,
        restart: seen.restart,
        template: true,
        leaving: mode == Mode::Leaving,
    }
}

/// `files.rs: state`.
fn files(world: &World, seen: &Request) -> Files {
    match world.disk {
        None => Files::Absent,
        Some(disk) if disk.mark == Some(seen.template) => Files::Current,
        Some(_) => Files::Outdated,
    }
}

/// `hostagent/src/client/observe.rs: observe` and `look.rs: agent, machine`.
fn agent_and_machine(world: &World, rules: &Rules, sight: Sight) -> (SeenAgent, Machine) {
    let machine = match world.machine(rules) {
        _ if sight == Sight::MachineUnclear => Machine::Unknown,
        Some(_) => Machine::Alive,
        None => Machine::Absent,
    };
    if sight == Sight::LockUnreadable {
        return (SeenAgent::Unknown, machine);
    }
    let agent = match world.lock {
        Lock::Free => {
            let starting = world.daemon.started == Started::Waiting && sight != Sight::SlowStart;
            let agent = if starting {
                SeenAgent::Silent
            } else {
                SeenAgent::Absent
            };
            return (agent, machine);
        }
        Lock::Job => None,
        Lock::Agent => world.agent,
    };
    let Some(agent) = agent.filter(|agent| {
        let listens = !matches!(agent.phase, Phase::Locked | Phase::Named);
        listens && agent.health != Health::Hung && sight != Sight::AnswerLost
    }) else {
        return (SeenAgent::Silent, Machine::Unknown);
    };
    let up = agent
        .qemu
        .and_then(|qemu| world.qemu(qemu))
        .is_some_and(|qemu| qemu.stage == Stage::Up);
    match agent.phase {
        Phase::Stopping => (SeenAgent::Stopping, Machine::Alive),
        Phase::Destroying | Phase::Exiting => (SeenAgent::Stopping, Machine::Absent),
        Phase::Watching if up => (SeenAgent::Up, Machine::Alive),
        Phase::Watching => (SeenAgent::Booting, Machine::Alive),
        _ => (SeenAgent::Booting, Machine::Absent),
    }
}

/// `run.rs: observe, hostagent_is_gone`.
fn learn(daemon: &mut Daemon, agent: SeenAgent, machine: Machine, rules: &Rules) {
    let is_unknown =
        agent == SeenAgent::Unknown || (agent == SeenAgent::Absent && machine == Machine::Unknown);
    match (agent, daemon.silent) {
        (SeenAgent::Silent, Silent::No) => daemon.silent = Silent::Yes,
        (SeenAgent::Silent, _) => {}
        _ if is_unknown => {
            if daemon.silent == Silent::No {
                daemon.silent = Silent::Yes;
            }
        }
        _ => daemon.silent = Silent::No,
    }
    match agent {
        SeenAgent::Booting | SeenAgent::Up => {
            daemon.started = Started::No;
            daemon.lived = daemon.asked == Asked::No;
        }
        SeenAgent::Stopping => {
            daemon.started = Started::No;
            daemon.lived |= daemon.asked == Asked::No;
        }
        SeenAgent::Absent => {
            let should_live = daemon.lived || daemon.started != Started::No;
            let asked = daemon.asked != Asked::No;
            daemon.asked = Asked::No;
            daemon.lived = false;
            daemon.started = Started::No;
            let failed = machine != Machine::Absent && rules.flaw != Some(Flaw::ForgivesTheAsked);
            if (asked && failed) || (should_live && !asked) {
                run_failed(daemon, machine);
            }
        }
        SeenAgent::Silent | SeenAgent::Unknown => {}
    }
}

/// `run.rs: failed` with the kit's `back_off.rs`.
fn run_failed(daemon: &mut Daemon, machine: Machine) {
    if machine == Machine::Absent || daemon.failures > 0 {
        daemon.starts_held = true;
    }
    daemon.failures = (daemon.failures + 1).min(3);
}

/// `actor.rs: notice_request`: after a changed request the next attempt is due at once. `stopping.rs: state`: a hostagent
/// that was asked before a deletion or a shutdown was requested has a later deadline than now.
fn notice_request(daemon: &mut Daemon, sooner: bool) {
    daemon.failures = 0;
    daemon.starts_held = false;
    daemon.work_held = false;
    if sooner && daemon.asked == Asked::Yes {
        daemon.asked = Asked::Longer;
    }
}

/// The watch reports the current object. The actor of an object that is gone ends.
pub(crate) fn watch(world: &World) -> World {
    let mut next = *world;
    if world.daemon.pending.is_some() {
        next.daemon.news = true;
        return next;
    }
    next.daemon.news = false;
    next.seen = world.object;
    match (world.seen, world.object) {
        (_, None) => next.daemon = Daemon::fresh(world.daemon.mode),
        (Some(old), Some(new)) => {
            let sooner = (new.deleting || new.reset) && !(old.deleting || old.reset);
            notice_request(&mut next.daemon, sooner);
        }
        (None, Some(_)) => {}
    }
    next
}

/// `actor.rs: look` up to the decision.
pub(crate) fn look(world: &World, rules: &Rules, sight: Sight) -> World {
    let mut next = *world;
    let Some(seen) = world.seen else {
        if world.daemon.mode == Mode::Leaving {
            next.daemon = Daemon::fresh(Mode::Down);
        }
        return next;
    };
    let desired = desired(&seen, world.daemon.mode);
    let files = files(world, &seen);
    let (agent, machine) = match files {
        Files::Current | Files::Outdated => agent_and_machine(world, rules, sight),
        _ => (SeenAgent::Absent, Machine::Absent),
    };
    let daemon = &mut next.daemon;
    learn(daemon, agent, machine, rules);
    let wants_up = desired.running
        && !desired.restart
        && !desired.leaving
        && desired.fate == Fate::Keep
        && files == Files::Current;
    if wants_up || (agent, machine) == (SeenAgent::Absent, Machine::Absent) {
        daemon.clock = Clock::Off;
    } else if daemon.clock == Clock::Off {
        daemon.clock = Clock::Runs;
    }
    let overdue = daemon.clock == Clock::Overdue;
    let orphan = agent == SeenAgent::Absent && machine == Machine::Alive;
    let hopeless = daemon.silent == Silent::TooLong || (orphan && daemon.failures == 3) || overdue;
    let asks_next = machine == Machine::Alive && !hopeless;
    let starts_next = files == Files::Current
        && agent == SeenAgent::Absent
        && desired.fate == Fate::Keep
        && (asks_next || wants_up);
    let observed = Observed {
        files,
        remains: world.remains && rules.flaw != Some(Flaw::ForgetsRemains),
        agent,
        machine,
        stop: match daemon.asked {
            Asked::No => Stop::NotAsked,
            _ if overdue => Stop::Overdue,
            Asked::Longer => Stop::NotAsked,
            Asked::Yes => Stop::Asked,
        },
        job: daemon.task.map(|task| task.job),
        held_back: if starts_next {
            daemon.starts_held
        } else {
            daemon.work_held
        },
        hopeless,
    };
    if desired.leaving && !lives(&observed) && daemon.task.is_none() {
        // The actor ends here without asking the plan, which must not begin anything now either.
        judge(
            &mut next,
            (rules.plan)(&desired, &observed),
            &desired,
            &observed,
        );
        next.daemon = Daemon::fresh(Mode::Down);
        next.break_if(world.lives(), Broken::LeftBehind);
        return next;
    }
    // `show`: a restart is recorded while the running VM has another template.
    if files == Files::Outdated && lives(&observed) && !seen.restart {
        if world.seen == world.object {
            let recorded = Request {
                restart: true,
                ..seen
            };
            (next.object, next.seen) = (Some(recorded), Some(recorded));
            notice_request(&mut next.daemon, false);
        } else if !desired.leaving {
            // A conflict: the look ends, and the actor's memory stays.
            return next;
        }
    }
    let action = (rules.plan)(&desired, &observed);
    judge(&mut next, action, &desired, &observed);
    if !matches!(action, Action::Rest | Action::Wait) {
        next.daemon.pending = Some(action);
    }
    next
}

/// Checks for decisions that are wrong whatever follows. The code that performs them has proofs of its own, which must not
/// be the only ones.
fn judge(next: &mut World, action: Action, desired: &Desired, observed: &Observed) {
    let wanted = desired.running
        && !desired.restart
        && !desired.leaving
        && desired.fate == Fate::Keep
        && observed.files == Files::Current;
    let given_up = observed.hopeless || observed.stop == Stop::Overdue;
    let cannot_be_asked = observed.agent == SeenAgent::Absent
        && observed.machine == Machine::Alive
        && desired.fate != Fate::Keep;
    let stays = desired.fate == Fate::Keep && !desired.leaving;
    let useless = observed.job == Some(Job::Prepare) && !stays;
    // A stop waits neither for a boot nor for another VM.
    let can_be_asked = observed.job.is_none()
        && matches!(observed.agent, SeenAgent::Booting | SeenAgent::Up)
        && observed.stop == Stop::NotAsked
        && !wanted;
    match action {
        Action::Start => {
            next.break_if(observed.agent != SeenAgent::Absent, Broken::TwoAgents);
            // A hostagent is also started to ask the guest of a running machine to stop.
            next.break_if(!lives(observed) && !wanted, Broken::StartedUnwanted);
        }
        Action::AskToStop => next.break_if(wanted, Broken::StoppedThoughWanted),
        Action::Prepare | Action::WriteTemplate => {
            next.break_if(lives(observed), Broken::ChangedUnderLife);
            next.break_if(!stays, Broken::BegunWhileLeaving);
        }
        Action::RestartDone => {
            let old = observed.files == Files::Outdated;
            next.break_if(lives(observed) || old, Broken::RequestLost);
        }
        Action::ResetDone => {
            next.break_if(observed.files != Files::Absent, Broken::RequestLost);
        }
        Action::Kill => {
            next.break_if(!given_up && !cannot_be_asked, Broken::KilledUnasked);
            next.break_if(wanted, Broken::KilledThoughWanted);
        }
        Action::DeleteFiles => next.break_if(lives(observed), Broken::KilledUnasked),
        _ => {}
    }
    next.break_if(
        (useless && action != Action::CancelPrepare)
            || (can_be_asked && action != Action::AskToStop),
        Broken::Dawdled,
    );
}

/// `actor/step.rs: act`: performs what was decided, whatever has happened since.
pub(crate) fn act(world: &World, action: Action, rules: &Rules) -> World {
    next_look(&done(world, action, rules))
}

/// The action is over, and the actor takes in what the watch has reported meanwhile.
fn next_look(world: &World) -> World {
    if world.daemon.news {
        watch(world)
    } else {
        *world
    }
}

/// `actor/step.rs: ask_to_stop`, when the hostagent receives it and the answer is lost.
pub(crate) fn answer_lost(world: &World) -> World {
    let mut next = *world;
    next.daemon.pending = None;
    asks(&mut next);
    next_look(&next)
}

fn done(world: &World, action: Action, rules: &Rules) -> World {
    let mut next = *world;
    next.daemon.pending = None;
    let Some(seen) = world.seen else { return next };
    let current = world.seen == world.object;
    match action {
        Action::Rest | Action::Wait => {}
        Action::Prepare => start_task(&mut next, Job::Prepare, seen.template),
        Action::WriteTemplate => start_task(&mut next, Job::WriteTemplate, seen.template),
        Action::Kill => start_task(&mut next, Job::Kill, seen.template),
        Action::DeleteFiles => start_task(&mut next, Job::DeleteFiles, seen.template),
        Action::CancelPrepare => {
            if let Some(task) = &mut next.daemon.task {
                task.cancelled = true;
            }
        }
        // The model has at most two.
        Action::Start if world.waiting == 2 => {}
        Action::Start => {
            next.waiting += 1;
            next.daemon.started = Started::Waiting;
            next.daemon.asked = Asked::No;
        }
        Action::AskToStop => {
            if asks(&mut next) {
                next.daemon.asked = Asked::Yes;
                next.daemon.lived = false;
            }
        }
        Action::EndAgent => {
            next.daemon.work_held = true;
            if world.lock != Lock::Free {
                next.kill_holder(false, rules);
            }
        }
        Action::RestartDone | Action::ResetDone => {
            // Written for the version that was observed; otherwise it is a conflict.
            if current {
                let restarted = !world.qemus.iter().flatten().any(|qemu| qemu.doomed);
                let reset = world.disk.is_none_or(|disk| !disk.doomed);
                next.break_if(
                    if action == Action::RestartDone {
                        !restarted
                    } else {
                        !reset
                    },
                    Broken::RequestLost,
                );
                let done = Request {
                    restart: seen.restart && action != Action::RestartDone,
                    reset: seen.reset && action != Action::ResetDone,
                    again: false,
                    ..seen
                };
                (next.object, next.seen) = (Some(done), Some(done));
                notice_request(&mut next.daemon, false);
            }
        }
        Action::Release => {
            if current {
                next.object = None;
                let left = world.lives() || world.disk.is_some() || world.remains;
                next.break_if(left || !seen.deleting, Broken::ReleasedTooEarly);
            }
        }
    }
    next
}

/// `control.rs`: the request is accepted in every phase in which the hostagent listens.
fn asks(world: &mut World) -> bool {
    match &mut world.agent {
        Some(agent)
            if agent.health != Health::Hung
                && !matches!(agent.phase, Phase::Locked | Phase::Named) =>
        {
            agent.asked = true;
            true
        }
        _ => false,
    }
}

/// The daemon ends, and its job with it.
pub(crate) fn ends(world: &World) -> World {
    let mut next = *world;
    if next.lock == Lock::Job {
        next.lock = Lock::Free;
        next.text = Named::Stale;
    }
    next.daemon = Daemon::fresh(Mode::Down);
    next
}

/// `dispatch.rs`: the objects are listed again. A background task removes the remains of killed preparations; it can be
/// late or fail, and in the model it always fails. `lived`: the status shows a hostagent (`actor.rs: new`).
pub(crate) fn starts(world: &World, lived: bool) -> World {
    let mut next = *world;
    next.daemon = Daemon::fresh(Mode::Up);
    next.daemon.lived = lived;
    next.seen = world.object;
    next
}

/// `dispatch.rs`: the control plane shuts down and stops the VMs.
pub(crate) fn leaves(world: &World) -> World {
    let mut next = *world;
    next.daemon.mode = Mode::Leaving;
    notice_request(&mut next.daemon, true);
    next
}

/// `actor/step.rs: start_hostagent`, when the program cannot be started.
pub(crate) fn cannot_start(world: &World, rules: &Rules) -> World {
    let mut next = *world;
    next.daemon.pending = None;
    let machine = match world.machine(rules) {
        Some(_) => Machine::Alive,
        None => Machine::Absent,
    };
    run_failed(&mut next.daemon, machine);
    next_look(&next)
}
