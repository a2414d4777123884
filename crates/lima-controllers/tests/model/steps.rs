//! All steps that can happen next, each with its origin.

use lima_controllers::limavm::plan::Job;

use crate::daemon::{self, Sight};
use crate::jobs;
use crate::processes;
use crate::world::{
    Agent, Asked, Clock, Health, Lock, Mode, Named, Phase, Request, Rules, Silent, Stage, Started,
    World,
};

/// The origin of a step. Those before [`Origin::Chance`] eventually act while they have something to do (weak fairness).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Daemon,
    Job,
    Watch,
    StopDeadline,
    SilenceDeadline,
    StartBackOff,
    WorkBackOff,
    Agent,
    Newcomer,
    Qemu0,
    Qemu1,
    /// A step that can happen and need not, such as a guest that obeys.
    Chance,
    /// A fault; limited in number.
    Fault,
    /// A command of the user; limited in number.
    Command,
}

impl Origin {
    /// Whether the step happens without faults and commands.
    pub(crate) fn is_progress(self) -> bool {
        !matches!(self, Origin::Fault | Origin::Command)
    }
}

/// A step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) origin: Origin,
    pub(crate) what: &'static str,
    pub(crate) next: World,
}

/// Fills `steps` with all steps that can happen next in `world`. Steps that change nothing are left out.
pub(crate) fn steps(
    world: &World,
    rules: &Rules,
    faults: bool,
    commands: bool,
    steps: &mut Vec<Step>,
) {
    steps.clear();
    let mut add = |origin: Origin, what: &'static str, next: World| {
        if next != *world {
            steps.push(Step { origin, what, next });
        }
    };
    progress(world, rules, &mut |origin, what, next| {
        if faults || origin != Origin::Fault {
            add(origin, what, next);
        }
    });
    if faults {
        faulty_steps(world, rules, &mut add);
    }
    if commands {
        command_steps(world, &mut add);
    }
}

fn progress(world: &World, rules: &Rules, add: &mut impl FnMut(Origin, &'static str, World)) {
    let daemon = &world.daemon;
    match (daemon.mode, daemon.pending) {
        (Mode::Down, _) => {
            for lived in [false, true] {
                let next = daemon::starts(world, lived);
                add(Origin::Daemon, "the daemon starts", next);
            }
        }
        (_, None) => {
            let next = daemon::look(world, rules, Sight::Clear);
            add(Origin::Daemon, looked(&next), next);
        }
        (_, Some(action)) => add(
            Origin::Daemon,
            "the daemon performs the step",
            daemon::act(world, action, rules),
        ),
    }
    if let Some(task) = daemon.task {
        add(Origin::Job, worked(task.job), jobs::work(world, rules));
        let may_time_out = match task.job {
            // A holder that the lock does not name is not killed; `gone.rs: kill` gives up at its deadline.
            Job::Kill | Job::DeleteFiles => {
                task.step == 0 && world.lock == Lock::Agent && world.text != Named::Agent
            }
            Job::Prepare | Job::WriteTemplate => false,
        };
        if may_time_out {
            let next = jobs::task_fails(world);
            add(Origin::Chance, "the job gives up at its deadline", next);
        }
    }
    if world.seen != world.object && daemon.mode != Mode::Down && !daemon.news {
        add(Origin::Watch, "the watch catches up", daemon::watch(world));
    }
    let timer = |change: &dyn Fn(&mut World)| {
        let mut next = *world;
        change(&mut next);
        next
    };
    // A hostagent that works is faster than both deadlines, unless the host has a problem.
    let works = processes::agent(world, rules) != *world;
    if daemon.clock == Clock::Runs {
        let next = timer(&|next| next.daemon.clock = Clock::Overdue);
        let stuck = world
            .agent
            .is_some_and(|agent| agent.health != Health::Well);
        if stuck || (daemon.asked != Asked::No && !works) {
            add(Origin::StopDeadline, "the stop is overdue", next);
        } else {
            add(Origin::Fault, "FAULT: the stop takes too long", next);
        }
    }
    if daemon.silent == Silent::Yes {
        let next = timer(&|next| next.daemon.silent = Silent::TooLong);
        if works || world.waiting > 0 {
            add(Origin::Fault, "FAULT: the hostagent is slow", next);
        } else {
            add(
                Origin::SilenceDeadline,
                "the hostagent has been silent for too long",
                next,
            );
        }
    }
    if daemon.starts_held {
        let next = timer(&|next| next.daemon.starts_held = false);
        add(Origin::StartBackOff, "the next start is due", next);
    }
    if daemon.work_held {
        let next = timer(&|next| next.daemon.work_held = false);
        add(Origin::WorkBackOff, "the next attempt is due", next);
    }
    if let Some(agent) = world.agent {
        let next = processes::agent(world, rules);
        add(Origin::Agent, agent_does(agent.phase), next);
        let next = processes::guest_obeys(world);
        add(Origin::Chance, "the guest powers off as asked", next);
    }
    if world.waiting > 0 {
        let own = daemon.started == Started::Waiting;
        if own {
            let next = processes::newcomer(world, true, rules);
            add(
                Origin::Newcomer,
                "the new hostagent tries to take the lock",
                next,
            );
        }
        if !own || world.waiting > 1 {
            let next = processes::newcomer(world, false, rules);
            add(
                Origin::Newcomer,
                "an older hostagent tries to take the lock",
                next,
            );
        }
    }
    for (number, origin) in [(0, Origin::Qemu0), (1, Origin::Qemu1)] {
        if let Some(qemu) = world.qemu(number) {
            add(
                origin,
                qemu_does(qemu.stage),
                processes::qemu(world, number),
            );
        }
    }
}

fn looked(next: &World) -> &'static str {
    use lima_controllers::limavm::plan::Action::*;
    match next.daemon.pending {
        None => "the daemon looks",
        Some(Rest | Wait) => "the daemon looks and waits",
        Some(Prepare) => "the daemon looks and decides: prepare",
        Some(CancelPrepare) => "the daemon looks and decides: cancel the preparation",
        Some(WriteTemplate) => "the daemon looks and decides: write the template",
        Some(Start) => "the daemon looks and decides: start a hostagent",
        Some(AskToStop) => "the daemon looks and decides: ask to stop",
        Some(EndAgent) => "the daemon looks and decides: kill the hostagent alone",
        Some(Kill) => "the daemon looks and decides: kill",
        Some(DeleteFiles) => "the daemon looks and decides: delete the files",
        Some(RestartDone) => "the daemon looks and decides: the restart is done",
        Some(ResetDone) => "the daemon looks and decides: the reset is done",
        Some(Release) => "the daemon looks and decides: release the object",
    }
}

fn worked(job: Job) -> &'static str {
    match job {
        Job::Prepare => "the job prepares",
        Job::WriteTemplate => "the job writes the template",
        Job::Kill => "the job kills",
        Job::DeleteFiles => "the job deletes",
    }
}

fn agent_does(phase: Phase) -> &'static str {
    match phase {
        Phase::Locked => "the hostagent writes its name into the lock",
        Phase::Named => "the hostagent opens its socket",
        Phase::Preparing => "the hostagent looks for a machine",
        Phase::Adopting => "the hostagent adopts what it has found",
        Phase::Launching => "the hostagent starts QEMU",
        Phase::Unrecorded => "the hostagent names QEMU in qemu.json",
        Phase::Waiting => "the hostagent has waited for QEMU",
        Phase::Watching => "the hostagent sees a stop request or the end of QEMU",
        Phase::Stopping => "the hostagent ends QEMU",
        Phase::Destroying => "the hostagent destroys what it finds",
        Phase::Exiting => "the hostagent exits",
    }
}

fn qemu_does(stage: Stage) -> &'static str {
    match stage {
        Stage::Loading => "QEMU opens its control socket",
        Stage::Listening => "QEMU opens its disk, or finds it locked and ends",
        Stage::Booting => "the guest is up",
        Stage::Up => "",
    }
}

fn faulty_steps(world: &World, rules: &Rules, add: &mut impl FnMut(Origin, &'static str, World)) {
    let daemon = &world.daemon;
    let mut fault = |what: &'static str, next: World| add(Origin::Fault, what, next);
    if daemon.mode != Mode::Down {
        fault("FAULT: the daemon is killed", daemon::ends(world));
        if daemon.pending.is_none() {
            for (what, sight) in [
                ("FAULT: the lock cannot be examined", Sight::LockUnreadable),
                (
                    "FAULT: the machine cannot be identified",
                    Sight::MachineUnclear,
                ),
                ("FAULT: the hostagent's answer is lost", Sight::AnswerLost),
                ("FAULT: a new hostagent is slow", Sight::SlowStart),
            ] {
                let next = daemon::look(world, rules, sight);
                if next != daemon::look(world, rules, Sight::Clear) {
                    fault(what, next);
                }
            }
        }
        if daemon.pending == Some(lima_controllers::limavm::plan::Action::AskToStop) {
            fault(
                "FAULT: the answer to the stop request is lost",
                daemon::answer_lost(world),
            );
        }
        if daemon.pending == Some(lima_controllers::limavm::plan::Action::Start) {
            fault(
                "FAULT: no hostagent can be started",
                daemon::cannot_start(world, rules),
            );
        }
    }
    if daemon.task.is_some() {
        fault("FAULT: the job fails", jobs::task_fails(world));
    }
    if world.waiting > 0 {
        let mut next = *world;
        next.waiting -= 1;
        if daemon.started == Started::Waiting {
            next.daemon.started = Started::Past;
        }
        fault("FAULT: a new hostagent is killed", next);
    }
    if let Some(agent) = world.agent {
        let mut next = *world;
        next.agent_ends();
        fault("FAULT: the hostagent is killed", next);
        // Before its lock names it, no other process can identify and end it, so the model has no hang there.
        if agent.phase != Phase::Locked {
            for (what, health) in [
                ("FAULT: the hostagent hangs", Health::Hung),
                ("FAULT: the hostagent goes deaf", Health::Deaf),
            ] {
                if agent.health == Health::Well {
                    let agent = Some(Agent { health, ..agent });
                    fault(what, World { agent, ..*world });
                }
            }
        }
    }
    for number in 0..2 {
        let Some(qemu) = world.qemu(number) else {
            continue;
        };
        let mut next = *world;
        next.qemu_ends(number);
        fault("FAULT: QEMU is killed, or its guest powers off", next);
        if !qemu.hung {
            let mut next = *world;
            if let Some(qemu) = &mut next.qemus[usize::from(number)] {
                qemu.hung = true;
            }
            fault("FAULT: QEMU hangs", next);
        }
    }
    if world.socket.is_some() {
        let next = World {
            socket: None,
            ..*world
        };
        fault("FAULT: all names of qmp.sock are removed", next);
    }
    let mut next = daemon::ends(world);
    for number in 0..2 {
        next.qemu_ends(number);
    }
    if next.agent.is_some() {
        next.agent_ends();
    }
    next.waiting = 0;
    fault("FAULT: the host reboots", next);
}

const RESTART: &str = "COMMAND: restart";
const RESET: &str = "COMMAND: reset";

fn command_steps(world: &World, add: &mut impl FnMut(Origin, &'static str, World)) {
    let mut command = |what: &'static str, next: World| add(Origin::Command, what, next);
    if let Some(request) = world.object {
        let mut want = |what: &'static str, request: Request| {
            let mut next = *world;
            next.object = Some(request);
            for qemu in next.qemus.iter_mut().flatten() {
                qemu.doomed |= what == RESTART;
            }
            if let Some(disk) = &mut next.disk {
                disk.doomed |= what == RESET;
            }
            command(what, next);
        };
        let on = if request.running {
            "COMMAND: stop"
        } else {
            "COMMAND: start"
        };
        want(
            on,
            Request {
                running: !request.running,
                ..request
            },
        );
        want(
            RESTART,
            Request {
                restart: true,
                again: request.again ^ request.restart,
                ..request
            },
        );
        want(
            RESET,
            Request {
                reset: true,
                ..request
            },
        );
        want(
            "COMMAND: delete",
            Request {
                deleting: true,
                ..request
            },
        );
        want(
            "COMMAND: change the template",
            Request {
                template: !request.template,
                ..request
            },
        );
    }
    if world.daemon.mode == Mode::Up {
        command(
            "COMMAND: stop the daemon and the VMs",
            daemon::leaves(world),
        );
        if world.daemon.pending.is_none() {
            let what = "COMMAND: stop or upgrade the daemon, keep the VMs";
            command(what, daemon::ends(world));
        }
    }
}
